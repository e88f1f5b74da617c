package consensus

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
)

// FuzzSealed: what a disk gives back is either what was written, to the byte, or named as damaged, and changes nothing. With
// summed the sum is right, as in a file of another program.
func FuzzSealed(f *testing.F) {
	for _, v := range []any{
		metaState{Stable: map[string][]byte{"CurrentTerm": {7}, "LastVoteCand": []byte("s1")}},
		metaState{Log: types.PersistentState{NextSegmentID: 2, Segments: []types.SegmentInfo{{ID: 1, BaseIndex: 1, MinIndex: 1, Codec: 1, SizeLimit: 1 << 16}}}},
		fmt.Sprintf("%020d", 12345),
	} {
		text, err := seal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, false)
		f.Add(text[9:len(text)-1], true)
		f.Add(text[:len(text)-1], false)
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "meta")
	f.Fuzz(func(t *testing.T, text []byte, summed bool) {
		if summed {
			text = fmt.Appendf(nil, "%08x %s\n", sumOf(text), text)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m := &metaFile{}
		state, err := m.Load(dir)
		if err == nil {
			again, err := seal(m.metaState)
			var back metaState
			if err == nil {
				err = unseal(again, &back)
			}
			if diff := cmp.Diff(state, back.Log); err != nil || diff != "" {
				t.Fatalf("%q is written otherwise than it was read: %v, %s", text, err, diff)
			}
		}
		k, err := readMark(file)
		if own, _ := seal(fmt.Sprintf("%020d", k.at)); err == nil && bytes.Equal(text, own) && k.at > 0 {
			at := k.at - 1
			if err := k.put(at); err != nil {
				t.Fatal(err)
			}
			if next, err := readMark(file); err != nil || next.at != at {
				t.Fatalf("%d was written and %d read: %v", at, next.at, err)
			}
		}
	})
}

// FuzzPage: whatever the end of the log looks like, only an index whose write was torn is taken back, and what was decided
// once is decided again.
func FuzzPage(f *testing.F) {
	dir := f.TempDir()
	meta, segment := small(f, dir)
	whole, err := os.ReadFile(segment)
	if err != nil {
		f.Fatal(err)
	}
	end := len(bytes.TrimRight(whole, "\x00"))
	end += (8 - end%8) % 8
	for _, torn := range [][2]int{{0, 0}, {200, 0}, {200, 8}, {8, 0}, {16, 8}, {end - segmentHead, 0}} {
		page := bytes.Clone(whole)
		clear(page[end-torn[0] : end-torn[1]])
		f.Add(page)
		f.Add(page[:end])
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		if err := errors.Join(os.WriteFile(segment, page, 0o600), os.WriteFile(filepath.Join(dir, "meta"), meta, 0o600)); err != nil {
			t.Fatal(err)
		}
		state, failed := (&metaFile{}).Load(dir)
		after, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		same := 0
		for same < min(len(page), len(after)) && page[same] == after[same] {
			same++
		}
		if len(bytes.TrimLeft(after[same:], "\x00")) > 0 {
			t.Fatalf("what stood from byte %d on became something else", same)
		}
		if failed != nil && same < len(page) {
			t.Fatalf("it was written to, and %v", failed)
		}
		again, err := (&metaFile{}).Load(dir)
		if diff := cmp.Diff(state, again); failed == nil && (err != nil || diff != "") {
			t.Fatalf("the second time: %v, %s", err, diff)
		}
	})
}

// FuzzJoinRequest: what anybody says on the cluster port is refused, or becomes an entry that every server can read.
func FuzzJoinRequest(f *testing.F) {
	secret := strings.Repeat("ab", 32)
	f.Add([]byte(`{"version":1,"kind":"executor","secret":"` + secret + `","request":"MAA=","name":"n1","pool":"default","facts":{"cpu_milli":4000,"labels":{"a":"b"},"drivers":["process"]}}` + "\n"))
	f.Add([]byte(`{"version":1,"kind":"server","secret":"` + secret + `","request":"MAA=","name":"s1","cluster":"10.0.0.1:1","http":"h:2","reads":3,"program":"v1"}` + "\n"))
	f.Add([]byte(`{"kind":"executor","secret":"` + secret + `","facts":null}` + "\n{}"))
	f.Add([]byte(`{"facts":[]}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		var q pki.JoinRequest
		if pki.ReadLine(bytes.NewReader(said), &q) != nil {
			return
		}
		secret, err := q.SecretOf()
		if err != nil || !q.Kind.Known() {
			return
		}
		_, _ = x509.ParseCertificateRequest(q.Request) // it must not panic
		command, err := joinCommand(q, pki.HashSecret(secret), pki.Pin{1})
		if err != nil {
			if !errors.Is(err, errJoinRequest) {
				t.Fatal(err)
			}
			return
		}
		entry, err := machine.Encode(7, command)
		if err != nil {
			return // refused before it is proposed
		}
		if _, _, err := machine.Decode(entry); err != nil {
			t.Fatalf("%q becomes an entry that nobody reads: %v", said, err)
		}
		if r := machine.New().Apply(1, entry); r.Code == machine.CodePanic || r.Code == machine.CodeInternal {
			t.Fatalf("%q: %s %s", said, r.Code, r.Detail)
		}
	})
}

// small fills a log of one short segment, the next of which was never noted.
func small(f *testing.F, dir string) (meta []byte, segment string) {
	f.Helper()
	log, err := wal.Open(dir, wal.WithSegmentSize(1<<10), wal.WithMetaStore(&killed{}),
		wal.WithLogger(newRaftLog(slog.New(slog.DiscardHandler))))
	if err != nil {
		f.Fatal(err)
	}
	for index := uint64(1); err == nil; index++ {
		err = log.StoreLog(&raft.Log{Index: index, Data: make([]byte, 100)})
	}
	if !errors.Is(err, wal.ErrSealed) {
		f.Fatal(err)
	}
	if err := log.Close(); err != nil {
		f.Fatal(err)
	}
	if meta, err = os.ReadFile(filepath.Join(dir, "meta")); err != nil {
		f.Fatal(err)
	}
	return meta, filepath.Join(dir, "00000000000000000001-0000000000000000.wal")
}
