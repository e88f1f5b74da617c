//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stampEvery is how often a task of these tests says that it runs; a longer silence than restsAfter is one.
const (
	stampEvery = 100 * time.Millisecond
	restsAfter = time.Second
)

// stamp is one word of a task's: who it is, and the time since the machine's start, which all tasks share.
type stamp struct {
	job, run uint64
	task     int
	born     int // when its process began, in the kernel's ticks: process numbers are each task's own
	at       time.Duration
}

// stamps is the file that all tasks of a test write, each line in one piece.
type stamps struct{ file, enough string }

func newStamps(t *testing.T) stamps {
	t.Helper()
	dir, err := os.MkdirTemp("/srv", "e2e-stamps-") // the temporary folders that a task sees are its own
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o711))
	s := stamps{filepath.Join(dir, "stamps"), filepath.Join(dir, "enough")}
	must(t, os.WriteFile(s.file, nil, 0o666))
	must(t, os.Chmod(s.file, 0o666)) // tasks are another user's
	return s
}

// command is a task that stamps until it is enough.
func (s stamps) command() []string {
	return []string{"sh", "-c", fmt.Sprintf(`set -- $(cat /proc/$$/stat); born=${22}; while [ ! -e %s ]; do read up rest </proc/uptime
echo "$COINOP_JOB $COINOP_TASK $COINOP_RUN $born $up" >>%s; sleep %.3f; done`, s.enough, s.file, stampEvery.Seconds())}
}

// end lets all tasks end by themselves.
func (s stamps) end() error { return os.WriteFile(s.enough, nil, 0o644) }

// read returns all stamps so far, in the order of their times.
func (s stamps) read() ([]stamp, error) {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return nil, err
	}
	var all []stamp
	for line := range strings.Lines(string(text)) {
		var (
			one stamp
			up  float64
		)
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if _, err := fmt.Sscanf(line, "%d %d %d %d %f\n", &one.job, &one.task, &one.run, &one.born, &up); err != nil {
			return nil, fmt.Errorf("stamp %q: %w", line, err)
		}
		one.at = time.Duration(up * float64(time.Second))
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b stamp) int { return cmp.Compare(a.at, b.at) })
	return all, nil
}

// of are a job's stamps, by run in the order in which the runs began.
func (s stamps) of(job uint64) ([][]stamp, error) {
	all, err := s.read()
	if err != nil {
		return nil, err
	}
	var runs [][]stamp
	for _, one := range all {
		i := slices.IndexFunc(runs, func(r []stamp) bool { return r[0].run == one.run })
		switch {
		case one.job != job:
		case i < 0:
			runs = append(runs, []stamp{one})
		default:
			runs[i] = append(runs[i], one)
		}
	}
	return runs, nil
}

// twice says which task ran twice at once: one run stamped after another one of its task had begun, or two processes were one run.
func twice(all []stamp) error {
	type task struct {
		job  uint64
		task int
	}
	last := map[task]stamp{}
	over := map[uint64]bool{} // runs that have been followed by another
	for _, one := range all {
		id := task{one.job, one.task}
		before, any := last[id]
		switch {
		case over[one.run]:
			return fmt.Errorf("task %d of job %d: run %d still ran at %v, when run %d had begun", one.task, one.job, one.run, one.at, before.run)
		case any && before.run == one.run && before.born != one.born:
			return fmt.Errorf("task %d of job %d: run %d was a process of %d and one of %d", one.task, one.job, one.run, before.born, one.born)
		case any && before.run != one.run:
			over[before.run] = true
		}
		last[id] = one
	}
	return nil
}

// silences are the times in which a run wrote nothing, and worked is how long it wrote.
func silences(run []stamp) (silent []time.Duration, worked time.Duration) {
	for i := 1; i < len(run); i++ {
		if gap := run[i].at - run[i-1].at; gap > restsAfter {
			silent = append(silent, gap)
		} else {
			worked += gap
		}
	}
	return silent, worked
}

func TestATaskThatRunsTwiceIsFound(t *testing.T) {
	at := func(run uint64, task, born int, ms ...int) (all []stamp) {
		for _, m := range ms {
			all = append(all, stamp{job: 1, run: run, task: task, born: born, at: time.Duration(m) * time.Millisecond})
		}
		return all
	}
	first := at(1, 0, 10, 0, 100, 200)
	for name, c := range map[string]struct {
		more  []stamp
		found bool
	}{
		"alone":                            {nil, false},
		"one after the other":              {at(2, 0, 20, 300, 400), false},
		"another task of the job":          {at(2, 1, 20, 50, 150), false},
		"for one stamp":                    {at(2, 0, 20, 150, 300), true},
		"inside":                           {at(2, 0, 20, 150), true},
		"two processes of one run":         {at(1, 0, 20, 150), true},
		"a second process after the first": {at(1, 0, 20, 300), true},
	} {
		all := append(slices.Clone(first), c.more...)
		slices.SortStableFunc(all, func(a, b stamp) int { return cmp.Compare(a.at, b.at) })
		if err := twice(all); (err != nil) != c.found {
			t.Errorf("%s: %v", name, err)
		}
	}
	silent, worked := silences(append(first, at(1, 0, 10, 5200, 5300)...))
	if len(silent) != 1 || silent[0] != 5*time.Second || worked != 300*time.Millisecond {
		t.Errorf("silent %v, worked %v", silent, worked)
	}
}
