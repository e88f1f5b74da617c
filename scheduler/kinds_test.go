package scheduler

import (
	"strings"
	"testing"
)

func TestNamesOfKinds(t *testing.T) {
	for name, want := range map[string]GPURequest{
		"":                      {},
		"a100":                  {Model: "a100"},
		"NVIDIA-A100-SXM4-80GB": {Model: "a100-sxm4-80gb"},
		"1g.10gb":               {Kind: GPUSlice, Profile: "1g.10gb"},
		"a100/3G.40GB":          {Kind: GPUSlice, Model: "a100", Profile: "3g.40gb"},
		"share":                 {Kind: GPUShare},
		"a100/share":            {Kind: GPUShare, Model: "a100"},
	} {
		got, err := ParseGPU(name)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v", name, got, err)
		}
		if lower := strings.TrimPrefix(strings.ToLower(name), "nvidia-"); got.Name() != lower {
			t.Errorf("%q is written %q", name, got.Name())
		}
	}
	for _, name := range []string{"a100/", "a100/b", "a_100", "a100:2", "a100/1g.10gb/share", "ä", strings.Repeat("a", 64), "share/share", "1g.10gb/1g.10gb"} {
		if g, err := ParseGPU(name); err == nil {
			t.Errorf("%q is taken, as %+v", name, g)
		}
	}
}

func TestRequestsForGPUs(t *testing.T) {
	one, none := Resources{GPUs: 1}, Resources{}
	for _, c := range []struct {
		need Resources
		gpu  GPURequest
		ok   bool
	}{
		{none, GPURequest{}, true}, {one, GPURequest{}, true}, {one, GPURequest{Model: "a100", Memory: GiB, NVLink: true}, true},
		{none, GPURequest{Model: "a100"}, false}, {none, GPURequest{NVLink: true}, false}, {one, GPURequest{Profile: "1g.10gb"}, false},
		{none, GPURequest{Kind: GPUSlice, Profile: "1g.10gb"}, true}, {none, GPURequest{Kind: GPUSlice}, false},
		{one, GPURequest{Kind: GPUSlice, Profile: "1g.10gb"}, false}, {none, GPURequest{Kind: GPUShare, NVLink: true}, false},
		{none, GPURequest{Kind: GPUShare}, true}, {none, GPURequest{Kind: GPUShare, Profile: "1g.10gb"}, false},
		{one, GPURequest{Memory: -1}, false}, {one, GPURequest{Memory: BytesMax + 1}, false}, {one, GPURequest{Kind: 3}, false},
		{one, GPURequest{Model: "share"}, false}, {one, GPURequest{Model: "A100"}, false},
	} {
		if err := c.gpu.Validate(c.need); (err == nil) != c.ok {
			t.Errorf("%+v beside %d whole ones: %v", c.gpu, c.need.GPUs, err)
		}
	}
}

// A pool with a price list as an operator would write it.
func listed() *Pool {
	return &Pool{Name: "gpu", Weights: Weights{CPU: 1000, Memory: 250, GPU: 16_000}, Kinds: []KindWeight{
		{"a100", 20_000}, {"a100-sxm4-80gb", 30_000}, {"a100/1g.10gb", 2500}, {"l40/share", 3000}, {"t4", 4000},
	}}
}

func TestWhatKindsWeigh(t *testing.T) {
	for ask, want := range map[string]int64{
		"2":                        32_000, // any: the plain weight
		"a100:2":                   40_000,
		"a100-sxm4-80gb:1":         30_000, // the longest name
		"a100-pcie-40gb:1":         20_000,
		"h100:1":                   16_000,
		"a100/1g.10gb:1":           2500,
		"a100-sxm4-80gb/1g.10gb:1": 2500,
		"a100-sxm4-80gb/3g.40gb:1": 12_858, // three sevenths, rounded up
		"3g.40gb:1":                6858,
		"t4/1g.5gb:1":              572,
		"l40/share:1":              3000,
	} {
		s := shapeOf(t, ask)
		if got, err := listed().WeightOf(s.Need, s.GPU); err != nil || int64(got) != want {
			t.Errorf("%s weighs %d, %v; want %d", ask, got, err, want)
		}
	}
	s := shapeOf(t, "share:1")
	if _, err := listed().WeightOf(s.Need, s.GPU); err == nil || !strings.Contains(err.Error(), "sells no share") {
		t.Errorf("shares without a row: %v", err)
	}
	if got, err := listed().WeightOf(Resources{CPUMilli: 500, Memory: GiB}, GPURequest{}); err != nil || got != 750 {
		t.Errorf("without GPUs: %d, %v", got, err)
	}
}

// Nobody gets a card that is dearer than what he has named.
func TestWhatIsSoldForWhichName(t *testing.T) {
	for _, c := range []struct {
		ask, model string
		sold       bool
	}{
		{"1", "h100", true}, {"1", "t4", true}, {"1", "a100-pcie-40gb", false}, {"a100:1", "a100-pcie-40gb", true},
		{"a100:1", "a100-sxm4-80gb", false}, {"a100-sxm4-80gb:1", "a100-sxm4-80gb", true}, {"sxm4-80gb:1", "a100-sxm4-80gb", false},
		{"a100/1g.10gb:1", "a100-sxm4-80gb", true}, {"1g.10gb:1", "h100", true}, {"3g.40gb:1", "a100-sxm4-80gb", false},
		{"l40/share:1", "l40", true}, {"l40/share:1", "t4", false}, {"t4:1", "h100", false},
	} {
		if got := listed().Sells(shapeOf(t, c.ask).GPU, c.model); got != c.sold {
			t.Errorf("%s may have a %s: %t", c.ask, c.model, got)
		}
	}
}

func TestPriceListsThatCannotBe(t *testing.T) {
	for _, kinds := range [][]KindWeight{
		{{"", 1}}, {{"A100", 1}}, {{"a100", -1}}, {{"a100", WeightSetMax + 1}}, {{"b", 1}, {"a", 1}}, {{"a", 1}, {"a", 1}}, {{"a/b", 1}},
		make([]KindWeight, KindsMax+1),
	} {
		p := DefaultPool("p")
		if p.Kinds = kinds; p.Validate() == nil {
			t.Errorf("%v is taken", kinds)
		}
	}
	p := *listed()
	p.Floor, p.DefaultBid, p.Admission, p.Drivers, p.TimeDefault, p.Tranche = 1, 1, Open, []string{"process"}, 1000, 1000
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}
