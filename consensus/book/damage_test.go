package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// lives is a history of jobs that were submitted, started twice and ended.
func lives(n int) []machine.Event {
	var list []machine.Event
	for i := range n {
		for _, e := range []machine.Event{
			{Kind: machine.EventSubmitted, Rate: 13, Weight: 2000}, {Kind: machine.EventStarted, Run: 7}, {Kind: machine.EventStarted, Run: 8},
			{Kind: machine.EventTransfer, Debit: "coins", Credit: fmt.Sprint("pot ", i), Amount: 500},
			{Kind: machine.EventEnded, Exit: 3, Amount: 77, Body: []byte(strings.Repeat("receipt", 20))},
		} {
			e.Job, e.Pot, e.Pool, e.At = scheduler.JobID(i+1), 5, 1, funding.Millis(len(list)+1)
			list = append(list, e)
		}
	}
	return list
}

// dump is all that a book's file says; an error ends it.
func dump(t *testing.T, path string) (list []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		"SELECT concat_ws('|', seq, at, kind, job, pot, pool, hex(body)) FROM events ORDER BY seq",
		"SELECT concat_ws('|', job, pool, pot, bid, weight, submitted, started, ended, reason, exit, charged, hex(receipt), first, final) FROM jobs ORDER BY job",
		"SELECT concat_ws('|', first, last) FROM holes ORDER BY first",
		"SELECT seq || '' FROM events INDEXED BY events_job WHERE job <> 0 ORDER BY job, seq",
	} {
		more, err := lines(db, text)
		if list = append(list, more...); err != nil {
			return append(list, err.Error())
		}
	}
	return list
}

func lines(db *sql.DB, text string) (list []string, err error) {
	rows, err := db.Query(text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return list, err
		}
		list = append(list, line)
	}
	return list, rows.Err()
}

// served is a book of a history, served to peers, and its file when it was closed.
func served(t *testing.T, s *source) (peer Peer, file []byte, whole []string) {
	t.Helper()
	full := start(t, filepath.Join(t.TempDir(), "book"), s)
	full.reaches(t, uint64(len(s.all)))
	srv := httptest.NewServer(full.Handler())
	t.Cleanup(srv.Close)
	path := filepath.Join(t.TempDir(), "copy")
	r := start(t, path, s)
	r.reaches(t, uint64(len(s.all)))
	r.stop()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.happen(t, 5) // from now on only the newest are at hand
	return HTTPPeer{ID: "s1", Base: srv.URL, Client: srv.Client()}, file, dump(t, path)
}

// sound waits until a book holds everything and its file is whole.
func (r *reader) sound(t *testing.T, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		err := r.check(ctx)
		r.suspect(err)
		if err == nil && r.Through() >= seq && !r.CatchingUp() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it holds %d events of %d, and %v; %s", r.Through(), seq, err, r.Alarm())
		}
	}
}

// spoil opens a book whose file is this, which comes to be whole again, and says whether it was found damaged.
func spoil(t *testing.T, what string, file []byte, s *source, peer Peer, whole []string) (found bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "book.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, path, s, peer)
	r.sound(t, uint64(len(s.all)))
	asides, alarm := r.asides(), r.Alarm()
	if found = len(asides) > 0; found {
		kept, err := os.ReadFile(asides[0])
		if err != nil || len(asides) != 1 || !strings.Contains(alarm, path) || !strings.Contains(alarm, asides[0]) || len(kept) == 0 && len(file) > 0 {
			t.Errorf("%s: %v lie aside, %v; the alarm is %q", what, asides, err, alarm)
		}
	} else if alarm != "" {
		t.Errorf("%s: the alarm is %q", what, alarm)
	}
	r.stop()
	if got := dump(t, path); !slices.Equal(got, whole) {
		t.Errorf("%s: found damaged %v, and yet the book holds something else", what, found)
	}
	return found
}

