package executor

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

// A bit that turns in a journal makes it say nothing that was not written, and less only if it says so, or in its last line.
func TestATurnedBitInAJournalIsFound(t *testing.T) {
	l := layout{t.TempDir()}
	if err := os.Mkdir(l.runs(), 0o700); err != nil {
		t.Fatal(err)
	}
	j := &journal{id: 7, task: "c-7", spec: &wire.Spec{Name: "render", Argv: []string{"true"}}}
	end := endWithout("a boot", wire.Cause_CAUSE_STOPPED, "stopped")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.writeSpec(j))
	must(l.write(j, line{Starting: "a boot"}))
	must(l.write(j, line{Started: true}))
	last := int(j.size) - 1 // with its line's end, the last but one is a part of the last
	must(l.writeEnd(j, end))
	whole, err := os.ReadFile(l.journal(7))
	must(err)
	for at := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[at] ^= 1 << bit
			must(os.WriteFile(l.journal(7), bad, 0o600))
			found, err := l.read(7)
			if err != nil {
				t.Fatalf("bit %d of byte %d: %v", bit, at, err)
			}
			if found.damage == nil && at < last || found.damage != nil && !strings.Contains(found.damage.Error(), l.journal(7)) {
				t.Fatalf("bit %d of byte %d: the damage is not named: %v", bit, at, found.damage)
			}
			if found.spec != nil && found.spec.GetName() != "render" || found.starting != "" && found.starting != "a boot" ||
				found.end != nil && found.end.status.GetEnd().GetMessage() != "stopped" || found.end == nil && at < last {
				t.Fatalf("bit %d of byte %d: it says %+v", bit, at, found)
			}
		}
	}
}

// spoilLine turns a bit in one line of a run's journal.
func (m *machine) spoilLine(run uint64, number int) {
	m.t.Helper()
	path := layout{m.config.Dir}.journal(run)
	b, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines[number][len(lines[number])/2] ^= 1
	if err := os.WriteFile(path, slices.Concat(lines...), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// Whatever line of a running task's journal is damaged: it is not started twice, and it is not ended unless nobody can say
// what it is.
func TestARunningTaskOutlivesItsDamagedJournal(t *testing.T) {
	for number, name := range []string{"spec", "starting", "started"} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(m *machine) {
				m.cluster.order(running(1, "run", "100s", "3"))
				m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
				work := m.task(1).WorkDir
				m.stop()
				m.spoilLine(1, number)
				m.start()
				if name == "spec" {
					end := m.cluster.awaitEnd(1)
					expectEnd(t, end, wire.Cause_CAUSE_FAULT, codeOurs)
					if !strings.Contains(end.GetEnd().GetMessage(), "journal is damaged") {
						t.Errorf("it says %q", end.GetEnd().GetMessage())
					}
					if _, err := m.driver.Usage(t.Context(), "ctestcluster-1"); err == nil {
						t.Error("the servers start it elsewhere, and it still runs here")
					}
				} else {
					m.wait(time.Second)
					if _, err := os.Stat(work); err != nil {
						t.Errorf("the running task's folder: %v", err)
					}
					end := m.cluster.awaitEnd(1)
					expectEnd(t, end, wire.Cause_CAUSE_EXITED, 3)
					near(t, "time it ran", millis(end.GetRanMs()), 100*time.Second, 50*time.Millisecond)
				}
				if n := m.starts(1); n != 1 {
					t.Errorf("it was started %d times", n)
				}
				m.cluster.forget(1)
				m.awaitFolderGone(1)
			})
		})
	}
}

// A journal whose later lines are all lost says that nothing began. The driver knows better, and so do the servers.
func TestAJournalThatHasLostItsLastLinesStartsNothingAgain(t *testing.T) {
	for _, vanished := range []bool{false, true} {
		onMachine(t, func(m *machine) {
			run := running(1, "run", "100s", "3")
			m.cluster.order(run)
			m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
			m.stop()
			path := layout{m.config.Dir}.journal(1)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(bytes.IndexByte(b, '\n')+1)); err != nil {
				t.Fatal(err)
			}
			if vanished {
				if err := m.driver.Remove(t.Context(), "ctestcluster-1"); err != nil {
					t.Fatal(err)
				}
			}
			m.cluster.change(func() { m.cluster.orders[1] = but(run, func(o *wire.Order) { o.Started = true }) })
			m.start()
			if end := m.cluster.awaitEnd(1); vanished {
				expectEnd(t, end, wire.Cause_CAUSE_FAULT, codeOurs)
			} else {
				expectEnd(t, end, wire.Cause_CAUSE_EXITED, 3)
			}
			if n := m.starts(1); n != 1 {
				t.Errorf("it was started %d times", n)
			}
		})
	}
}

// A machine whose disk is full says so and takes no work; what runs there goes on, and its end is told. What was on its way
// there waits again, uncharged and nobody's fault.
func TestAMachineWithAFullDiskTakesNoWork(t *testing.T) {
	onMachineWith(t, func(m *machine) {
		if err := os.Mkdir(m.config.Dir, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("coinop-test", m.config.Dir, "tmpfs", 0, "size=96m,mode=711"); err != nil {
			t.Skipf("no file system can be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(m.config.Dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}, func(m *machine) {
		m.cluster.order(running(1, "run", "100s", "3"))
		m.cluster.awaitState(1, wire.RunState_RUN_STATE_RUNNING)
		ballast := filepath.Join(m.config.Dir, "ballast")
		fill(t, ballast)
		m.cluster.order(running(1, "run", "100s", "3"), running(2, "block"))
		expectEnd(t, m.cluster.awaitEnd(2), wire.Cause_CAUSE_LEAVING, codeOurs)
		m.cluster.await("it says that it has nothing to offer", func() bool {
			f := m.cluster.facts
			return f.GetCpuMilli() == 0 && f.GetDiskBytes() == 0 && len(f.GetMissing()) > 0 && strings.Contains(f.GetMissing()[0], "cannot write its disk")
		})
		m.cluster.order(running(1, "run", "100s", "3"), running(3, "block"))
		expectEnd(t, m.cluster.awaitEnd(3), wire.Cause_CAUSE_LEAVING, codeOurs)
		if m.starts(2)+m.starts(3) != 0 {
			t.Error("it started work")
		}
		end := m.cluster.awaitEnd(1)
		expectEnd(t, end, wire.Cause_CAUSE_EXITED, 3)
		near(t, "time it ran", millis(end.GetRanMs()), 100*time.Second, 50*time.Millisecond)
		m.cluster.forget(1, 2, 3)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		m.cluster.await("it offers what it has", func() bool { return m.cluster.facts.GetCpuMilli() == 4000 && m.cluster.facts.GetDiskBytes() >= 0 })
		m.cluster.order(running(4, "run", "1s", "0"))
		expectEnd(t, m.cluster.awaitEnd(4), wire.Cause_CAUSE_EXITED, 0)
	})
}

// fill writes until the disk takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !diskTrouble(err) {
		t.Fatal(err)
	}
}
