package gputest

import (
	"fmt"
	"strings"

	"github.com/coinop/coinop/drivers/gpu"
)

func sliceChecks() []Check {
	return []Check{
		{"a slice is made, found and destroyed", Setting{MIG: true}, madeAndDestroyed},
		{"small slices leave room for large ones", Setting{MIG: true}, packed},
		{"all of a GPU can be cut, and had whole again", Setting{MIG: true}, wholeAgain},
		{"a slice outlives the provider", Setting{MIG: true}, sliceOutlives},
		{"a slice in use is not destroyed", Setting{MIG: true}, sliceInUse},
		{"a slice that is not made to its end is taken back", Setting{MIG: true}, halfMade},
		{"MIG stays as it is where it may not be changed", Setting{}, asItIs},
		{"a GPU that needs a reset for MIG is told", Setting{MIG: true}, needsReset},
		{"slices of others are left alone", Setting{MIG: true}, foreignSlices},
	}
}

func slice(task, profile string) gpu.Request {
	return gpu.Request{Task: task, Kind: gpu.Slice, Profile: profile}
}

func (s *Session) instances(index, want int) error {
	return s.until(fmt.Sprintf("GPU %d has %d MIG instances", index, want), func() (bool, error) {
		n, err := s.Instances(index)
		return n == want, err
	})
}

func madeAndDestroyed(s *Session) error {
	g, err := s.get(slice("t", "3g.20gb"))
	if err != nil {
		return err
	}
	d := g.Devices[0]
	caps := 0
	for _, node := range g.Nodes {
		if strings.Contains(node, "nvidia-cap") && !strings.HasSuffix(node, "nvidia-caps") {
			caps++
		}
	}
	if !strings.HasPrefix(d.Visible, "MIG-") || d.Profile != "3g.20gb" || d.MemoryBytes != 19968<<20 || caps != 2 {
		return fmt.Errorf("the slice is %+v", g)
	}
	n, err := s.index(g)
	if err != nil {
		return err
	}
	card, err := s.device(n)
	if err != nil || card.State != gpu.StateSliced || !card.MIG.On || len(card.MIG.Profiles) != 7 {
		return fmt.Errorf("the GPU is %+v, %v", card, err)
	}
	for _, p := range card.MIG.Profiles {
		want := map[string]int{"7g.40gb": 0, "4g.20gb": 1, "3g.20gb": 1, "2g.10gb": 2, "1g.10gb": 2, "1g.5gb": 4, "1g.5gb+me": 4}
		if free, ok := want[p.Name]; !ok || p.Free != free {
			return fmt.Errorf("profile %+v, want free %v", p, want)
		}
	}
	return steps(func() error { return s.instances(n, 1) }, func() error { return s.release("t") }, func() error { return s.instances(n, 0) })
}

func packed(s *Session) error {
	if err := s.refused(slice("none", "5g.25gb"), gpu.ErrNone); err != nil {
		return err
	}
	if d, err := s.device(0); err != nil || d.MIG.On {
		return fmt.Errorf("for a slice that no GPU has, MIG was turned on: %+v, %v", d, err)
	}
	got, err := s.all(slice("a", "1g.5gb"), slice("b", "1g.5gb"), slice("c", "4g.20gb"), slice("d", "7g.40gb"))
	if err != nil {
		return err
	}
	first := got[0].Devices[0].Device
	for i, g := range got {
		if on := g.Devices[0].Device; (on == first) != (i < 3) {
			return fmt.Errorf("slice %d is on %s, the first on %s", i, on, first)
		}
	}
	return steps(
		func() error { return s.release("c") },
		func() error {
			g, err := s.get(slice("e", "3g.20gb"))
			if err == nil && g.Devices[0].Device != first {
				return fmt.Errorf("3g.20gb does not go where 4g.20gb was")
			}
			return err
		},
		func() error {
			g, err := s.get(gpu.Request{Task: "f", Kind: gpu.Slice, MemoryBytes: 6 << 30})
			if err != nil {
				return err
			}
			return expect("the smallest slice with 6 GB", g.Devices[0].Profile, "1g.10gb")
		})
}

func wholeAgain(s *Session) error {
	var tasks []string
	for i := range 28 { // four GPUs of seven
		tasks = append(tasks, fmt.Sprintf("t%d", i))
		if _, err := s.get(slice(tasks[i], "1g.5gb")); err != nil {
			return err
		}
	}
	return steps(
		func() error { return s.refused(slice("more", "1g.5gb"), gpu.ErrNoRoom) },
		func() error { return s.refused(gpu.Request{Task: "whole", Model: "A100-SXM4-40GB"}, gpu.ErrNoRoom) },
		func() error { return s.release(tasks...) },
		func() error {
			_, err := s.get(gpu.Request{Task: "whole", Model: "A100-SXM4-40GB", Count: 4})
			return err
		},
		func() error { return s.refused(slice("late", "1g.5gb"), gpu.ErrNoRoom) })
}

