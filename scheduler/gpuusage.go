package scheduler

import (
	"slices"

	"github.com/coinop/coinop/funding"
)

// GPUUsage is what tasks used of GPUs. Energy is told and not charged.
type GPUUsage struct {
	Millijoules int64          `cbor:"1,keyasint,omitempty"`
	Basis       string         `cbor:"2,keyasint,omitempty"` // of the energy: "the GPU", "3/7 of the GPU"; empty: not measured
	Utilisation int32          `cbor:"3,keyasint,omitempty"` // mean, in thousandths; -1: not measured
	PeakBytes   int64          `cbor:"4,keyasint,omitempty"`
	Devices     []string       `cbor:"5,keyasint,omitempty"` // "a100-sxm4-80gb 3g.40gb", sorted, each once
	For         funding.Millis `cbor:"6,keyasint,omitempty"` // the time whose mean the utilisation is
	Processes   int32          `cbor:"7,keyasint,omitempty"` // the most of one run at once
}

// Bounds of what a machine may say of a task's GPUs.
const (
	GPUDevicesMax   = 64
	gpuTextMax      = 128
	millijoulesMax  = int64(1) << 53
	utilisationFull = 1000
)

// Possible says whether a machine of ours would say this.
func (u *GPUUsage) Possible() bool {
	return u.Millijoules >= 0 && u.Millijoules <= millijoulesMax && u.Utilisation >= -1 && u.Utilisation <= utilisationFull &&
		u.PeakBytes >= 0 && u.PeakBytes <= BytesMax && len(u.Basis) <= gpuTextMax && len(u.Devices) <= GPUDevicesMax && u.For >= 0 && u.Processes >= 0 &&
		!slices.ContainsFunc(u.Devices, func(d string) bool { return len(d) > gpuTextMax })
}

// Plus adds what a run has used in the time for which it was billed.
func (u *GPUUsage) Plus(run *GPUUsage, billed funding.Millis) *GPUUsage {
	if run == nil {
		return u
	}
	sum := GPUUsage{Utilisation: -1, Basis: run.Basis}
	if u != nil {
		sum = *u
	}
	sum.Millijoules = min(sum.Millijoules+run.Millijoules, millijoulesMax)
	sum.PeakBytes, sum.Processes = max(sum.PeakBytes, run.PeakBytes), max(sum.Processes, run.Processes)
	if sum.Basis != run.Basis {
		sum.Basis = "of several kinds"
	}
	if run.Utilisation >= 0 && billed > 0 {
		before, after := int64(sum.For), int64(sum.For+billed)
		sum.Utilisation = int32((max(0, int64(sum.Utilisation))*before + int64(run.Utilisation)*int64(billed)) / after)
		sum.For += billed
	}
	devices := append(slices.Clone(sum.Devices), run.Devices...)
	slices.Sort(devices)
	devices = slices.Compact(devices)
	sum.Devices = devices[:min(len(devices), GPUDevicesMax)]
	return &sum
}
