package machine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// begun is a world after its first entry, in which alice has coins.
func begun(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for _, line := range []string{"init", "issue alice 1000"} {
		w.play(strings.Fields(line))
	}
	return w
}

// faulty is a command that does a lot and then something goes wrong.
type faulty struct {
	Format
	wrong func(tx *Tx) error
}

func (f faulty) apply(tx *Tx, _ funding.Millis) (any, error) {
	pot, err := tx.openPot(keysOf("half done"), nil)
	if err != nil {
		return nil, err
	}
	tx.jobs.put(77, &scheduler.Job{ID: 77, Pot: pot.ID})
	tx.meta.Job = 77
	tx.spent.put([32]byte{1}, 1)
	tx.balances.put(potAccount(pot.ID), 5)
	return FormatAnswer{}, f.wrong(tx)
}

// carry applies a command that has no bytes of its own.
func carry(m *Machine, command Command) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	m.view = nil
	s.meta.Index++
	r := Result{Index: s.meta.Index, At: s.meta.At}
	s.carryOut(command, &r)
	s.seal(&r)
	return r
}

// An entry that fails half way, by a refusal, an error or a panic, leaves nothing behind but its
// index, its time and its place in the checksum; the next entry finds a sound state.
func TestFailedEntryLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(tx *Tx) error
		code  Code
	}{
		"a refusal":      {func(*Tx) error { return refuse(CodeStale, "no longer") }, CodeStale},
		"another error":  {func(*Tx) error { return errors.New("sums differ") }, CodeInternal},
		"a panic":        {func(*Tx) error { panic("bug") }, CodePanic},
		"a nil pointer":  {func(tx *Tx) error { _ = tx.pots.must(99); return nil }, CodePanic},
		"an overdraft":   {func(tx *Tx) error { return tx.post(Event{}, overdraft()) }, CodeOverdrawn},
		"to itself":      {func(tx *Tx) error { return tx.post(Event{}, circle()) }, CodeInternal},
		"a wrapped code": {func(*Tx) error { return fmt.Errorf("try: %w", refuse(CodeLimit, "x")) }, CodeLimit},
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			before := w.m.View()
			r := carry(w.m, faulty{wrong: c.wrong})
			if r.Code != c.code || len(r.Events) != 0 || r.Answer != nil {
				t.Fatalf("%+v", r)
			}
			if (r.Panic != "") != (c.code == CodePanic) {
				t.Errorf("panic is %q", r.Panic)
			}
			after := w.m.View()
			if after.Index() != before.Index()+1 || after.Seq() != before.Seq() || after.Sum() == before.Sum() {
				t.Errorf("index %d, seq %d", after.Index(), after.Seq())
			}
			after.meta.Index, after.meta.Sum = before.meta.Index, before.meta.Sum
			if !bytes.Equal(viewBytes(t, before), viewBytes(t, after)) {
				t.Error("something was left behind")
			}
			w.index = r.Index
			if got := w.play(strings.Fields("pot p by=alice pay=10")); got != "pot 1" {
				t.Errorf("the next entry: %s", got)
			}
			if err := w.m.View().Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func overdraft() funding.Transfer {
	return funding.Transfer{Debit: coinsOf(9), Credit: coinsOf(1), Amount: 1, Code: funding.CodeSwap}
}

func circle() funding.Transfer {
	return funding.Transfer{Debit: coinsOf(1), Credit: coinsOf(1), Amount: 1, Code: funding.CodeSwap}
}

func viewBytes(t testing.TB, v *View) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Snapshot(v, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A panic outside of an entry's own code would leave half an entry behind, so it stops the replica.
func TestPanicInTheMergeIsNotCaught(t *testing.T) {
	w := begun(t)
	w.m.state.pots.hook = func(funding.PotID, *funding.Pot, *funding.Pot) { panic("in a hook") }
	defer func() {
		if recover() == nil {
			t.Error("it went on")
		}
	}()
	carry(w.m, faulty{wrong: func(*Tx) error { return nil }})
}

// Cluster time does not go back, whatever a new leader's clock says, and does not leave the range.
func TestTimeDoesNotGoBack(t *testing.T) {
	w := begun(t)
	for _, c := range []struct{ at, want funding.Millis }{
		{dayOne + 10, dayOne + 10}, {dayOne, dayOne + 10}, {-5, dayOne + 10}, {dayOne + 11, dayOne + 11}, {1 << 62, funding.MillisMax},
	} {
		w.at = c.at
		if r := w.apply(Format{Format: 1}); r.At != c.want {
			t.Errorf("entry of %d is at %d, want %d", c.at, r.At, c.want)
		}
	}
}

// The log is applied in its order, each entry once; anything else is a bug that stops the replica.
func TestIndexesRise(t *testing.T) {
	w := begun(t)
	entry, _ := Encode(w.at, Format{Format: 1})
	w.m.Apply(w.index+5, entry)
	defer func() {
		if recover() == nil {
			t.Error("an entry was applied twice")
		}
	}()
	w.m.Apply(w.index+5, entry)
}

// Bytes that are no entry are refused alike everywhere, and the log goes on.
func TestGarbageIsRefused(t *testing.T) {
	w := begun(t)
	for _, garbage := range [][]byte{nil, {0}, []byte("hello"), bytes.Repeat([]byte{0x9f}, 1000)} {
		w.index++
		if r := w.m.Apply(w.index, garbage); r.Code != CodeFormat || r.Err() == nil {
			t.Errorf("%x: %+v", garbage, r)
		}
	}
	if r := w.apply(Format{Format: 1}); r.Code != OK || r.Err() != nil {
		t.Errorf("%+v", r)
	}
}

// Results are chained: replicas that applied anything else, however little, have other checksums
// from then on.
func TestChecksumsPart(t *testing.T) {
	one, other := begun(t), begun(t)
	if one.last.Sum != other.last.Sum {
		t.Fatal("the same log has two checksums")
	}
	one.play(strings.Fields("pot p by=alice pay=10"))
	other.play(strings.Fields("pot p by=alice pay=11"))
	one.play(strings.Fields("format 1"))
	other.play(strings.Fields("format 1"))
	if one.last.Sum == other.last.Sum {
		t.Error("different logs have the same checksum")
	}
}

// Events are numbered without a gap and chained by hash; one that is changed or lost is found.
func TestEventsAreChained(t *testing.T) {
	w := newWorld(t)
	var all []Event
	for _, line := range []string{"init", "issue alice 100", "pot p by=alice pay=50", "pot p by=alice pay=500", "close p"} {
		w.play(strings.Fields(line))
		all = append(all, w.last.Events...) // of the line's last entry; what makes a quote tells nothing
	}
	var chain [32]byte
	verify := func(events []Event) error {
		chain = [32]byte{}
		for i, e := range events {
			want, err := ChainHash(chain, e)
			if err != nil {
				return err
			}
			if e.Seq != uint64(i+1) || e.Hash != want {
				return fmt.Errorf("event %d is not what follows event %d", e.Seq, i)
			}
			chain = want
		}
		return nil
	}
	if err := verify(all); err != nil {
		t.Fatal(err)
	}
	if v := w.m.View(); v.Seq() != uint64(len(all)) || v.Chain() != chain {
		t.Error("the state has another end of the chain")
	}
	if verify(all[1:]) == nil {
		t.Error("a lost event was not found")
	}
	all[2].Amount++
	if verify(all) == nil {
		t.Error("a changed event was not found")
	}
}

// Events are for everybody: no coin, no output, no key's hash is in them.
func TestEventsTellNoSecrets(t *testing.T) {
	w := newWorld(t)
	var told []byte
	for _, line := range []string{
		"init server", "issue alice 100", "pot p by=alice pay=50", "deposit p by=alice pay=5 claim", "close p",
		"claim 1 by=alice", "token t role=submit", "swap alice",
	} {
		w.play(strings.Fields(line))
		body, err := encoder.Marshal(w.last.Events)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, body...)
	}
	for name, secret := range w.secrets() {
		if bytes.Contains(told, secret) {
			t.Errorf("%s is told", name)
		}
	}
	if !bytes.Contains(told, []byte("pot_created")) {
		t.Error("nothing was told")
	}
}

// secrets are what no event may hold, by what it is.
func (w *world) secrets() map[string][]byte {
	found := make(map[string][]byte)
	v := w.m.View()
	v.outputs.ascend(cashu.Point{}, func(point cashu.Point, _ mint.Output) bool {
		found["output "+point.String()] = point[1:]
		return true
	})
	v.spent.ascend(cashu.SpentKey{}, func(key cashu.SpentKey, _ mint.KeysetNumber) bool {
		found[fmt.Sprintf("coin %x", key)] = key[:]
		return true
	})
	for _, token := range v.Tokens() {
		found["token "+token.Name] = token.Hash[:]
	}
	for _, use := range []string{"control", "view", "spend", "claim"} {
		key := keyOf(use, "p")
		found[use+" key of the pot"] = key[:]
	}
	cert := keyOf("cert", "s1")
	found["certificate"], found["address"] = cert[:], []byte("h:1")
	return found
}
