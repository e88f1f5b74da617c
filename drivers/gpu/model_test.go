package gpu

import (
	"strings"
	"testing"
)

func TestModels(t *testing.T) {
	for model, slug := range map[string]string{
		"NVIDIA A100-SXM4-80GB": "a100-sxm4-80gb", "Tesla T4": "tesla-t4", "NVIDIA GeForce RTX 4090": "geforce-rtx-4090",
		"NVIDIA  L4 ": "l4", "NVIDIA A100 (1.5)": "a100-1.5", "": "", strings.Repeat("x", 62) + " y": strings.Repeat("x", 62),
	} {
		if got := Slug(model); got != slug || Slug(got) != got {
			t.Errorf("%q is %q, want %q", model, got, slug)
		}
	}
	for _, c := range []struct {
		asked string
		want  bool
	}{
		{"", true}, {"a100", true}, {"a100-sxm4", true}, {"SXM4-80GB", true}, {"80gb", true}, {"NVIDIA A100-SXM4-80GB", true},
		{"a10", false}, {"100", false}, {"a100-80gb", false}, {"sxm4-a100", false}, {"--", false}, {"h100", false},
	} {
		if got := Matches("NVIDIA A100-SXM4-80GB", c.asked); got != c.want {
			t.Errorf("an A100 matches %q: %v", c.asked, got)
		}
	}
}
