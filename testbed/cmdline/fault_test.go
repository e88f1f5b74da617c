package cmdline

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shimOf waits for the process that stands beside a job's run on one of the machines below dir, other than those
// that were seen before, by their command lines: what a shim has started may bear the same one, and outlive it for a moment.
func shimOf(t *testing.T, dir string, before map[string]bool) int {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for late := time.After(patience); ; {
		all, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, proc := range all {
			line, _ := os.ReadFile(filepath.Join(proc, "cmdline")) // it may have ended
			if isShim(line) && bytes.Contains(line, []byte(dir+"/")) && !before[string(line)] && !isShim(commandOf(parentOf(proc))) {
				before[string(line)] = true
				pid, _ := strconv.Atoi(filepath.Base(proc))
				return pid
			}
		}
		select {
		case <-look.C:
		case <-late:
			t.Fatal("no task is started")
		}
	}
}

func isShim(line []byte) bool { return bytes.HasPrefix(line, []byte("coinop-shim\x00")) }

func commandOf(pid string) []byte {
	line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return line
}

// parentOf is the second field behind the name, which stands in brackets.
func parentOf(proc string) string {
	stat, _ := os.ReadFile(filepath.Join(proc, "stat"))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// What stands beside the task is killed on one machine, and on the next: that is coinop's fault, told by its code,
// and costs nothing.
func TestAFaultOfOursIsToldByItsCodeAndCostsNothing(t *testing.T) {
	d, dir := own(t, "--executors", "2", "--cpus", "1")
	you := d.someone(t, "you", "500")
	said := newWritten()
	run := you.command(t.Context(), "run", "--time", "60s", "--pay", "150", "--", "sh", "-c", "echo up; sleep 50")
	run.Stdout, run.Stderr = said, said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range 2 {
		pid := shimOf(t, dir, seen)
		said.awaitTimes(t, "up\n", i+1)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	_ = run.Wait()
	if code := run.ProcessState.ExitCode(); code != 125 {
		t.Errorf("run exits with %d, want 125:\n%s", code, said)
	}
	var job struct {
		Reason  string
		Private struct {
			Runs []struct{ Node, Reason string }
		}
	}
	you.read(&job, "show", "1")
	runs := job.Private.Runs
	if job.Reason != "faults_twice" || len(runs) != 2 || runs[0].Node == runs[1].Node || runs[1].Reason != "fault" {
		t.Errorf("the job: %+v", job)
	}
	var r receipt
	you.read(&r, "receipt", "1")
	if free, waits := you.balance(); r.Charged != 0 || free != 500 || waits != 0 {
		t.Errorf("charged %d; %d free and %d under way of 500", r.Charged, free, waits)
	}
	cmd := you.command(t.Context(), "wait", "1")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(string(out), "fault") {
		t.Errorf("wait exits with %d: %s", cmd.ProcessState.ExitCode(), out)
	}
}

// awaitTimes waits until a text was written so often.
func (w *written) awaitTimes(t *testing.T, text string, n int) {
	t.Helper()
	for late := time.After(patience); strings.Count(w.String(), text) < n; {
		select {
		case <-w.more:
		case <-late:
			t.Fatalf("never wrote %q %d times:\n%s", text, n, w)
		}
	}
}
