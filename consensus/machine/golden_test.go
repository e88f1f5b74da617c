package machine

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGoldenLogs replays the logs that were kept and compares every result's checksum: entries mean
// for ever what they meant when they were written. A log is renewed by `-rewrite` only while its
// kinds have never been in anybody's log; afterwards a change of meaning is a new kind.
func TestGoldenLogs(t *testing.T) {
	logs, err := filepath.Glob("testdata/golden/*.log")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[Kind]bool)
	for _, file := range logs {
		t.Run(filepath.Base(file), func(t *testing.T) {
			entries := readGolden(t, file)
			m := New()
			for _, e := range entries {
				if _, c, err := Decode(e.bytes); err == nil {
					seen[c.Kind()] = true
				}
				if r := m.Apply(e.index, e.bytes); [8]byte(r.Sum[:8]) != [8]byte(e.sum[:8]) {
					t.Fatalf("entry %d: %s %s: its checksum is not the one that was kept", e.index, r.Code, r.Detail)
				}
			}
		})
	}
	for _, k := range kinds() {
		if !seen[k] {
			t.Errorf("kind %d (%T) is in no golden log", k, commandOf(k))
		}
	}
}

// TestGoldenSnapshots restores the snapshots that were kept late in the same logs, and replays what came after: a
// snapshot is read for ever as it was written, in its own format or in a later one.
func TestGoldenSnapshots(t *testing.T) {
	logs, err := filepath.Glob("testdata/golden/*.log")
	if err != nil {
		t.Fatal(err)
	}
	filled := make(map[uint8]bool) // tables that had records
	for _, file := range logs {
		t.Run(filepath.Base(file), func(t *testing.T) {
			entries := readGolden(t, file)
			snapshot, err := os.ReadFile(strings.TrimSuffix(file, ".log") + ".snapshot")
			if err != nil {
				t.Fatal(err)
			}
			m, err := Restore(bytes.NewReader(snapshot))
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range m.state.tables() {
				filled[table.id()] = filled[table.id()] || table.(interface{ len() int }).len() > 0
			}
			v := m.View()
			if err := v.Check(); err != nil {
				t.Error(err)
			}
			for _, e := range entries[snapshotAt(entries):] {
				if e.index <= v.Index() {
					t.Fatalf("entry %d comes after the snapshot of entry %d", e.index, v.Index())
				}
				if r := m.Apply(e.index, e.bytes); [8]byte(r.Sum[:8]) != [8]byte(e.sum[:8]) {
					t.Fatalf("entry %d after the snapshot: %s %s: its checksum is not the one that was kept", e.index, r.Code, r.Detail)
				}
			}
		})
	}
	for _, table := range newState().tables() {
		if !filled[table.id()] {
			t.Errorf("table %d is empty in all golden snapshots", table.id())
		}
	}
}

// snapshotAt is where in a log its snapshot is taken: late, when most tables have records.
func snapshotAt(log []entry) int { return len(log) * 3 / 5 }

// TestGoldenBites: a log in which one byte differs does not pass.
func TestGoldenBites(t *testing.T) {
	logs, _ := filepath.Glob("testdata/golden/*.log")
	if len(logs) == 0 {
		t.Fatal("there are no golden logs")
	}
	entries := readGolden(t, logs[0])
	last := len(entries) - 1
	m := New()
	for i, e := range entries {
		if i == last/2 {
			e.bytes = append(append([]byte(nil), e.bytes...), 0)
		}
		r := m.Apply(e.index, e.bytes)
		if i == last && [8]byte(r.Sum[:8]) == [8]byte(e.sum[:8]) {
			t.Error("a changed entry was not found")
		}
	}
}

// keepGolden writes a story's log as a golden one.
func keepGolden(t *testing.T, name string, log []entry) {
	t.Helper()
	var out strings.Builder
	for _, e := range log {
		fmt.Fprintf(&out, "%d %x %x\n", e.index, e.bytes, e.sum[:8])
	}
	if err := os.MkdirAll("testdata/golden", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata/golden", name+".log"), []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// keepSnapshot writes a snapshot of a story as a golden one.
func keepSnapshot(t *testing.T, name string, log []entry) {
	t.Helper()
	m := New()
	for _, e := range log[:snapshotAt(log)] {
		m.Apply(e.index, e.bytes)
	}
	if err := os.WriteFile(filepath.Join("testdata/golden", name+".snapshot"), snapshotOf(t, m), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readGolden reads lines of index, entry and the first bytes of the checksum after it.
func readGolden(t *testing.T, file string) []entry {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var log []entry
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var e entry
		var body, sum string
		if _, err := fmt.Sscanf(line, "%d %s %s", &e.index, &body, &sum); err != nil {
			t.Fatalf("%s:%d: %v", file, n+1, err)
		}
		sumBytes, err := hex.DecodeString(sum)
		if err != nil {
			t.Fatalf("%s:%d: %v", file, n+1, err)
		}
		copy(e.sum[:], sumBytes)
		if e.bytes, err = hex.DecodeString(body); err != nil {
			t.Fatalf("%s:%d: %v", file, n+1, err)
		}
		log = append(log, e)
	}
	return log
}
