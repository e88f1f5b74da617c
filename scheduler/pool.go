package scheduler

import "github.com/coinop/coinop/funding"

// DefaultPool is a pool as it is until an operator says otherwise: a credit is about a CPU-second.
func DefaultPool(name string) Pool {
	return Pool{
		Name: name, Admission: Trusted,
		Weights: Weights{CPU: 1000, Memory: 250, GPU: 16_000, Suspended: 10}, // no GPU is given away because nobody has set its price
		Floor:   funding.Rate(funding.UnitMicro), DefaultBid: 2 * funding.Rate(funding.UnitMicro),
		TimeDefault: 3_600_000, TimeMax: 30 * 86_400_000, KillDelay: 30_000, PauseGrace: 600_000,
		Tranche: 600_000, Tick: 10_000, ArrayMax: TasksMax, LowFunds: 120_000,
		Drivers: []string{"process", "container", "vm"}, User: "coinop-task",
		Price: funding.Rate(funding.UnitMicro),
	}
}
