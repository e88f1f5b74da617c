package drivertest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/coinop/coinop/drivers"
)

func endChecks() []Check {
	return []Check{
		{Name: "many tasks leave nothing", Run: leavesNothing},
		{Name: "a task whose shim dies is lost, and its processes with it", Needs: programs, Run: losesShim},
		{Name: "tasks live through the driver's death", Needs: func(h Harness, _ drivers.Description) bool { return h.Restart != nil }, Run: survives},
	}
}

// leavesNothing starts many tasks at once, some of which end by themselves; what is left is looked for when the check closes.
func leavesNothing(s *Session) error {
	var tasks []drivers.Task
	for i := range cmp.Or(s.Many, 60) {
		argv := s.Exit(i)
		if i%3 == 0 {
			argv = s.Block
		}
		task, err := s.task(argv...)
		if err != nil {
			return err
		}
		task.MemoryBytes, task.PidsMax = 64<<20, 100
		tasks = append(tasks, task)
	}
	var group sync.WaitGroup
	errs := make([]error, len(tasks))
	for i, task := range tasks {
		group.Go(func() {
			if i%3 == 0 {
				_, errs[i] = s.start(task)
				return
			}
			var st drivers.Status
			if st, errs[i] = s.run(task); errs[i] == nil {
				errs[i] = expect("code", st.Exit.Code, i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func parent(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	return strconv.Atoi(fields[1])
}

func losesShim(s *Session) error {
	task, err := s.shell(`sleep 1000 & echo ready; wait`)
	if err != nil {
		return err
	}
	word := "ORPHANS=" + task.ID
	task.Env = append(task.Env, word)
	st, err := s.running(task)
	if err != nil {
		return err
	}
	if err := s.awaitReady(task.ID); err != nil {
		return err
	}
	shim, err := parent(st.Pid)
	if err != nil {
		return err
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		return err
	}
	if st, err = s.awaitEnd(task.ID); err != nil {
		return err
	}
	if st.State != drivers.StateLost || st.Exit.Cause != drivers.CauseShimLost || st.EndedBoot < st.StartedBoot {
		return fmt.Errorf("it ended as %+v, want lost", st)
	}
	for s.ctx.Err() == nil { // killed they are; the last of them may still be on its way out
		left, err := s.marked(word)
		if err != nil || left == 0 {
			return err
		}
	}
	return errors.New("its processes live on")
}

func survives(s *Session) error {
	first, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	first.LeaseUntil = s.Now() + hour
	before, err := s.running(first)
	if err != nil {
		return err
	}
	ended, err := s.task(s.Exit(9)...)
	if err != nil {
		return err
	}
	if _, err := s.run(ended); err != nil {
		return err
	}
	if err := s.Restart(); err != nil {
		return err
	}
	after, err := s.start(first)
	if err != nil {
		return err
	}
	if err := errors.Join(expect("state", after.State, drivers.StateRunning), expect("pid", after.Pid, before.Pid),
		expect("start", after.StartedBoot, before.StartedBoot)); err != nil {
		return err
	}
	st, err := s.awaitEnd(ended.ID)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 9, 0, drivers.CauseExited); err != nil {
		return err
	}
	if err := s.renew(first.ID, s.Now()); err != nil {
		return err
	}
	if _, err := s.awaitState(first.ID, drivers.StateFrozen); err != nil {
		return err
	}
	if err := s.renew(first.ID, s.Now()+hour); err != nil {
		return err
	}
	if err := s.control(first.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
		return err
	}
	if st, err = s.awaitEnd(first.ID); err != nil {
		return err
	}
	return expectEnd(st, 143, 15, drivers.CauseStopped)
}