func sliceOutlives(s *Session) error {
	first, err := s.get(slice("t", "2g.10gb"))
	if err != nil {
		return err
	}
	if err := s.again(); err != nil {
		return err
	}
	second, err := s.get(slice("t", "2g.10gb"))
	if err != nil || first.Devices[0] != second.Devices[0] {
		return fmt.Errorf("first %+v, then %+v, %w", first, second, err)
	}
	n, err := s.index(first)
	if err != nil {
		return err
	}
	return steps(func() error { return s.instances(n, 1) }, func() error { return s.release("t") }, func() error { return s.instances(n, 0) })
}

func sliceInUse(s *Session) error {
	got, err := s.all(slice("t", "3g.20gb"), slice("u", "3g.20gb"))
	if err != nil {
		return err
	}
	n, err := s.index(got[0])
	if err != nil {
		return err
	}
	instance, err := s.instanceOf("t", n)
	if err != nil {
		return err
	}
	return steps(
		func() error { return s.Start(n, instance, 99, 1<<20) },
		func() error { return s.release("t", "u") },
		func() error { return s.instances(n, 1) },
		s.again,
		func() error { return s.instances(n, 1) },
		func() error { return s.Stop(n, 99) },
		func() error { return s.instances(n, 0) })
}

// instanceOf finds the MIG instance of a task, which shows its processes.
func (s *Session) instanceOf(task string, index int) (int, error) {
	for instance := range 15 {
		if err := s.Start(index, instance, 1000, 0); err != nil {
			return 0, err
		}
		u, err := s.usage(task)
		if err != nil {
			return 0, err
		}
		if err := s.Stop(index, 1000); err != nil {
			return 0, err
		}
		if len(u.Processes) == 1 {
			return instance, nil
		}
	}
	return 0, fmt.Errorf("task %s shows no process in any MIG instance of GPU %d", task, index)
}

func halfMade(s *Session) error {
	const unknown = 999
	for _, function := range []string{"nvmlGpuInstanceCreateComputeInstance", "nvmlDeviceGetMaxMigDeviceCount"} {
		if err := s.Fail(function, unknown); err != nil {
			return err
		}
		if g, err := s.Allocate(s.ctx, slice("t", "1g.5gb")); err == nil {
			return fmt.Errorf("without %s there is a slice: %+v", function, g)
		}
		for n := range 4 {
			if err := s.instances(n, 0); err != nil {
				return err
			}
		}
		if err := s.Fail(function, 0); err != nil {
			return err
		}
	}
	_, err := s.get(slice("t", "1g.5gb"))
	return err
}

func asItIs(s *Session) error {
	return steps(
		func() error { return s.refused(slice("t", "1g.5gb"), gpu.ErrNone) },
		func() error { return s.Set(2, "mig", 1) },
		s.again,
		func() error {
			g, err := s.get(slice("t", "1g.5gb"))
			if err != nil {
				return err
			}
			n, err := s.index(g)
			if err != nil {
				return err
			}
			return expect("the only GPU whose MIG is on", n, 2)
		},
		func() error { return s.release("t") },
		func() error {
			return s.refused(gpu.Request{Task: "u", Model: "A100-SXM4-40GB", Count: 4}, gpu.ErrNoRoom)
		})
}

func needsReset(s *Session) error {
	for n := range 4 {
		if err := s.Set(n, "mig.needs_reset", 1); err != nil {
			return err
		}
	}
	_, err := s.Allocate(s.ctx, slice("t", "1g.5gb"))
	if err == nil || !strings.Contains(err.Error(), "--gpu-reset") {
		return fmt.Errorf("allocate: %v", err)
	}
	pending, err := s.Get(0, "mig.pending")
	if err != nil {
		return err
	}
	if err := expect("MIG after the next reset", pending, 0); err != nil {
		return err
	}
	_, err = s.get(gpu.Request{Task: "t", Model: "A100-SXM4-40GB", Count: 4})
	return err
}

func foreignSlices(s *Session) error {
	for n := range 4 { // somebody's 3g.20gb in the first half of each
		for fact, value := range map[string]any{"mig": 1, "instance1": "9 0 4 1 1", "serial": 1} {
			if err := s.Set(n, fact, value); err != nil {
				return err
			}
		}
	}
	return steps(
		s.again,
		func() error { return s.refused(slice("t", "7g.40gb"), gpu.ErrNoRoom) },
		func() error { return s.refused(gpu.Request{Task: "t", Model: "A100-SXM4-40GB"}, gpu.ErrNoRoom) },
		func() error {
			g, err := s.get(slice("t", "3g.20gb"))
			if err != nil {
				return err
			}
			n, err := s.index(g)
			if err != nil {
				return err
			}
			return steps(func() error { return s.instances(n, 2) }, func() error { return s.release("t") }, func() error { return s.instances(n, 1) })
		})
}
