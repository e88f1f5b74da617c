package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coinop/coinop/funding"
)

// KindWeight is what one GPU of a kind weighs in a pool, in thousandths of a billing unit.
type KindWeight struct {
	Name   string `cbor:"1,keyasint"` // as GPURequest.Name writes it
	Weight int64  `cbor:"2,keyasint"`
}

// KindsMax bounds the kinds that a pool gives weights to.
const KindsMax = 64

// computeParts is how many slices of compute the largest slice has, by which the price of a smaller one is reckoned.
const computeParts = 7

// GPUWeight is what one of a kind weighs in the pool; false where it is not sold. Of the rows that fit, the one with the
// longest name counts. A slice without a row weighs its part of the whole GPU; shares are sold by their rows alone, since
// what a turn is worth depends on how many take turns.
func (p *Pool) GPUWeight(g GPURequest) (int64, bool) {
	weight, name := int64(0), ""
	for _, row := range p.Kinds {
		k, err := ParseGPU(row.Name)
		fits := err == nil && k.Kind == g.Kind && k.Profile == g.Profile && (k.Model == "" || IsModel(g.Model, k.Model))
		if fits && len(row.Name) > len(name) {
			weight, name = row.Weight, row.Name
		}
	}
	switch {
	case name != "":
		return weight, true
	case g.Kind == GPUShare:
		return 0, false
	case g.Kind == GPUSlice:
		whole, _ := p.GPUWeight(GPURequest{Model: g.Model})
		var slices int64
		_, err := fmt.Sscanf(g.Profile, "%dg.", &slices)
		return (whole*slices + computeParts - 1) / computeParts, err == nil
	}
	return p.Weights.GPU, true
}

// Sells says whether a request may have a card of this model: what it asks for by name, and nothing that is dearer than
// the kind that it has named. So nobody gets a dear card by asking for any.
func (p *Pool) Sells(g GPURequest, model string) bool {
	if !IsModel(model, g.Model) {
		return false
	}
	asked, sold := p.GPUWeight(g)
	g.Model = model
	own, has := p.GPUWeight(g)
	return sold && has && own <= asked
}

// Weigh is what a request is weighed by: the pool's weights, with that of the kind it asks for in place of the plain one,
// and how much of each it has.
func (p *Pool) Weigh(need Resources, g GPURequest) (Weights, Resources, error) {
	w := p.Weights
	if !g.Asks(need) {
		return w, need, nil
	}
	each, ok := p.GPUWeight(g)
	if !ok {
		return w, need, &FieldError{"gpus", fmt.Sprintf("pool %s sells no %s", p.Name, g.Name())}
	}
	w.GPU = each
	return w, counted(need, g), nil
}

// counted is resources with a slice or a share as one GPU, which is how they are weighed.
func counted(need Resources, g GPURequest) Resources {
	if g.Kind != GPUWhole {
		need.GPUs = 1
	}
	return need
}

// WeightOf is the size of a request in the pool.
func (p *Pool) WeightOf(need Resources, g GPURequest) (funding.Weight, error) {
	w, all, err := p.Weigh(need, g)
	if err != nil {
		return 0, err
	}
	return WeightOf(w, all)
}

// Parts says of what a weight is made: each resource's part of it, in order. What weighs nothing has none.
func Parts(w Weights, need Resources, g GPURequest) []funding.Part {
	all := counted(need, g)
	gpu := strings.TrimSpace("GPU " + g.Name())
	return slices.DeleteFunc([]funding.Part{
		funding.PartOf("CPU", all.CPUMilli, w.CPU, GiB), funding.PartOf("memory", all.Memory, w.Memory, 1000),
		funding.PartOf("disk", all.Disk, w.Disk, 1000), funding.PartOf(gpu, all.GPUs, w.GPU, 1000*GiB),
	}, func(p funding.Part) bool { return p.Size.Sign() == 0 })
}

// SplitWeight tells how much of a weight each part is, in thousandths of a billing unit.
func SplitWeight(weight int64, parts []funding.Part) []funding.Line {
	return funding.Split(funding.Amount(weight), parts)
}

func (p Pool) validateKinds() error {
	if err := atMost("weights of GPUs", len(p.Kinds), KindsMax, "kinds"); err != nil {
		return err
	}
	for i, k := range p.Kinds {
		g, err := ParseGPU(k.Name)
		switch {
		case err != nil:
			return err
		case k.Name == "" || g.Name() != k.Name:
			return &FieldError{"weight of " + k.Name, "is of no kind of GPU; write a100, a100/1g.10gb or a100/share"}
		case i > 0 && k.Name <= p.Kinds[i-1].Name:
			return &FieldError{"weight of " + k.Name, "is given twice or out of order"}
		case k.Weight < 0:
			return &FieldError{"weight of " + k.Name, "is negative"}
		case k.Weight > WeightSetMax:
			return &LimitError{What: "weight of " + k.Name, Max: WeightSetMax, Got: k.Weight, Unit: "thousandths"}
		}
	}
	return nil
}
