package gputest

import (
	"fmt"

	"github.com/coinop/coinop/drivers/gpu"
)

func shareChecks() []Check {
	return []Check{
		{"shares fill a GPU before the next", Setting{Shares: 2, Settings: gpu.Settings{ComputeMode: "exclusive"}}, shares},
		{"sharers bear equal parts of the energy", Setting{Shares: 3}, sharedEnergy},
		{"a shared GPU is clean before it is sold whole", Setting{Shares: 2}, sharedClean},
	}
}

func share(task string) gpu.Request {
	return gpu.Request{Task: task, Kind: gpu.Share, Model: "L4"}
}

func shares(s *Session) error {
	got, err := s.all(share("a"), share("b"), share("c"))
	if err != nil {
		return err
	}
	first, second, third := got[0].Devices[0].Device, got[1].Devices[0].Device, got[2].Devices[0].Device
	if first != second || third == first {
		return fmt.Errorf("three shares lie on %s, %s, %s", first, second, third)
	}
	n, err := s.index(got[0])
	if err != nil {
		return err
	}
	d, err := s.device(n)
	if err != nil || d.State != gpu.StateShared || len(d.Tasks) != 2 || d.Settings.ComputeMode != "default" {
		return fmt.Errorf("the shared GPU is %+v, %v", d, err)
	}
	return steps(
		func() error { return s.refused(gpu.Request{Task: "w", Model: "L4", Count: 3}, gpu.ErrNoRoom) },
		s.again,
		func() error { return s.refused(gpu.Request{Task: "w", Model: "L4", Count: 3}, gpu.ErrNoRoom) },
		func() error { return s.release("a", "b", "c") },
		func() error {
			_, err := s.get(gpu.Request{Task: "w", Model: "L4", Count: 4})
			return err
		})
}

func sharedEnergy(s *Session) error {
	g, err := s.get(share("a"))
	if err != nil {
		return err
	}
	n, err := s.index(g)
	if err != nil {
		return err
	}
	if err := s.Burn(n, 0); err != nil { // from here on it takes what the test says
		return err
	}
	base, err := s.usage("a")
	if err != nil {
		return err
	}
	err = steps(
		func() error { return s.Burn(n, 1000) }, // a alone
		func() error { _, err := s.get(share("b")); return err },
		func() error { return s.Burn(n, 2000) }, // a and b
		s.again,
		func() error { return s.Burn(n, 4000) },
		func() error { _, err := s.get(share("c")); return err },
		func() error { return s.Burn(n, 9000) }, // three
		s.again,
		func() error { return s.release("b") },
		func() error { return s.Burn(n, 600) }) // a and c
	if err != nil {
		return err
	}
	for task, want := range map[string]int64{"a": base.EnergyMillijoules + 1000 + 3000 + 3000 + 300, "b": 6000, "c": 3300} {
		u, err := s.Release(s.ctx, task) // which says it again of b
		if err != nil {
			return err
		}
		if u.EnergyMillijoules != want || u.EnergyBasis != "an equal part of the GPU" {
			return fmt.Errorf("%s took %d mJ (%s), want %d", task, u.EnergyMillijoules, u.EnergyBasis, want)
		}
	}
	return nil
}

func sharedClean(s *Session) error {
	g, err := s.all(share("a"), share("b"))
	if err != nil {
		return err
	}
	n, err := s.index(g[0])
	if err != nil {
		return err
	}
	return steps(
		func() error { return s.Start(n, -1, 5, 1<<20) },
		func() error { return s.release("a") },
		func() error { return s.state(n, gpu.StateShared) },
		func() error { return s.release("b") },
		func() error { return s.state(n, gpu.StateCleaning) },
		func() error { return s.refused(gpu.Request{Task: "w", Model: "L4", Count: 4}, gpu.ErrNoRoom) },
		func() error { return s.Stop(n, 5) },
		func() error { return s.state(n, gpu.StateFree) })
}
