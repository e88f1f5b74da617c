package gputest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
)

func wholeChecks() []Check {
	return []Check{
		{"it says what there is", Setting{}, inventory},
		{"pairs are handed out as pairs", Setting{}, pairs},
		{"the smallest that fits is taken", Setting{}, smallest},
		{"the same task gets the same again, and nothing once it was released", Setting{}, same},
		{"what is held outlives the provider", Setting{}, outlives},
		{"a GPU is clean before it is sold again", Setting{}, clean},
		{"what others use is not handed out", Setting{}, others},
		{"a GPU is set before it is handed out", Setting{Settings: gpu.Settings{ComputeMode: "exclusive", Persistence: "on", PowerLimitWatts: 300}}, settings},
		{"what cannot be is refused, and nothing happens", Setting{}, refusals},
	}
}

func inventory(s *Session) error {
	i, err := s.Inventory(s.ctx)
	if err != nil {
		return err
	}
	if i.ProtocolVersion != gpu.ProtocolVersion || i.Driver == "" || i.Note != "" || len(i.Missing) > 0 || len(i.Devices) != 8 {
		return fmt.Errorf("the inventory is %+v", i)
	}
	for n, d := range i.Devices {
		want := gpu.Device{Index: n, Minor: n, Model: "NVIDIA A100-SXM4-40GB", MemoryBytes: 40960 << 20, NUMA: n / 2, MIG: gpu.MIG{Capable: true}, State: gpu.StateFree}
		want.Links = []gpu.Link{{Peer: i.Devices[n^1].ID, Lanes: 12}}
		want.Settings = gpu.Settings{ComputeMode: "default", Persistence: "off", PowerLimitWatts: 400}
		if n >= 4 {
			want.Model, want.MemoryBytes, want.NUMA, want.MIG, want.Links = "NVIDIA L4", 23034<<20, n/2-2, gpu.MIG{}, nil
			want.Settings.PowerLimitWatts = 72
		}
		want.ID, want.PCI = d.ID, fmt.Sprintf("00000000:%02x:00.0", 0x10+n)
		if !strings.HasPrefix(d.ID, "GPU-") || !reflect.DeepEqual(d, want) {
			return fmt.Errorf("GPU %d is %+v, want %+v", n, d, want)
		}
	}
	return nil
}

func pairs(s *Session) error {
	got, err := s.all(
		gpu.Request{Task: "single", Model: "a100-sxm4-40gb"},
		gpu.Request{Task: "pair", Model: "A100-SXM4-40GB", Count: 2, NVLink: true},
		gpu.Request{Task: "rest", Model: "NVIDIA A100-SXM4-40GB"})
	if err != nil {
		return err
	}
	i, err := s.Inventory(s.ctx)
	if err != nil {
		return err
	}
	peer := func(id string) string {
		for _, d := range i.Devices {
			if d.ID == id {
				return d.Links[0].Peer
			}
		}
		return ""
	}
	if err := expect("the pair", got[1].Devices[1].Device, peer(got[1].Devices[0].Device)); err != nil {
		return err
	}
	if err := expect("the second single one", got[2].Devices[0].Device, peer(got[0].Devices[0].Device)); err != nil {
		return err
	}
	d, err := s.device(0)
	if err != nil || d.State != gpu.StateWhole || len(d.Tasks) != 1 {
		return fmt.Errorf("GPU 0 is %+v, %v", d, err)
	}
	return steps(
		func() error { return s.refused(gpu.Request{Task: "late", Model: "A100-SXM4-40GB"}, gpu.ErrNoRoom) },
		func() error {
			return s.refused(gpu.Request{Task: "many", Model: "A100-SXM4-40GB", Count: 5}, gpu.ErrNone)
		},
		func() error { return s.refused(gpu.Request{Task: "joined", Count: 3, NVLink: true}, gpu.ErrNone) },
		func() error { return s.release("single", "pair", "rest") },
		func() error {
			_, err := s.get(gpu.Request{Task: "four", Model: "A100-SXM4-40GB", Count: 4})
			return err
		})
}

func smallest(s *Session) error {
	got, err := s.all(gpu.Request{Task: "small", MemoryBytes: 8 << 30}, gpu.Request{Task: "large", MemoryBytes: 30 << 30})
	if err != nil {
		return err
	}
	if err := expect("for 8 GB", got[0].Devices[0].Model, "NVIDIA L4"); err != nil {
		return err
	}
	return expect("for 30 GB", got[1].Devices[0].Model, "NVIDIA A100-SXM4-40GB")
}

