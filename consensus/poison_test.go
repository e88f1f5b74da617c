package consensus

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
)

// plantBug makes a server's machine panic in the middle of each entry that writes a token: the table's overlay is taken
// away, which no entry could bring about.
func plantBug(m *member) {
	overlay := reflect.ValueOf(m.fsm.machine.Load()).Elem().FieldByName("state").Elem().FieldByName("tokens").Elem().FieldByName("at")
	reflect.NewAt(overlay.Type(), unsafe.Pointer(overlay.UnsafeAddr())).Elem().SetZero()
}

// goesOn has each server take an entry that has nothing to do with tokens.
func (c *cluster) goesOn() {
	c.t.Helper()
	for _, m := range c.running() {
		r, err := m.Propose(c.t.Context(), machine.Price{Pool: 99})
		if err != nil || r.Code == machine.OK || r.Code == machine.CodePanic {
			c.t.Errorf("the next entry by %s: %v, %v", m.host, r.Code, err)
		}
	}
	c.same()
}

// appended puts bytes into the log as they are, which no server would propose, and returns their index. Where the lead is
// lost meanwhile they may be there twice.
func (c *cluster) appended(entry []byte) (index uint64) {
	c.t.Helper()
	until(c.t, "it is in the log", func() error {
		f := c.leader().raft.Load().Apply(entry, time.Second)
		err := f.Error()
		if err == nil {
			index = f.Index()
		}
		return err
	})
	return index
}

func TestAnEntryThatPanicsIsRefusedByAllServersAlike(t *testing.T) {
	networks(t, quickSums, func(t *testing.T, c *cluster) {
		c.three()
		c.same() // who has yet to carry out how the others joined would panic at that, and be the odd one out
		for _, m := range c.all {
			plantBug(m)
		}
		r, err := c.follower().Propose(t.Context(), entry(1))
		if err != nil || r.Code != machine.CodePanic {
			t.Fatalf("%v, %v", r.Code, err)
		}
		c.goesOn()
		var kept [][]byte
		for _, m := range c.all {
			files, err := filepath.Glob(filepath.Join(m.cfg.Dir, "panics", "*.entry"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%s has kept %v aside, %v", m.host, files, err)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, b)
			if _, command, err := machine.Decode(b); err != nil || !reflect.DeepEqual(command, ptr(entry(1))) {
				t.Errorf("%s has kept %v aside, %v", m.host, command, err)
			}
			if has(m.View(), 1) {
				t.Errorf("%s has carried it out", m.host)
			}
		}
		if !bytes.Equal(kept[0], kept[1]) || !bytes.Equal(kept[1], kept[2]) {
			t.Error("servers have kept other bytes aside")
		}
		c.compared()
	})
}

func ptr[T any](v T) *T { return &v }

// compared has the leader compare what all have made of the log, and nobody is in the wrong.
func (c *cluster) compared() {
	c.t.Helper()
	lead := c.leader()
	lead.compareSums(c.t.Context(), lead.raft.Load())
	for _, m := range c.running() {
		if _, err := os.Stat(m.file(fileStopped)); err == nil {
			c.t.Errorf("%s was stopped", m.host)
		}
		if why, ok := m.refuses.Load().(refusal); ok && why.err != nil {
			c.t.Errorf("%s refuses entries: %v", m.host, why.err)
		}
	}
}

// A bug of one server alone, as of bad memory, is told by its checksum.
func TestAnEntryThatPanicsOnOneServerStopsThatOne(t *testing.T) {
	c := newCluster(t, true, quickSums)
	c.three()
	odd := c.follower()
	plantBug(odd)
	mustPropose(t, c.leader().Node, 1)
	mustPropose(t, c.leader().Node, 2)
	<-odd.done
	odd.cancel()
	odd.cancel = nil
	if !errors.Is(odd.err, ErrParted) {
		t.Fatalf("it ended with: %v", odd.err)
	}
	mustPropose(t, c.leader().Node, 3)
	c.same()
}

// Three servers with three states: none of them can be right, so none is written to any more, and all say so.
func TestThreeStatesTurnAllServersReadOnly(t *testing.T) {
	c := newCluster(t, true, quickSums)
	c.three()
	mustPropose(t, c.leader().Node, 1)
	i := 1000
	for _, m := range c.all {
		if m != c.leader() {
			i++
			spoil(m, i)
		}
	}
	if err := c.leader().raft.Load().Barrier(0).Error(); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.all {
		until(t, "it refuses entries", func() error {
			if _, err := m.Propose(t.Context(), entry(2)); !errors.Is(err, ErrReadOnly) {
				return errNotYet
			}
			return nil
		})
		until(t, "it says why", func() error {
			if !strings.Contains(m.Alarm(), "differ") {
				return errNotYet
			}
			return nil
		})
		if !has(m.View(), 1) {
			t.Error("what was there is not to be read")
		}
	}
	if n := len(c.running()); n != 3 {
		t.Errorf("%d servers run", n)
	}
}

// Entries that no server of this build would propose: they are refused alike, and nothing comes of them, over a restart
// of all servers too.
func TestEntriesFromElsewhereAreRefusedByAllServersAlike(t *testing.T) {
	future, err := cbor.Marshal(map[int]any{1: uint16(999), 2: int64(5), 3: []byte{0xa0}})
	if err != nil {
		t.Fatal(err)
	}
	large := entry(7)
	large.Name = strings.Repeat("n", 10<<20)
	tenMB, err := cbor.Marshal(map[int]any{1: uint16(machine.KindToken), 2: int64(5), 3: []byte(large.Name)})
	if err != nil {
		t.Fatal(err)
	}
	for name, poison := range map[string][]byte{
		"of a future kind": future, "of 10 MB": tenMB, "cut off": mustEncode(entry(8), 5)[:20], "empty": {}, "no entry": bytes.Repeat([]byte{0xff}, 1000),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, true, quickSums)
			c.three()
			mustPropose(t, c.leader().Node, 1)
			before := c.leader().View()
			index := c.appended(poison)
			for _, m := range c.all {
				if err := m.Wait(t.Context(), index); err != nil {
					t.Fatal(err)
				}
				if v := m.View(); v.Seq() != before.Seq() || v.Index() < index {
					t.Errorf("%s is at entry %d, event %d", m.host, v.Index(), v.Seq())
				}
			}
			c.goesOn()
			for _, m := range c.all {
				c.stop(m)
			}
			for _, m := range c.all {
				c.start(m)
			}
			mustPropose(t, c.leader().Node, 2)
			c.compared()
			c.goesOn()
		})
	}
	c := newCluster(t, true, nil)
	c.three()
	for _, m := range c.all {
		last := c.leader().raft.Load().LastIndex()
		if r, err := m.Propose(t.Context(), large); err == nil && r.Code == machine.OK {
			t.Errorf("%s took a command of 10 MB", m.host)
		}
		if now := c.leader().raft.Load().LastIndex(); now != last {
			t.Errorf("a command of 10 MB came into the log by %s", m.host)
		}
	}
}
