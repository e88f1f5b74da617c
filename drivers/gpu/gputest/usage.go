package gputest

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

func usageChecks() []Check {
	return []Check{
		{"a task's energy is its GPUs', across restarts", Setting{}, energy},
		{"energy grows with use", Setting{}, growing},
		{"a slice bears its part of the energy", Setting{MIG: true}, sliceEnergy},
		{"a counter that starts anew loses nothing more", Setting{}, counterAnew},
		{"processes, memory and use are the task's", Setting{}, measured},
	}
}

// usage is one task's of what is told of all.
func (s *Session) usage(task string) (gpu.Usage, error) {
	all, err := s.Usage(s.ctx)
	if err != nil {
		return gpu.Usage{}, err
	}
	u, known := all[task]
	if !known || u.Released {
		return u, fmt.Errorf("usage of %s: %w: it is told of %+v", task, drivers.ErrNoTask, all)
	}
	return u, nil
}

func (s *Session) took(task string, want int64, basis string) error {
	u, err := s.usage(task)
	if err != nil {
		return err
	}
	if u.EnergyMillijoules != want || u.EnergyBasis != basis {
		return fmt.Errorf("%s took %d mJ of %s, want %d of %s", task, u.EnergyMillijoules, u.EnergyBasis, want, basis)
	}
	return nil
}

// still lets GPUs take no energy but what a test gives them.
func (s *Session) still(indexes ...int) error {
	for _, n := range indexes {
		if err := s.Burn(n, 0); err != nil {
			return err
		}
	}
	return nil
}

func energy(s *Session) error {
	return steps(
		func() error { return s.still(0, 1, 2, 3, 4, 5, 6, 7) },
		func() error {
			_, err := s.get(gpu.Request{Task: "t", Model: "L4", Count: 4})
			return err
		},
		func() error { return s.Burn(4, 1500) },
		func() error { return s.Burn(7, 500) },
		func() error { return s.Burn(0, 9999) }, // not its own
		func() error { return s.took("t", 2000, "the GPU") },
		s.again,
		func() error { return s.Burn(5, 1) },
		func() error {
			u, err := s.Release(s.ctx, "t")
			if err != nil {
				return err
			}
			return expect("energy at the release", u.EnergyMillijoules, 2001)
		},
		func() error { return s.Burn(5, 100) },
		s.again,
		func() error {
			u, err := s.Release(s.ctx, "t")
			return errors.Join(err, expect("energy after the release", u.EnergyMillijoules, 2001))
		},
		func() error {
			all, err := s.Usage(s.ctx)
			return errors.Join(err, expect("tasks that use something", len(all), 0))
		})
}

func growing(s *Session) error {
	g, err := s.get(gpu.Request{Task: "t", Model: "A100-SXM4-40GB"})
	if err != nil {
		return err
	}
	n, err := s.index(g)
	if err != nil {
		return err
	}
	if err := s.Use(n, 100); err != nil {
		return err
	}
	before, err := s.usage("t")
	if err != nil {
		return err
	}
	return s.until("it took ten joules more", func() (bool, error) {
		u, err := s.usage("t")
		return u.EnergyMillijoules >= before.EnergyMillijoules+10_000, err
	})
}

func sliceEnergy(s *Session) error {
	return steps(
		func() error { return s.still(0, 1, 2, 3) },
		func() error { _, err := s.all(slice("t", "3g.20gb"), slice("u", "1g.5gb")); return err },
		func() error {
			for n := range 4 {
				if err := s.Burn(n, 7000); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return s.took("t", 3000, "3/7 of the GPU") },
		func() error { return s.took("u", 1000, "1/7 of the GPU") },
		func() error {
			u, err := s.usage("t")
			if err != nil {
				return err
			}
			return expect("a slice's use, which nothing measures", u.Utilisation, -1)
		})
}

func counterAnew(s *Session) error {
	return steps(
		func() error { return s.still(4, 5, 6, 7) },
		func() error {
			_, err := s.get(gpu.Request{Task: "t", Model: "L4", Count: 4})
			return err
		},
		func() error { return s.Burn(4, 1000) },
		func() error { return s.took("t", 1000, "the GPU") },
		func() error { return s.Set(4, "energy", 30) },
		func() error { return s.took("t", 1030, "the GPU") })
}

func measured(s *Session) error {
	got, err := s.all(gpu.Request{Task: "t", Model: "L4"}, gpu.Request{Task: "u", Model: "L4"})
	if err != nil {
		return err
	}
	t, err := s.index(got[0])
	if err != nil {
		return err
	}
	u, err := s.index(got[1])
	if err != nil {
		return err
	}
	err = steps(
		func() error { return s.Use(t, 60) },
		func() error { return s.Start(t, -1, 11, 3<<30) },
		func() error { return s.Start(t, -1, 12, 1<<30) },
		func() error { return s.Start(u, -1, 13, 5<<30) })
	if err != nil {
		return err
	}
	used, err := s.usage("t")
	if err != nil {
		return err
	}
	processes := map[int]int64{}
	for _, p := range used.Processes {
		processes[p.Pid] = p.MemoryBytes
	}
	if !reflect.DeepEqual(processes, map[int]int64{11: 3 << 30, 12: 1 << 30}) || used.MemoryBytes != 4<<30 || used.MemoryPeakBytes != 4<<30 ||
		used.ProcessesPeak != 2 {
		return fmt.Errorf("it uses %+v", used)
	}
	if other, err := s.usage("u"); err != nil || len(other.Processes) != 1 || other.MemoryBytes != 5<<30 {
		return fmt.Errorf("the other one uses %+v, %w", other, err)
	}
	if err := s.Stop(t, 11); err != nil {
		return err
	}
	if used, err = s.usage("t"); err != nil || used.MemoryBytes != 1<<30 || used.MemoryPeakBytes != 4<<30 ||
		len(used.Processes) != 1 || used.ProcessesPeak != 2 {
		return fmt.Errorf("one process later it uses %+v, %w", used, err)
	}
	return s.until("the mean of its use nears 60 percent", func() (bool, error) {
		used, err := s.usage("t")
		return used.Utilisation > 500 && used.Utilisation <= 600, err
	})
}
