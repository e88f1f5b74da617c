package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/coinop/coinop/drivers"
)

func lifeChecks() []Check {
	return []Check{
		{Name: "it says what it is, every limit included", Run: describes},
		{Name: "the exit code is the command's", Run: exitCodes},
		{Name: "starting a task twice starts it once", Run: startTwice},
		{Name: "a watch shows each task to its end", Run: watches},
		{Name: "a watch of all tasks sees those to come", Run: watchesAll},
		{Name: "kill ends a task", Run: kills},
		{Name: "stop asks, then insists", Run: stops},
		{Name: "what cannot be is refused, and nothing happens", Run: refuses},
		{Name: "a removed task is forgotten, and its id free", Run: removes},
		{Name: "freeze and thaw are timed", Needs: pauses, Run: freezes},
		{Name: "exec joins streams and brings the code", Run: execs},
	}
}

func pauses(_ Harness, d drivers.Description) bool { return d.Pause }

func describes(s *Session) error {
	d := s.description
	if d.Name == "" || d.Isolation == "" || d.ProtocolVersion != drivers.ProtocolVersion {
		return fmt.Errorf("incomplete: %+v", d)
	}
	if len(d.Limits) != len(drivers.Limits()) {
		return fmt.Errorf("it speaks of %d limits, of %d", len(d.Limits), len(drivers.Limits()))
	}
	for i, limit := range drivers.Limits() {
		if l := d.Limits[i]; l.Limit != limit || !l.Supported && l.Reason == "" {
			return fmt.Errorf("limit %d is %+v, want %s, with a reason if it is not supported", i, l, limit)
		}
	}
	return nil
}

func exitCodes(s *Session) error {
	for _, code := range []int{0, 1, 3, 255} {
		task, err := s.task(s.Exit(code)...)
		if err != nil {
			return err
		}
		st, err := s.run(task)
		if err != nil {
			return err
		}
		if err := expectEnd(st, code, 0, drivers.CauseExited); err != nil {
			return err
		}
	}
	return nil
}

func startTwice(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() { _, errs[i] = s.start(task) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	first, err := s.awaitState(task.ID, drivers.StateRunning)
	if err != nil {
		return err
	}
	again, err := s.start(task)
	if err != nil {
		return err
	}
	if err := expect("start of the second", again.StartedBoot, first.StartedBoot); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	if _, err := s.awaitEnd(task.ID); err != nil {
		return err
	}
	after, err := s.start(task)
	if err != nil {
		return err
	}
	return expect("state of an ended task started again", after.State, drivers.StateExited)
}

func watches(s *Session) error {
	task, err := s.task(s.Exit(7)...)
	if err != nil {
		return err
	}
	if _, err := s.start(task); err != nil {
		return err
	}
	for range 2 { // the second begins after the end
		statuses, err := s.Driver().Watch(s.ctx, task.ID)
		if err != nil {
			return err
		}
		var last drivers.Status
		count := 0
		for st := range statuses {
			if last.State.Final() {
				return fmt.Errorf("%s came after %s", st.State, last.State)
			}
			last = st
			count++
		}
		if count == 0 || !last.State.Final() {
			return fmt.Errorf("the watch ended after %d statuses with %+v", count, last)
		}
		if err := expectEnd(last, 7, 0, drivers.CauseExited); err != nil {
			return err
		}
	}
	return nil
}

func watchesAll(s *Session) error {
	early, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if _, err := s.running(early); err != nil {
		return err
	}
	statuses, err := s.Driver().Watch(s.ctx, "")
	if err != nil {
		return err
	}
	late, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	if _, err := s.start(late); err != nil {
		return err
	}
	seen := map[string]drivers.State{}
	for st := range statuses {
		seen[st.ID] = st.State
		if seen[early.ID] == drivers.StateRunning && seen[late.ID] == drivers.StateExited {
			return nil
		}
	}
	return fmt.Errorf("it ended having seen %v", seen)
}

func kills(s *Session) error {
	task, err := s.task(s.Stubborn...)
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 137, 9, drivers.CauseStopped); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); !errors.Is(err, drivers.ErrEnded) {
		return fmt.Errorf("a second kill: %v, want %v", err, drivers.ErrEnded)
	}
	return nil
}

func stops(s *Session) error {
	meek, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if _, err := s.running(meek); err != nil {
		return err
	}
	if err := s.control(meek.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
		return err
	}
	st, err := s.awaitEnd(meek.ID)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 143, 15, drivers.CauseStopped); err != nil {
		return err
	}
	stubborn, err := s.task(s.Stubborn...)
	if err != nil {
		return err
	}
	if _, err := s.running(stubborn); err != nil {
		return err
	}
	if err := s.awaitReady(stubborn.ID); err != nil {
		return err
	}
	if err := s.control(stubborn.ID, drivers.Control{Kind: drivers.Stop, KillDelayMillis: 50}); err != nil {
		return err
	}
	s.pass(50_000_000)
	if st, err = s.awaitEnd(stubborn.ID); err != nil {
		return err
	}
	return expectEnd(st, 137, 9, drivers.CauseStopped)
}

