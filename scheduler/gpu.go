package scheduler

import (
	"fmt"
	"strings"
)

// GPUKind says what of a GPU a task gets.
type GPUKind uint8

// A task has whole GPUs, as many as its resources say, or one part of one.
const (
	GPUWhole GPUKind = iota
	GPUSlice         // a MIG instance: memory and processors of its own
	GPUShare         // turns on a GPU whose memory nothing divides
)

// String is the kind's name.
func (k GPUKind) String() string { return word(int(k), "whole", "slice", "share") }

// GPURequest says which GPUs a task asks for. How many whole ones is in its resources; of slices and shares it has one,
// and none of its resources.
type GPURequest struct {
	Kind    GPUKind `cbor:"1,keyasint,omitempty"`
	Model   string  `cbor:"2,keyasint,omitempty"` // a card's model, or a run of its parts between dashes; empty: any
	Profile string  `cbor:"3,keyasint,omitempty"` // of a slice, as NVIDIA writes it: 3g.40gb
	Memory  int64   `cbor:"4,keyasint,omitempty"` // bytes of each at least
	NVLink  bool    `cbor:"5,keyasint,omitempty"` // each reaches each of the others by NVLink
}

// share is how a kind of that sort is written; no model may be called so.
const share = "share"

// Name is the kind as it is asked for and as prices name it: a100, 1g.10gb, a100/1g.10gb, share, a100/share. It is empty
// for whole GPUs of any model.
func (g GPURequest) Name() string {
	part := g.Profile
	if g.Kind == GPUShare {
		part = share
	}
	if g.Model != "" && part != "" {
		return g.Model + "/" + part
	}
	return g.Model + part
}

// ParseGPU reads a kind as Name writes it. Capitals do not matter, nor does a leading NVIDIA.
func ParseGPU(name string) (GPURequest, error) {
	name = strings.ToLower(name)
	model, part, split := strings.Cut(name, "/")
	if !split && (model == share || IsProfile(model)) {
		model, part = "", name
	}
	var g GPURequest
	g.Model = strings.TrimPrefix(model, "nvidia-")
	switch {
	case part == share:
		g.Kind = GPUShare
	case IsProfile(part):
		g.Kind, g.Profile = GPUSlice, part
	case split || part != "":
		return g, &FieldError{"gpus", fmt.Sprintf("%.80q names neither a slice like a100/1g.10gb nor a100/share", name)}
	}
	return g, g.validateNames()
}

// IsProfile tells the names of slices from those of models: 1g.10gb.
func IsProfile(name string) bool {
	slices, memory, ok := strings.Cut(name, "g.")
	memory, gb := strings.CutSuffix(memory, "gb")
	return ok && gb && isNumber(slices) && isNumber(memory)
}

func isNumber(s string) bool { return s != "" && len(s) <= 4 && strings.Trim(s, "0123456789") == "" }

// kindNameMax bounds a model's name and a profile's.
const kindNameMax = 63

func (g GPURequest) validateNames() error {
	for _, name := range []string{g.Model, g.Profile} {
		if err := atMost("gpus", len(name), kindNameMax, "bytes of a kind's name"); err != nil {
			return err
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			return &FieldError{"gpus", fmt.Sprintf("%q is no kind of GPU: names are of a-z, 0-9, dots and dashes", name)}
		}
	}
	if g.Model == share || IsProfile(g.Model) {
		return &FieldError{"gpus", fmt.Sprintf("%q is no model", g.Model)}
	}
	return nil
}

// Validate checks a request beside the resources that it belongs to.
func (g GPURequest) Validate(need Resources) error {
	if err := g.validateNames(); err != nil {
		return err
	}
	if g.Memory < 0 || g.Memory > BytesMax {
		return &LimitError{What: "gpu-memory", Max: BytesMax, Got: g.Memory, Unit: "bytes"}
	}
	switch g.Kind {
	case GPUWhole:
		if g.Profile != "" || need.GPUs == 0 && g != (GPURequest{}) {
			return &FieldError{"gpus", "how many is missing: write gpus 2, or a100:2"}
		}
		return nil
	case GPUSlice:
		if !IsProfile(g.Profile) {
			return &FieldError{"gpus", "a slice needs a profile: write 1g.10gb:1"}
		}
	case GPUShare:
		if g.Profile != "" {
			return &FieldError{"gpus", "a share has no profile"}
		}
	default:
		return &FieldError{"gpus", "are whole, a slice or a share"}
	}
	if need.GPUs != 0 || g.NVLink {
		return &FieldError{"gpus", fmt.Sprintf("a %s is had singly: write %s:1, without nvlink", g.Kind, g.Name())}
	}
	return nil
}

// Asks says whether a task of these resources wants anything of a GPU.
func (g GPURequest) Asks(need Resources) bool { return g.Kind != GPUWhole || need.GPUs > 0 }

// plain says that GPUs of any sort will do, so that their number is all that counts.
func (g GPURequest) plain() bool { return g == GPURequest{} }

// Text is the request for people: "2 × a100 with at least 40960 MiB, joined by NVLink".
func (g GPURequest) Text(need Resources) string {
	if !g.Asks(need) {
		return ""
	}
	name := g.Name()
	if name == "" {
		name = "GPU"
	}
	text := fmt.Sprintf("%d × %s", max(1, need.GPUs), name)
	if g.Memory > 0 {
		text += fmt.Sprintf(" with at least %d MiB", g.Memory>>20)
	}
	if g.NVLink {
		text += ", joined by NVLink"
	}
	return text
}

// IsModel says whether a card's model is what a name asks for: all of it, or a run of its parts between dashes.
func IsModel(model, name string) bool {
	return name == "" || strings.Contains("-"+model+"-", "-"+name+"-")
}
