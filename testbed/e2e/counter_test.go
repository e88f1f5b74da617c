//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

// counting appends a number, the shell's pid and the time in microseconds to a file, ten times a second. A pipe that
// nobody writes to is what it waits for, so that nothing is started meanwhile.
const counting = `exec 9<> <(:); while :; do echo "$((i+=1)) $$ ${EPOCHREALTIME/./}"; read -rt 0.1 -u 9; done >> "$1"`

// pauseMost is how long a task that nobody disturbs may seem to rest.
const pauseMost = time.Second

// counter is a task that counts.
type counter struct {
	job  uint64
	file string
	dir  string // its cluster's
	pid  int    // as the machine knows it; the task may see another
}

// count starts a task that counts for up to an hour.
func count(t *testing.T, ctx context.Context, c *cluster.Cluster, h cluster.Home) counter {
	t.Helper()
	dir := filepath.Join(c.Dir, "counters")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.Chmod(dir, 0o777)) // for the tasks' user
	list, err := os.ReadDir(dir)
	must(t, err)
	file := filepath.Join(dir, fmt.Sprint(len(list)))
	must(t, os.WriteFile(file, nil, 0o666))
	must(t, os.Chmod(file, 0o666))
	n := submit(t, ctx, h, "--cpus", "1", "--memory", "64MiB", "--time", "1h", "--pay", "8000", "--", "bash", "-c", counting, "count", file)
	k := counter{job: n, file: file, dir: c.Dir}
	k.more(t, ctx)
	k.pid = k.process(t)
	return k
}

// process is the shell that counts now; the shim beside it has its command line at the end of its own.
func (k counter) process(t *testing.T) int {
	t.Helper()
	pids, err := cluster.Processes(k.dir)
	must(t, err)
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(line), "bash\x00") && strings.HasSuffix(string(line), "\x00"+k.file+"\x00") {
			return pid
		}
	}
	t.Fatalf("job %d does not run", k.job)
	return 0
}

// more waits until it has counted on.
func (k counter) more(t *testing.T, ctx context.Context) {
	t.Helper()
	before := len(k.read(t))
	must(t, cluster.Until(ctx, time.Minute, fmt.Sprintf("job %d counts", k.job), func() (bool, error) {
		return len(k.read(t)) > before, nil
	}))
}

// tick is one line of a counter.
type tick struct {
	number, pid int
	at          time.Time
}

func (k counter) read(t *testing.T) []tick {
	t.Helper()
	text, err := os.ReadFile(k.file)
	must(t, err)
	var list []tick
	for line := range strings.Lines(string(text)) {
		var s tick
		var micros int64
		if _, err := fmt.Sscan(line, &s.number, &s.pid, &micros); err != nil || !strings.HasSuffix(line, "\n") {
			continue // it is being written
		}
		s.at = time.UnixMicro(micros)
		list = append(list, s)
	}
	return list
}

// undisturbed fails unless one process has counted all the time, and counts still. It returns the
// longest time between two lines.
func (k counter) undisturbed(t *testing.T, ctx context.Context) (longest time.Duration) {
	t.Helper()
	k.more(t, ctx)
	longest, err := disturbed(k.read(t))
	if err != nil {
		t.Errorf("job %d: %v", k.job, err)
	}
	if now := k.process(t); now != k.pid {
		t.Errorf("job %d was process %d and is process %d", k.job, k.pid, now)
	}
	return longest
}

// end cancels it, and fails unless it ran once.
func (k counter) end(t *testing.T, ctx context.Context, h cluster.Home) {
	t.Helper()
	if r, err := h.Run(ctx, "cancel", fmt.Sprint(k.job)); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	await(t, ctx, h, k.job, "done")
	if job := show(t, ctx, h, k.job); job.Reason != "cancelled" || job.Private == nil || len(job.Private.Runs) != 1 {
		t.Errorf("job %d ended for %q: %+v", k.job, job.Reason, job.Private)
	}
}

// disturbed says what is wrong with a counter.
func disturbed(list []tick) (longest time.Duration, err error) {
	for i, s := range list {
		if s.number != i+1 {
			return longest, fmt.Errorf("%d was counted after %d", s.number, i)
		}
		if s.pid != list[0].pid {
			return longest, fmt.Errorf("process %d counted first, and %d was counted by process %d", list[0].pid, s.number, s.pid)
		}
		if i > 0 {
			longest = max(longest, s.at.Sub(list[i-1].at))
		}
	}
	if longest > pauseMost {
		return longest, fmt.Errorf("it rested for %s", longest)
	}
	return longest, nil
}

func TestADisturbedCounterIsFound(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	good := []tick{{1, 7, at(0)}, {2, 7, at(100)}, {3, 7, at(1100)}}
	if longest, err := disturbed(good); err != nil || longest != time.Second {
		t.Errorf("all is well, but: %s, %v", longest, err)
	}
	for name, list := range map[string][]tick{
		"a number is missing": {{1, 7, at(0)}, {3, 7, at(100)}},
		"begun again":         {{1, 7, at(0)}, {2, 7, at(100)}, {1, 7, at(200)}},
		"another process":     {{1, 7, at(0)}, {2, 8, at(100)}},
		"a rest":              {{1, 7, at(0)}, {2, 7, at(1001)}},
	} {
		if _, err := disturbed(list); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