func same(s *Session) error {
	request := gpu.Request{Task: "t", Count: 2}
	first, err := s.get(request)
	if err != nil {
		return err
	}
	second, err := s.get(request)
	if err != nil || !reflect.DeepEqual(first, second) {
		return fmt.Errorf("first %+v, then %+v, %w", first, second, err)
	}
	visible := "CUDA_VISIBLE_DEVICES=" + first.Devices[0].Visible + "," + first.Devices[1].Visible
	if !slices.Contains(first.Env, visible) || len(first.CDI) != 1 || len(first.Nodes) != 4 {
		return fmt.Errorf("it finds its GPUs by %q, %q, %q", first.Env, first.CDI, first.Nodes)
	}
	used, err := s.Release(s.ctx, "t")
	if err != nil || !used.Released {
		return fmt.Errorf("released: %+v, %w", used, err)
	}
	if again, err := s.Release(s.ctx, "t"); err != nil || !reflect.DeepEqual(used, again) {
		return fmt.Errorf("released again: %+v, then %+v, %w", used, again, err)
	}
	if _, err := s.Release(s.ctx, "nobody"); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("release of what was never allocated: %v", err)
	}
	if _, err := s.usage("nobody"); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("usage of what was never allocated: %v", err)
	}
	return s.refused(request, drivers.ErrInvalid)
}

func outlives(s *Session) error {
	request := gpu.Request{Task: "t", Model: "L4", Count: 2}
	got, err := s.all(gpu.Request{Task: "early", Model: "L4"}, request)
	if err != nil {
		return err
	}
	if err := steps(func() error { return s.release("early") }, s.again); err != nil {
		return err
	}
	second, err := s.get(request)
	if err != nil || !reflect.DeepEqual(got[1], second) {
		return fmt.Errorf("first %+v, then %+v, %w", got[1], second, err)
	}
	return steps(
		func() error { _, err := s.get(gpu.Request{Task: "rest", Model: "L4", Count: 2}); return err },
		func() error { return s.refused(gpu.Request{Task: "more", Model: "L4"}, gpu.ErrNoRoom) },
		func() error { return s.release("t") },
		s.again,
		func() error { return s.refused(request, drivers.ErrInvalid) },
		func() error { _, err := s.get(gpu.Request{Task: "more", Model: "L4", Count: 2}); return err })
}

func clean(s *Session) error {
	g, err := s.get(gpu.Request{Task: "t", Model: "L4", Count: 4})
	if err != nil {
		return err
	}
	n, err := s.index(g)
	if err != nil {
		return err
	}
	return steps(
		func() error { return s.Start(n, -1, 4242, 1<<30) },
		func() error { return s.release("t") },
		func() error { return s.state(n, gpu.StateCleaning) },
		func() error { return s.refused(gpu.Request{Task: "u", Model: "L4", Count: 4}, gpu.ErrNoRoom) },
		s.again,
		func() error { return s.refused(gpu.Request{Task: "u", Model: "L4", Count: 4}, gpu.ErrNoRoom) },
		func() error {
			d, err := s.device(n)
			if err != nil || !strings.Contains(d.Reason, "4242") {
				return fmt.Errorf("why it is not free: %q, %w", d.Reason, err)
			}
			return nil
		},
		func() error { return s.Stop(n, 4242) },
		func() error { return s.state(n, gpu.StateFree) },
		func() error {
			_, err := s.get(gpu.Request{Task: "u", Model: "L4", Count: 4})
			return err
		})
}

func others(s *Session) error {
	return steps(
		func() error { return s.Start(5, -1, 77, 1<<20) },
		func() error { return s.state(5, gpu.StateBusy) },
		func() error { return s.refused(gpu.Request{Task: "t", Model: "L4", Count: 4}, gpu.ErrNoRoom) },
		func() error {
			_, err := s.get(gpu.Request{Task: "t", Model: "L4", Count: 3})
			return err
		})
}

func settings(s *Session) error {
	if _, err := s.all(gpu.Request{Task: "a", Model: "A100-SXM4-40GB"}, gpu.Request{Task: "l", Model: "L4", Count: 4}); err != nil {
		return err
	}
	a, err := s.device(0)
	if err != nil {
		return err
	}
	l, err := s.device(4)
	if err != nil {
		return err
	}
	if err := expect("an A100", a.Settings, gpu.Settings{ComputeMode: "exclusive", Persistence: "on", PowerLimitWatts: 300}); err != nil {
		return err
	}
	return expect("an L4, whose power has a limit of its own", l.Settings, gpu.Settings{ComputeMode: "exclusive", Persistence: "on", PowerLimitWatts: 72})
}

func refusals(s *Session) error {
	for _, r := range []gpu.Request{
		{}, {Task: "../t"}, {Task: "t", Kind: "half"}, {Task: "t", Profile: "1g.5gb"}, {Task: "t", Kind: gpu.Slice, Count: 2},
		{Task: "t", MemoryBytes: -1}, {Task: "t", Kind: gpu.Share, NVLink: true},
	} {
		if err := s.refused(r, drivers.ErrInvalid); err != nil {
			return err
		}
	}
	for _, r := range []gpu.Request{
		{Task: "t", Model: "H100"}, {Task: "t", MemoryBytes: 1 << 40}, {Task: "t", Kind: gpu.Share}, {Task: "t", Kind: gpu.Slice},
	} {
		if err := s.refused(r, gpu.ErrNone); err != nil {
			return err
		}
	}
	i, err := s.Inventory(s.ctx)
	for _, d := range i.Devices {
		if d.State != gpu.StateFree {
			return fmt.Errorf("GPU %d is %s", d.Index, d.State)
		}
	}
	return err
}