func refuses(s *Session) error {
	good, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	for _, spoil := range []func(*drivers.Task){
		func(t *drivers.Task) { t.ID = "" },
		func(t *drivers.Task) { t.ID = "../escape" },
		func(t *drivers.Task) { t.ID = strings.Repeat("x", 65) },
		func(t *drivers.Task) { t.Argv = nil },
	} {
		bad := good
		spoil(&bad)
		if _, err := s.start(bad); !errors.Is(err, drivers.ErrInvalid) {
			return fmt.Errorf("start of task %.70q, %d arguments: %v, want %v", bad.ID, len(bad.Argv), err, drivers.ErrInvalid)
		}
	}
	d := s.Driver()
	if _, err := d.Watch(s.ctx, good.ID); !errors.Is(err, drivers.ErrNoTask) {
		// Over a socket the refusal may come as the watch's end.
		return fmt.Errorf("watch of no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if _, err := d.Usage(s.ctx, good.ID); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("usage of no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if err := s.control(good.ID, drivers.Control{Kind: drivers.Kill}); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("control of no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if _, err := s.running(good); err != nil {
		return err
	}
	for _, c := range []drivers.Control{{}, {Kind: 99}, {Kind: drivers.Signal, Signal: 65}, {Kind: drivers.Lease, Until: 1}} {
		if err := s.control(good.ID, c); !errors.Is(err, drivers.ErrInvalid) {
			return fmt.Errorf("control %+v: %v, want %v", c, err, drivers.ErrInvalid)
		}
	}
	return nil
}

func removes(s *Session) error {
	task, err := s.task(s.Stubborn...)
	if err != nil {
		return err
	}
	first, err := s.running(task)
	if err != nil {
		return err
	}
	for range 2 {
		if err := s.Driver().Remove(s.ctx, task.ID); err != nil {
			return err
		}
	}
	if _, err := s.Driver().Usage(s.ctx, task.ID); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("usage after remove: %v, want %v", err, drivers.ErrNoTask)
	}
	s.pass(1)
	second, err := s.running(task)
	if err != nil {
		return err
	}
	if second.StartedBoot <= first.StartedBoot {
		return fmt.Errorf("the second task of that id started at %d, the first at %d", second.StartedBoot, first.StartedBoot)
	}
	return nil
}

func freezes(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	s.pass(1000)
	for range 2 { // repeated, it changes nothing
		if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
			return err
		}
	}
	st, err := s.awaitState(task.ID, drivers.StateFrozen)
	if err != nil {
		return err
	}
	if len(st.Frozen) != 1 || st.Frozen[0].To != 0 || st.Frozen[0].From <= 0 || st.Frozen[0].Cause != drivers.FrozenByControl {
		return fmt.Errorf("frozen spans %+v, want one that lasts", st.Frozen)
	}
	s.pass(1000)
	for range 2 {
		if err := s.control(task.ID, drivers.Control{Kind: drivers.Thaw}); err != nil {
			return err
		}
	}
	if st, err = s.awaitState(task.ID, drivers.StateRunning); err != nil {
		return err
	}
	if len(st.Frozen) != 1 || st.Frozen[0].To <= st.Frozen[0].From {
		return fmt.Errorf("frozen spans %+v, want one that is over", st.Frozen)
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Stop}); err != nil { // must not wait for what cannot run
		return err
	}
	if st, err = s.awaitEnd(task.ID); err != nil {
		return err
	}
	if n := len(st.Frozen); n != 2 || st.Frozen[1].To == 0 || st.Frozen[1].To > st.EndedBoot-st.StartedBoot+1 {
		return fmt.Errorf("at the end frozen spans %+v, want a second one that ends with the task", st.Frozen)
	}
	return expectEnd(st, 137, 9, drivers.CauseStopped)
}

func execs(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	argv := s.Exit(3)
	if s.Programs {
		argv = []string{"/bin/sh", "-c", "cat; printf hello >&2; exit 3"}
	}
	var out, errOut bytes.Buffer
	exit, err := s.Driver().Exec(s.ctx, task.ID, drivers.ExecRequest{Argv: argv},
		drivers.ExecStreams{Stdin: strings.NewReader("over there"), Stdout: &out, Stderr: &errOut})
	if !s.description.Exec {
		if !errors.Is(err, drivers.ErrUnsupported) {
			return fmt.Errorf("exec: %v, want %v", err, drivers.ErrUnsupported)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(expect("code", exit.Code, 3), expect("output", out.String(), "over there"), expect("errors", errOut.String(), "hello"))
}
