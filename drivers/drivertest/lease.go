package drivertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/coinop/coinop/drivers"
)

func leaseChecks() []Check {
	needs := func(_ Harness, d drivers.Description) bool { return supports(d, drivers.LimitLease) }
	return []Check{
		{Name: "a lapsed lease freezes, a renewal thaws", Needs: needs, Run: lapses},
		{Name: "a renewed lease does not lapse", Needs: needs, Run: renews},
		{Name: "a lease cut short holds at once", Needs: needs, Run: cuts},
		{Name: "a pause under a lapsed lease stays a pause", Needs: needs, Run: pausesUnderLease},
		{Name: "a lease that stays lapsed kills in the end", Needs: needs, Run: lapsesForGood},
		{Name: "a task whose lease has lapsed never starts", Needs: needs, Run: lapsedBefore},
	}
}

const hour = int64(time.Hour)

// leased starts a blocking task with a lease that ends after a while.
func (s *Session) leased(lease time.Duration, graceMillis int64) (drivers.Task, drivers.Status, error) {
	task, err := s.task(s.Block...)
	if err != nil {
		return task, drivers.Status{}, err
	}
	task.LeaseUntil = s.Now() + int64(lease)
	task.LeaseGraceMillis = graceMillis
	st, err := s.running(task)
	return task, st, err
}

func (s *Session) renew(id string, until int64) error {
	return s.control(id, drivers.Control{Kind: drivers.Lease, Until: until})
}

func lapses(s *Session) error {
	task, _, err := s.leased(300*time.Millisecond, 0)
	if err != nil {
		return err
	}
	s.pass(300 * time.Millisecond)
	st, err := s.awaitState(task.ID, drivers.StateFrozen)
	if err != nil {
		return err
	}
	if len(st.Frozen) != 1 || st.Frozen[0].Cause != drivers.FrozenByLease || st.StartedBoot+st.Frozen[0].From < task.LeaseUntil {
		return fmt.Errorf("frozen spans %+v, want one by the lease from %d", st.Frozen, task.LeaseUntil)
	}
	s.pass(time.Millisecond)
	if err := s.renew(task.ID, s.Now()+hour); err != nil {
		return err
	}
	st, err = s.awaitState(task.ID, drivers.StateRunning)
	if err != nil {
		return err
	}
	if len(st.Frozen) != 1 || st.Frozen[0].To <= st.Frozen[0].From {
		return fmt.Errorf("frozen spans %+v, want one that is over", st.Frozen)
	}
	return nil
}

func renews(s *Session) error {
	task, _, err := s.leased(300*time.Millisecond, 0)
	if err != nil {
		return err
	}
	if err := s.renew(task.ID, s.Now()+hour); err != nil {
		return err
	}
	// A second task whose lease lapses later than the first one's would have: by then the first one's has been looked at.
	clock, _, err := s.leased(500*time.Millisecond, 0)
	if err != nil {
		return err
	}
	s.pass(500 * time.Millisecond)
	if _, err := s.awaitState(clock.ID, drivers.StateFrozen); err != nil {
		return err
	}
	st, err := s.start(task)
	if err != nil {
		return err
	}
	return errors.Join(expect("state", st.State, drivers.StateRunning), expect("freezes", len(st.Frozen), 0))
}

func cuts(s *Session) error {
	task, _, err := s.leased(time.Hour, 0)
	if err != nil {
		return err
	}
	if err := s.renew(task.ID, s.Now()); err != nil {
		return err
	}
	_, err = s.awaitState(task.ID, drivers.StateFrozen)
	return err
}

func pausesUnderLease(s *Session) error {
	task, _, err := s.leased(time.Hour, 0)
	if err != nil {
		return err
	}
	s.pass(1000)
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	s.pass(1000)
	if err := s.renew(task.ID, s.Now()); err != nil {
		return err
	}
	s.pass(1000)
	if err := s.renew(task.ID, s.Now()+hour); err != nil {
		return err
	}
	want := []drivers.FreezeCause{drivers.FrozenByControl, drivers.FrozenByLease, drivers.FrozenByControl}
	st, err := s.await(task.ID, "in three spans", func(st drivers.Status) bool { return len(st.Frozen) == len(want) })
	if err != nil {
		return err
	}
	for i, span := range st.Frozen {
		if span.Cause != want[i] || i > 0 && span.From != st.Frozen[i-1].To {
			return fmt.Errorf("frozen spans %+v, want causes %v without gaps", st.Frozen, want)
		}
	}
	return expect("state", st.State, drivers.StateFrozen)
}

func lapsesForGood(s *Session) error {
	task, _, err := s.leased(500*time.Millisecond, 100)
	if err != nil {
		return err
	}
	s.pass(500 * time.Millisecond)
	s.pass(100 * time.Millisecond)
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	if st.EndedBoot < task.LeaseUntil+100*int64(time.Millisecond) {
		return fmt.Errorf("it ended at %d, before the grace was over", st.EndedBoot)
	}
	return expectEnd(st, 137, 9, drivers.CauseLease)
}

func lapsedBefore(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	task.LeaseUntil = s.Now() - 1
	st, err := s.run(task)
	if err != nil {
		return err
	}
	return errors.Join(expect("cause", st.Exit.Cause, drivers.CauseLease), expect("start", st.StartedBoot, int64(0)))
}