// A bit that turns anywhere in the file is noticed where it changes what the book says, and the book is whole again.
func TestATurnedBitIsFoundAndTheBookMadeAnew(t *testing.T) {
	s := newSource()
	s.happen(t, 0, lives(60)...)
	peer, file, whole := served(t, s)
	flips := 8
	if text := os.Getenv("COINOP_FLIPS"); text != "" {
		if flips, _ = strconv.Atoi(text); flips < 1 {
			t.Fatalf("COINOP_FLIPS is %q, not a number of flips", text)
		}
	}
	changed, step := 0, len(file)/flips
	for at := 7; at < len(file); at += step {
		bad := slices.Clone(file)
		bad[at] ^= 0x10
		other := filepath.Join(t.TempDir(), "other")
		if err := os.WriteFile(other, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		differs := !slices.Equal(dump(t, other), whole)
		found := spoil(t, fmt.Sprintf("a bit of byte %d", at), bad, s, peer, whole)
		if differs {
			changed++
			if !found {
				t.Errorf("byte %d: what the book says had changed, and it was not found", at)
			}
		}
	}
	t.Logf("%d of %d flips changed what the book says, and were found", changed, flips)
	if changed < flips/3 {
		t.Errorf("only %d of %d flips changed what the book says", changed, flips)
	}
}

func TestATruncatedBookIsMadeAnew(t *testing.T) {
	s := newSource()
	s.happen(t, 0, lives(60)...)
	peer, file, whole := served(t, s)
	for _, size := range []int{0, 1, 99, 4096, 5000, len(file) / 2, len(file) - 4096, len(file) - 1} {
		if found := spoil(t, fmt.Sprintf("cut to %d bytes", size), file[:size], s, peer, whole); !found && size > 4096 && size < len(file)-4095 {
			t.Errorf("cut to %d bytes of %d: it was not found damaged", size, len(file))
		}
	}
	if !spoil(t, "no database", []byte(strings.Repeat("no database ", 1000)), s, peer, whole) {
		t.Error("another file was taken for a book")
	}
}

// turn changes one event in a closed book's file, as a disk does.
func turn(t *testing.T, path string, seq int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var body []byte
	if err := db.QueryRow("SELECT body FROM events WHERE seq = ?", seq).Scan(&body); err != nil {
		t.Fatal(err)
	}
	var e machine.Event
	if err := cbor.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	e.Amount++
	if body, err = cbor.Marshal(e); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE events SET body = ? WHERE seq = ?", body, seq); err != nil {
		t.Fatal(err)
	}
}

// A server alone keeps what is still good, before the damage and behind it, and says what it has lost.
func TestAloneTheBookKeepsWhatIsStillGood(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book.db"), newSource()
	r := start(t, path, s)
	s.happen(t, 0, lives(400)...)
	r.reaches(t, 2000)
	r.stop()
	s.begin = 1991 // what is at hand after a restart
	turn(t, path, 1234)
	r = start(t, path, s)
	r.sound(t, 2000)
	list, err := r.After(t.Context(), 1213, 0, 40)
	if err != nil || len(list) != 40 || list[19].Seq != 1233 || list[20].Seq != 1235 {
		t.Fatalf("around the damage: %d events, %v", len(list), err)
	}
	if !r.hole || !strings.Contains(r.Alarm(), "nobody has any more") {
		t.Errorf("the alarm is %q", r.Alarm())
	}
	for _, aside := range r.asides() {
		if err := os.Remove(aside); err != nil {
			t.Fatal(err)
		}
	}
	if r.Alarm() != "" {
		t.Errorf("its cause is deleted, and still: %q", r.Alarm())
	}
}

// Damage that a question meets while the book is in use is mended as well, and that question can be asked elsewhere.
func TestDamageThatAQuestionMeetsIsMended(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book.db"), newSource()
	s.happen(t, 0, lives(60)...)
	peer, _, _ := served(t, s)
	r := start(t, path, s, peer)
	r.reaches(t, 300)
	r.sound(t, 300)
	if _, err := r.write.Exec("UPDATE events SET body = x'ff' WHERE seq = 77"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.After(t.Context(), 70, 0, 20); !errors.Is(err, errDamaged) {
		t.Fatalf("the damaged event was handed out: %v", err)
	}
	r.sound(t, 300)
	if len(r.asides()) != 1 {
		t.Errorf("set aside: %v", r.asides())
	}
	r.holds(t, 300)
}

// A disk that spoils one book after the other is not filled with them.
func TestTheFourthDamagedBookStaysWhereItIs(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book.db"), newSource()
	s.happen(t, 0, prices(100)...)
	peer, _, _ := served(t, s)
	for i := range asideMax {
		if err := os.WriteFile(fmt.Sprintf("%s%s%dZ", path, asideMark, i), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Path: path, Source: s}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "replace the disk") {
		t.Fatal(err)
	}
	if err := os.Remove(path + asideMark + "0Z"); err != nil {
		t.Fatal(err)
	}
	r := start(t, path, s, peer)
	r.sound(t, 100)
}

// A file that cannot be written is told by name, and written on as soon as that is possible.
func TestAFileThatCannotBeWrittenIsToldAndWrittenOn(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book.db"), newSource()
	r := start(t, path, s)
	s.happen(t, 0, prices(10)...)
	r.reaches(t, 10)
	readOnly := func(is int) {
		t.Helper()
		if _, err := r.write.Exec(fmt.Sprint("PRAGMA query_only = ", is)); err != nil {
			t.Fatal(err)
		}
	}
	readOnly(1)
	s.happen(t, 0, prices(5)...)
	until(t, "the alarm names the file", func() bool { return strings.Contains(r.Alarm(), path+" cannot be written") && r.CatchingUp() })
	readOnly(0)
	r.reaches(t, 15)
	until(t, "all is well", func() bool { return r.Alarm() == "" && !r.CatchingUp() })
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.NewTimer(20*time.Second)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatal("in vain waited until " + what)
		}
	}
}
