package sim

import (
	"math/big"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler"
)

// drowse has the money of a stream end while all look on, or come to one that lies on disk.
func (w *world) drowse() {
	var asleep, awake []*run
	for _, r := range w.runs {
		record, ok := w.view.Run(r.id)
		switch {
		case r.nap != nil:
			asleep = append(asleep, r)
		case ok && r.job.mode == funding.Stream && r.start != 0 && record.State == scheduler.RunRunning && !r.job.gpu.Asks(r.job.need):
			awake = append(awake, r)
		}
	}
	if r, ok := one(w, asleep); ok && w.chance(60) {
		w.feed(r)
		w.place(w.view)
		return
	}
	r, ok := one(w, awake)
	if !ok {
		r, ok = w.streamer()
	}
	for hop, goes := second, 0; ok && hop < hour && goes < 4 && w.failure == nil; hop += hop / 2 {
		w.now = max(w.now, w.view.At()) + between(w, 0, hop)
		w.pulse()
		record, open := w.view.Run(r.id)
		if !open || record.State == scheduler.RunStopping {
			return
		}
		if record.State == scheduler.RunPaused {
			w.doze()
		}
		if r.nap != nil && w.chance(60) {
			w.stow(r)
		}
		if r.nap != nil && r.stored != "" && w.chance(40) {
			w.part(r)
		} else if r.nap != nil && w.chance(15) {
			w.crowd(r)
		}
		if r.nap != nil && w.chance(70) {
			w.feed(r)
			w.place(w.view)
			hop, goes = second, goes+1 // and once more, perhaps
		}
	}
}

// streamer is a new stream that runs for as long as there is money; false: there is no place for it.
func (w *world) streamer() (*run, bool) {
	var pools []*scheduler.Pool
	for _, pool := range w.view.Pools() {
		if pool.PauseGrace > 0 {
			pools = append(pools, pool)
		}
	}
	pool, ok := one(w, pools)
	if p := w.purses[w.dice.IntN(len(w.purses))]; ok && len(w.jobs) < 40 {
		w.order(p, pool, func(s *machine.Submit) {
			s.Mode, s.Tasks, s.AtOnce, s.GPU, s.Need.GPUs, s.OnHold = funding.Stream, scheduler.TaskRange{}, 0, scheduler.GPURequest{}, 0, false
			if s.TimeLimit = 0; w.chance(50) {
				s.TimeLimit = between(w, hour, 3*hour)
			}
		})
	}
	if len(w.jobs) == 0 {
		return nil, false
	}
	newest := w.jobs[len(w.jobs)-1]
	w.place(w.view)
	for _, r := range w.runs {
		if r.job == newest && newest.mode == funding.Stream {
			r.plan = 100 * day
			w.reportAll()
			return r, r.start != 0 && r.ended == nil
		}
	}
	return nil, false
}

// crowd has work come that takes all the processors of a suspended run's machine, so that money alone does not wake it.
func (w *world) crowd(r *run) {
	pool, ok := w.view.Pool(r.pool)
	node, known := w.view.Node(r.node)
	if !ok || !known || node.Free().CPUMilli <= 0 || len(w.jobs) >= 40 {
		return
	}
	w.order(w.purses[w.dice.IntN(len(w.purses))], pool, func(s *machine.Submit) {
		s.Mode, s.Tasks, s.AtOnce, s.GPU, s.OnHold = funding.Safe, scheduler.TaskRange{}, 0, scheduler.GPURequest{}, false
		s.Need, s.Bid = scheduler.Resources{CPUMilli: node.Free().CPUMilli}, pool.Floor+3_000_000
		s.TimeLimit = min(pool.TimeMax, between(w, minute, 20*minute))
	})
	w.place(w.view)
}

// feed pays what a suspended run needs to go on for a while, or somewhat less.
func (w *world) feed(r *run) {
	pot, ok := w.view.Pot(r.job.pot)
	pool, known := w.view.Pool(r.pool)
	if keysets := w.view.Keysets(); !ok || !known || keysets[len(keysets)-1].Stopped {
		return
	}
	lasts := big.NewInt(int64(pool.PauseGrace + between(w, 0, pool.Tranche)))
	need := cost(r.job.weight+r.nap.weight, lasts.Mul(lasts, big.NewInt(int64(r.job.bid))))
	w.give(w.purses[w.dice.IntN(len(w.purses))], pot.Keys.Fund, cashu.Units(min(need/funding.UnitMicro+1, 100_000)))
}
