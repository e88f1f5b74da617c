package consensus

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// refused starts a server and waits for its end, which must name what is damaged and say what to do.
func (c *cluster) refused(m *member, names ...string) {
	c.t.Helper()
	c.start(m)
	select {
	case <-m.done:
	case <-time.After(patience):
		c.t.Fatal("a damaged server runs")
	}
	m.cancel = nil
	c.names(m.err, names...)
}

func (c *cluster) names(err error, names ...string) {
	c.t.Helper()
	text := fmt.Sprint(err)
	for _, name := range names {
		if !strings.Contains(text, name) {
			c.t.Errorf("%q is not in: %s", name, text)
		}
	}
}

// one is a server that has stopped, with a few entries in its log and the folder's path to a file.
func one(t *testing.T, tune func(*Config)) (*cluster, *member, func(...string) string) {
	t.Helper()
	c := newCluster(t, true, func(_ int, cfg *Config) {
		if tune != nil {
			tune(cfg)
		}
	})
	m := c.found()
	for i := range 20 {
		mustPropose(t, m.Node, i)
	}
	c.stop(m)
	if m.err != nil {
		t.Fatal(m.err)
	}
	return c, m, func(parts ...string) string { return filepath.Join(append([]string{m.cfg.Dir}, parts...)...) }
}

// lastSegment is the newest file of the log, and where what was written ends in it.
func lastSegment(t *testing.T, m *member) (path string, end int) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(m.cfg.Dir, "raft", "log", "*.wal"))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	path = list[len(list)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, len(bytes.TrimRight(b, "\x00"))
}

func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 4
		return b
	}
}

func cut(at int) func([]byte) []byte { return func(b []byte) []byte { return b[:at] } }

