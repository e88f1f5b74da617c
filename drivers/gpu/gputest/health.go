package gputest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
)

func healthChecks() []Check {
	all := []Check{
		{"a program's own error drains nothing", Setting{}, ownError},
		{"an error in a slice hits its task", Setting{MIG: true}, sliceError},
	}
	for _, xid := range []int{48, 63, 64, 74, 79, 94, 95} {
		all = append(all, Check{fmt.Sprintf("a GPU with XID %d is drained", xid), Setting{}, drained(fmt.Sprintf("XID %d", xid), func(s *Session, n int) error { return s.XID(n, -1, xid) })})
	}
	for name, fault := range map[string]struct {
		reason string
		plant  func(*Session, int) error
	}{
		"two bits of memory lost":     {"memory", (*Session).twoBits},
		"memory that failed earlier":  {"memory failed", func(s *Session, n int) error { return s.Set(n, "ecc.uncorrected", 2) }},
		"the GPU gone":                {"lost", func(s *Session, n int) error { return s.Set(n, "lost", 1) }},
		"pages to be retired":         {"retired", func(s *Session, n int) error { return s.Set(n, "retired.pending", 1) }},
		"rows to be remapped":         {"remapped", func(s *Session, n int) error { return s.Set(n, "remap.pending", 1) }},
		"rows that can't be remapped": {"replaced", func(s *Session, n int) error { return s.Set(n, "remap.failed", 1) }},
	} {
		all = append(all, Check{"a GPU is drained with " + name, Setting{}, drained(fault.reason, fault.plant)})
	}
	slices.SortFunc(all, func(a, b Check) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s *Session) twoBits(n int) error { return s.DoubleBit(n) }

// next waits for an event that satisfies the condition.
func next(ctx context.Context, events <-chan gpu.Event, condition func(gpu.Event) bool) (gpu.Event, error) {
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return e, fmt.Errorf("the watch ended")
			}
			if condition(e) {
				return e, nil
			}
		case <-ctx.Done():
			return gpu.Event{}, fmt.Errorf("the event never came")
		}
	}
}

// listening makes sure that the driver's events reach the provider, by an error that changes nothing, repeated until it is told.
func (s *Session) listening(events <-chan gpu.Event) error {
	for {
		if err := s.XID(7, -1, 43); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		_, err := next(ctx, events, func(e gpu.Event) bool { return e.XID == 43 })
		cancel()
		if err == nil || s.ctx.Err() != nil {
			return err
		}
	}
}

func drained(reason string, plant func(*Session, int) error) func(*Session) error {
	return func(s *Session) error {
		const n = 2
		if _, err := s.get(gpu.Request{Task: "t", Model: "A100-SXM4-40GB", Count: 4}); err != nil {
			return err
		}
		d, err := s.device(n)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		events, err := s.Watch(ctx)
		if err != nil {
			return err
		}
		if err := s.listening(events); err != nil {
			return err
		}
		if err := plant(s, n); err != nil {
			return err
		}
		e, err := next(ctx, events, func(e gpu.Event) bool { return e.Device == d.ID })
		if err != nil {
			return err
		}
		if !e.Sick || !strings.Contains(e.Reason, reason) || len(e.Tasks) != 1 || e.Tasks[0] != "t" {
			return fmt.Errorf("the event is %+v, want reason %q", e, reason)
		}
		if d, err = s.device(n); err != nil || d.State != gpu.StateSick || d.Reason != e.Reason {
			return fmt.Errorf("the GPU is %+v, %w", d, err)
		}
		return steps(
			func() error { return s.release("t") },
			func() error {
				return s.refused(gpu.Request{Task: "u", Model: "A100-SXM4-40GB", Count: 4}, gpu.ErrNoRoom)
			},
			func() error {
				_, err := s.get(gpu.Request{Task: "u", Model: "A100-SXM4-40GB", Count: 3})
				return err
			},
			s.again,
			func() error { return s.stillSick(d.ID, e.Reason) })
	}
}

// stillSick expects that a watch that begins now says so at once.
func (s *Session) stillSick(id, reason string) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	events, err := s.Watch(ctx)
	if err != nil {
		return err
	}
	e, err := next(ctx, events, func(e gpu.Event) bool { return e.Device == id })
	if err != nil {
		return err
	}
	if !e.Sick || e.Reason != reason {
		return fmt.Errorf("after a restart the event is %+v", e)
	}
	return nil
}

func ownError(s *Session) error {
	g, err := s.get(gpu.Request{Task: "t", Model: "A100-SXM4-40GB"})
	if err != nil {
		return err
	}
	n, err := s.index(g)
	if err != nil {
		return err
	}
	events, err := s.Watch(s.ctx)
	if err != nil {
		return err
	}
	if err := s.listening(events); err != nil {
		return err
	}
	if err := s.XID(n, -1, 31); err != nil {
		return err
	}
	e, err := next(s.ctx, events, func(e gpu.Event) bool { return e.XID == 31 })
	if err != nil || e.Sick || e.Device != g.Devices[0].Device || len(e.Tasks) != 1 {
		return fmt.Errorf("the event is %+v, %w", e, err)
	}
	return s.state(n, gpu.StateWhole)
}

func sliceError(s *Session) error {
	got, err := s.all(slice("t", "3g.20gb"), slice("u", "2g.10gb"))
	if err != nil {
		return err
	}
	n, err := s.index(got[0])
	if err != nil {
		return err
	}
	instance, err := s.instanceOf("u", n)
	if err != nil {
		return err
	}
	events, err := s.Watch(s.ctx)
	if err != nil {
		return err
	}
	if err := s.listening(events); err != nil {
		return err
	}
	if err := s.XID(n, instance, 94); err != nil {
		return err
	}
	e, err := next(s.ctx, events, func(e gpu.Event) bool { return e.XID == 94 })
	if err != nil || !e.Sick || len(e.Tasks) != 1 || e.Tasks[0] != "u" {
		return fmt.Errorf("the event is %+v, %w", e, err)
	}
	return steps(
		func() error { return s.release("t", "u") },
		func() error { return s.instances(n, 0) },
		func() error {
			g, err := s.get(slice("v", "1g.5gb"))
			if err == nil && g.Devices[0].Device == got[0].Devices[0].Device {
				return fmt.Errorf("the sick GPU was cut again")
			}
			return err
		})
}
