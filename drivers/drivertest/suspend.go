package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers"
)

func suspendChecks() []Check {
	can := func(h Harness, d drivers.Description) bool { return h.Programs && d.Suspend }
	cannot := func(_ Harness, d drivers.Description) bool { return !d.Suspend }
	return []Check{
		{Name: "a suspended task goes on where it was", Needs: can, Run: suspends},
		{Name: "a frozen task can be suspended, and a suspended one ended", Needs: can, Run: suspendsFrozen},
		{Name: "a suspended task lives through the driver's death", Needs: func(h Harness, d drivers.Description) bool { return can(h, d) && h.Restart != nil }, Run: suspendsThrough},
		{Name: "what cannot be suspended says so", Needs: cannot, Run: refusesToSuspend},
	}
}

func (s *Session) suspend(id string) error {
	if err := s.control(id, drivers.Control{Kind: drivers.Suspend}); err != nil {
		return err
	}
	_, err := s.awaitState(id, drivers.StateSuspended)
	return err
}

func (s *Session) resume(id string) error {
	if err := s.control(id, drivers.Control{Kind: drivers.Resume}); err != nil {
		return err
	}
	_, err := s.awaitState(id, drivers.StateRunning)
	return err
}

// counter is a task that counts aloud, and keeps its count nowhere but in its memory.
func (s *Session) counter() (drivers.Task, error) {
	task, err := s.shell(`trap "exit 5" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done`)
	if err != nil {
		return task, err
	}
	if _, err := s.running(task); err != nil {
		return task, err
	}
	return task, s.awaitReady(task.ID)
}

// count reads what a counter said: every number once, in order.
func (s *Session) counted(task drivers.Task) (int, error) {
	text, err := output(task, "stdout")
	if err != nil {
		return 0, err
	}
	return countedIn(text)
}

func countedIn(text string) (int, error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != strconv.Itoa(i+1) {
			return 0, fmt.Errorf("line %d of the counter is %q", i+1, line)
		}
	}
	return len(lines) - 1, nil
}

// counts waits until a counter has gone on from a number.
func (s *Session) counts(task drivers.Task, from int) (int, error) {
	for s.ctx.Err() == nil {
		n, err := s.counted(task)
		if err != nil || n > from {
			return n, err
		}
	}
	return 0, fmt.Errorf("it counted to %d and no further", from)
}

func suspends(s *Session) error {
	task, err := s.counter()
	if err != nil {
		return err
	}
	before := 0
	for range 2 { // what was suspended once can be again
		if _, err := s.counts(task, before); err != nil {
			return err
		}
		for range 2 { // repeated, it changes nothing
			if err := s.suspend(task.ID); err != nil {
				return err
			}
		}
		if before, err = s.counted(task); err != nil {
			return err
		}
		if err := s.control(task.ID, drivers.Control{Kind: drivers.Thaw}); !errors.Is(err, drivers.ErrInvalid) {
			return fmt.Errorf("thaw of a suspended task: %v, want %v", err, drivers.ErrInvalid)
		}
		s.pass(1000)
		if now, err := s.counted(task); err != nil || now != before {
			return fmt.Errorf("suspended it counted from %d to %d: %w", before, now, err)
		}
		for range 2 {
			if err := s.resume(task.ID); err != nil {
				return err
			}
		}
	}
	if _, err := s.counts(task, before); err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := s.exec(task.ID, "echo still here", drivers.ExecRequest{}, drivers.ExecStreams{Stdout: &out}); err != nil {
		return err
	}
	if err := expect("a command after it", out.String(), "still here\n"); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
		return err
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	if n := len(st.Frozen); n != 2 || st.Frozen[1].To == 0 || st.Frozen[1].Cause != drivers.FrozenByControl {
		return fmt.Errorf("frozen spans %+v, want the two times that it was suspended", st.Frozen)
	}
	return expectEnd(st, 5, 0, drivers.CauseStopped)
}

func suspendsFrozen(s *Session) error {
	task, err := s.counter()
	if err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	before, err := s.counted(task)
	if err != nil {
		return err
	}
	if err := s.suspend(task.ID); err != nil {
		return err
	}
	// What was in its pipes may have come in between; what it would have done in between may not.
	if now, err := s.counted(task); err != nil || now > before+2 {
		return fmt.Errorf("frozen and then suspended it counted from %d to %d: %w", before, now, err)
	}
	if err := s.resume(task.ID); err != nil {
		return err
	}
	if _, err := s.counts(task, before+2); err != nil {
		return err
	}
	if err := s.suspend(task.ID); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Stop}); err != nil { // must not wait for what cannot run
		return err
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	return expectEnd(st, 137, 9, drivers.CauseStopped)
}

func suspendsThrough(s *Session) error {
	task, err := s.counter()
	if err != nil {
		return err
	}
	if err := s.suspend(task.ID); err != nil {
		return err
	}
	if err := s.Restart(); err != nil {
		return err
	}
	if _, err := s.awaitState(task.ID, drivers.StateSuspended); err != nil {
		return err
	}
	before, err := s.counted(task)
	if err != nil {
		return err
	}
	if err := s.resume(task.ID); err != nil {
		return err
	}
	_, err = s.counts(task, before)
	return err
}

func refusesToSuspend(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	for _, kind := range []drivers.ControlKind{drivers.Suspend, drivers.Resume} {
		if err := s.control(task.ID, drivers.Control{Kind: kind}); !errors.Is(err, drivers.ErrUnsupported) {
			return fmt.Errorf("control of kind %d: %v, want %v", kind, err, drivers.ErrUnsupported)
		}
	}
	return nil
}