// look reads the whole log as a start does, without the rest of a server.
func look(t *testing.T, m *member) (list []raft.Log, err error) {
	t.Helper()
	n, err := New(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, log, err := n.openStores()
	if err != nil {
		return nil, err
	}
	defer s.Log.Close()
	for index := uint64(1); index <= log.last.Load(); index++ {
		var e raft.Log
		if err := log.GetLog(index, &e); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// Wherever a bit of the log has turned, or its file is cut short, no entry is lost or read wrong: raft-wal alone would hand
// out wrong bytes, and throw away what follows a damaged head as a torn write.
func TestADamagedLogIsRefused(t *testing.T) {
	t.Parallel() // starts are waited for more than they compute
	c, m, file := one(t, func(c *Config) { c.Tuning.SegmentBytes = 1 << 16 })
	path, end := lastSegment(t, m)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := look(t, m)
	if err != nil || len(before) < 20 {
		t.Fatal(before, err)
	}
	refused := 0
	for at := range end {
		if at%131 != 0 && at < end-32 {
			continue // the last entry byte by byte, with its head and the write's
		}
		for what, change := range map[string]func([]byte) []byte{"flipped": flip(at), "cut": cut(at)} {
			put(t, path, change(slices.Clone(whole)))
			switch after, err := look(t, m); {
			case err == nil && !cmp.Equal(before, after):
				t.Errorf("byte %d %s: other entries are read", at, what)
			case err != nil && (!strings.Contains(err.Error(), file("raft")) || !strings.Contains(err.Error(), "A damaged server")):
				t.Errorf("byte %d %s: %v", at, what, err)
			case err != nil:
				refused++
			case what == "cut":
				t.Errorf("cut at byte %d: nothing is said", at)
			}
		}
	}
	t.Logf("%d times refused", refused)

	middle := bytes.Index(whole, []byte("entry 7"))
	for _, change := range []func([]byte) []byte{flip(middle), cut(middle)} {
		put(t, path, change(slices.Clone(whole)))
		c.refused(m, file("raft"), "A damaged server")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.refused(m, file("raft"), "has held entry", file("cluster", "reached"))
	put(t, path, whole)
	c.start(m) // what is whole again is taken
	c.leader()
	if !has(m.View(), 19) {
		t.Error("another state")
	}
}

func TestADamagedFileOfTheFolderIsNamed(t *testing.T) {
	t.Parallel()
	c, m, file := one(t, nil)
	if err := os.WriteFile(file("cluster", fileServers), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"cluster/" + fileAuthority, "cluster/" + fileAuthorityKey, "cluster/" + fileCert, "cluster/" + fileKey,
		"cluster/" + fileServers, "cluster/" + fileReached, "raft/log/meta",
	} {
		whole, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func([]byte) []byte{flip(len(whole) / 2), cut(len(whole) / 2), cut(0)} {
			edit(t, file(name), change)
			c.refused(m, file(name))
			put(t, file(name), whole)
		}
		if name == "cluster/"+fileServers || name == "cluster/"+fileReached {
			continue // what its lack means is told elsewhere
		}
		if err := os.Remove(file(name)); err != nil {
			t.Fatal(err)
		}
		c.refused(m, file(name), "A damaged server")
		put(t, file(name), whole)
	}
	c.start(m)
	c.leader()
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The newest snapshot is damaged: the one before it does, if the log reaches back to it, and nothing less does.
func TestADamagedSnapshotIsPassedOverOrRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trailing uint64
		file     string
		change   func([]byte) []byte
		starts   bool
	}{
		"a bit, with the log":            {100, "state.bin", flip(200), true},
		"cut short, with the log":        {100, "state.bin", cut(200), true},
		"what it tells of itself":        {100, "meta.json", cut(20), true},
		"a bit, without the log":         {1, "state.bin", flip(200), false},
		"cut short, without the log":     {1, "state.bin", cut(200), false},
		"its own words, without the log": {1, "meta.json", cut(20), false},
		"its own index, without the log": {1, "meta.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"Index":`), []byte(`"Index":1`), 1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := newCluster(t, true, func(_ int, cfg *Config) { cfg.Tuning.TrailingLogs = c.trailing })
			m := cl.found()
			for i := range 20 {
				mustPropose(t, m.Node, i)
				if i == 5 || i == 15 {
					if err := m.Compact(); err != nil {
						t.Fatal(err)
					}
				}
			}
			sum := m.View().Sum()
			cl.stop(m)
			list, err := filepath.Glob(filepath.Join(m.cfg.Dir, "raft", "snapshots", "*"))
			if err != nil || len(list) != 2 {
				t.Fatal(list, err)
			}
			newest := slices.MaxFunc(list, func(a, b string) int { return strings.Compare(index(a), index(b)) })
			edit(t, filepath.Join(newest, c.file), c.change)
			if !c.starts {
				cl.refused(m, newest, "A damaged server")
				return
			}
			cl.start(m)
			cl.leader()
			if m.View().Sum() != sum {
				t.Error("another state")
			}
			if _, err := os.Stat(filepath.Join(m.cfg.Dir, "raft", "damaged", filepath.Base(newest))); err != nil {
				t.Error(err)
			}
		})
	}
}

// index is a snapshot's, with leading zeros: its folder is TERM-INDEX-TIME.
func index(path string) string {
	return fmt.Sprintf("%20s", strings.Split(filepath.Base(path), "-")[1])
}

// A lost log is refused by the mark alone: raft would begin anew, with nothing that it has acknowledged and sworn.
func TestALogThatIsGoneIsRefused(t *testing.T) {
	t.Parallel()
	c, m, file := one(t, nil)
	if err := os.RemoveAll(file("raft")); err != nil {
		t.Fatal(err)
	}
	c.refused(m, file("raft", "log"), "A damaged server")
	if err := os.Remove(file("cluster", fileReached)); err != nil {
		t.Fatal(err)
	}
	old := file("raft", "log", "00000000000000000001-0000000000000000.wal") // of which nothing tells: it would be deleted
	put(t, old, []byte("entries"))
	c.refused(m, file("raft", "log", "meta")+" is not there", "A damaged server")
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	c.start(m) // the oracle: this is what the mark is for
	until(t, "an empty server leads", func() error {
		if !m.Leads() {
			return errNotYet
		}
		return nil
	})
	if has(m.View(), 1) {
		t.Error("the log was not gone")
	}
}

// What a follower must take back, since it was never committed, may be missing afterwards.
func TestTheMarkFollowsWhatIsTakenBack(t *testing.T) {
	log := &checkedLog{Log: inmem{}, stop: func(err error) { t.Error(err) }, mark: mark{file: filepath.Join(t.TempDir(), "reached")}}
	at := func(want uint64) {
		t.Helper()
		if err := log.note(); err != nil {
			t.Fatal(err)
		}
		m, err := readMark(log.mark.file)
		if err != nil || m.at != want {
			t.Fatalf("the mark is at %d, %v; want %d", m.at, err, want)
		}
	}
	log.last.Store(9)
	at(9)
	if err := log.DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	at(9)
	if err := log.DeleteRange(7, 9); err != nil {
		t.Fatal(err)
	}
	m, err := readMark(log.mark.file) // already, before the log is shorter
	if err != nil || m.at != 6 {
		t.Fatal(m, err)
	}
	log.last.Store(8)
	at(8)
	if err := log.DeleteRange(4, 8); err != nil {
		t.Fatal(err)
	}
	at(3)
}

type inmem struct{ Log }

func (inmem) DeleteRange(uint64, uint64) error { return nil }
