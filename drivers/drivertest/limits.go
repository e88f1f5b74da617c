package drivertest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers"
)

func limitChecks() []Check {
	needs := func(limit drivers.Limit) func(Harness, drivers.Description) bool {
		return func(h Harness, d drivers.Description) bool { return h.Programs && supports(d, limit) }
	}
	return []Check{
		{Name: "too much memory is an end out of memory", Needs: needs(drivers.LimitMemory), Run: outOfMemory},
		{Name: "out of memory in a child is seen", Needs: needs(drivers.LimitMemory), Run: childOutOfMemory},
		{Name: "processes are limited", Needs: needs(drivers.LimitPids), Run: tooManyProcesses},
		{Name: "processor time is limited", Needs: needs(drivers.LimitCPU), Run: throttled},
		{Name: "open files are limited", Needs: needs(drivers.LimitFiles), Run: tooManyFiles},
		{Name: "what is not limited is said", Needs: programs, Run: saysMissing},
	}
}

func outOfMemory(s *Session) error {
	task, err := s.task("dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=1")
	if err != nil {
		return err
	}
	task.MemoryBytes = 32 << 20
	st, err := s.run(task)
	if err != nil {
		return err
	}
	usage, err := s.Driver().Usage(s.ctx, task.ID)
	if err != nil {
		return err
	}
	if usage.MemoryPeakBytes < 24<<20 || usage.MemoryPeakBytes > 33<<20 {
		return fmt.Errorf("its memory's peak was %d bytes, with a limit of %d", usage.MemoryPeakBytes, task.MemoryBytes)
	}
	return errors.Join(expectEnd(st, 137, 9, drivers.CauseOOM), expect("out of memory seen", st.Exit.OOMSeen, true))
}

func childOutOfMemory(s *Session) error {
	task, err := s.shell("dd if=/dev/zero of=/dev/null bs=400M count=1; exit 4")
	if err != nil {
		return err
	}
	task.MemoryBytes = 32 << 20
	st, err := s.run(task)
	if err != nil {
		return err
	}
	if !st.Exit.OOMSeen { // where the kernel kills all at once, the first process goes as well
		return fmt.Errorf("out of memory was not seen: %+v", st.Exit)
	}
	if st.Exit.Cause == drivers.CauseOOM {
		return nil
	}
	return expectEnd(st, 4, 0, drivers.CauseExited)
}

func tooManyProcesses(s *Session) error {
	for limit, wants := range map[int64]bool{6: false, 100: true} {
		task, err := s.shell("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; exit 0")
		if err != nil {
			return err
		}
		task.PidsMax = limit
		st, err := s.run(task)
		if err != nil {
			return err
		}
		if (st.Exit.Code == 0) != wants {
			return fmt.Errorf("eleven processes under a limit of %d ended as %+v", limit, st.Exit)
		}
	}
	return nil
}

func throttled(s *Session) error {
	task, err := s.shell(`i=0; while [ $i -lt 80000 ]; do i=$((i+1)); done`)
	if err != nil {
		return err
	}
	task.CPUMilli = 100
	st, err := s.run(task)
	if err != nil {
		return err
	}
	usage, err := s.Driver().Usage(s.ctx, task.ID)
	if err != nil {
		return err
	}
	// At a tenth of a processor its time is ten times what it used, but for the first and last slices.
	if took := (st.EndedBoot - st.StartedBoot) / 1e6; took < 8*(usage.CPUMillis-20) || usage.CPUMillis == 0 {
		return fmt.Errorf("%d ms of processor time in %d ms, at a tenth of a processor", usage.CPUMillis, took)
	}
	return nil
}

func tooManyFiles(s *Session) error {
	task, err := s.shell("ulimit -n; ulimit -Hn")
	if err != nil {
		return err
	}
	task.FilesMax = 37
	if _, err := s.run(task); err != nil {
		return err
	}
	got, err := output(task, "stdout")
	if err != nil {
		return err
	}
	return expect("open files, soft and hard", strings.Fields(got)[0]+" "+strings.Fields(got)[1], "37 37")
}

func saysMissing(s *Session) error {
	task, err := s.task("true")
	if err != nil {
		return err
	}
	task.WorkDir = filepath.Dir(task.Dir)
	task.CPUMilli, task.MemoryBytes, task.DiskBytes, task.PidsMax, task.FilesMax = 1000, 256<<20, 1<<30, 1000, 100
	st, err := s.run(task)
	if err != nil {
		return err
	}
	var want []drivers.Limit
	for _, limit := range []drivers.Limit{drivers.LimitCPU, drivers.LimitMemory, drivers.LimitDisk, drivers.LimitPids, drivers.LimitFiles} {
		if !supports(s.description, limit) {
			want = append(want, limit)
		}
	}
	if !slices.Equal(st.Missing, want) {
		return fmt.Errorf("missing limits: got %v, want %v", st.Missing, want)
	}
	return expectEnd(st, 0, 0, drivers.CauseExited)
}
