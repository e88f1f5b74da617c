package sim

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// hear takes in what an entry made happen, in its order.
func (w *world) hear(before *machine.View, r machine.Result) {
	var woken []*run
	moved := false
	for i := range r.Events {
		e := r.Events[i]
		w.report.Seen[e.Kind]++
		w.checkChain(e)
		switch e.Kind {
		case machine.EventTransfer:
			w.post(e)
			w.hearTransfer(e)
		case machine.EventPlaced:
			w.hearPlaced(e)
			moved = true
		case machine.EventStarted:
			w.hearStarted(e)
		case machine.EventSettled:
			w.hearSettled(e)
		case machine.EventSuspended:
			w.hearSuspended(e)
			moved = true
		case machine.EventStored:
			w.hearStored(e)
			moved = moved || e.Reason != scheduler.ReasonNone
		case machine.EventResumed:
			if r := w.hearWoken(before, e); r != nil {
				woken, moved = append(woken, r), true
			}
		case machine.EventRunEnded:
			w.hearRunEnded(before, e)
			moved = true
		case machine.EventEnded:
			w.hearEnded(e)
		case machine.EventPool:
			if w.prices[e.Pool] == nil {
				w.prices[e.Pool] = new(prices)
				w.prices[e.Pool].set(e.At, e.Rate)
			}
		case machine.EventPrice:
			w.hearPrice(before, e)
		case machine.EventRefunded, machine.EventClaimable:
			w.hearRefund(e)
		case machine.EventPotClosed:
			w.hearPotClosed(e)
		case machine.EventForgotten:
			w.hearForgotten(before, e)
		}
	}
	if w.moving != nil {
		w.fail("I8", "run %d moved, and nothing came of it", w.moving.id)
	}
	if moved {
		w.checkPlaces(r.Events)
	}
	w.checkWoken(before, woken)
}

// checkChain says that events are numbered without a gap and chained, as the book relies on.
func (w *world) checkChain(e machine.Event) {
	hash, err := machine.ChainHash(w.chain, e)
	if err != nil || e.Seq != w.seq+1 || hash != e.Hash {
		w.fail("I12", "event %d does not follow event %d: %v", e.Seq, w.seq, err)
	}
	w.seq, w.chain = e.Seq, e.Hash
}

// hearTransfer adds a charge to the run and the job that it is for.
func (w *world) hearTransfer(e machine.Event) {
	switch e.Text {
	case funding.CodeUsage.String(), funding.CodeSubmit.String(), funding.CodeRounding.String():
		if r := w.runsByID[e.Run]; r != nil {
			r.charged += e.Amount
			if r.nap != nil {
				r.nap.paid += e.Amount
			} else {
				r.posted += e.Amount
			}
		}
		if j := w.jobsByID[e.Job]; j != nil {
			j.charged += e.Amount
			if e.Text == funding.CodeRounding.String() {
				j.rounding += e.Amount
			}
		} else if e.Job != 0 {
			w.fail("I6", "job %d was charged %d, and nobody sent it or it is over", e.Job, e.Amount)
		}
	case funding.CodeOverrun.String():
		if r := w.runsByID[e.Run]; r != nil {
			r.overrun, r.bore = r.overrun+e.Amount, r.bore+e.Amount
		} else {
			w.fail("I9", "an overrun of %d without a run", e.Amount)
		}
	case funding.CodeLapse.String():
		for i := range w.claims {
			if w.claims[i].id == e.Refund {
				w.claims = append(w.claims[:i], w.claims[i+1:]...)
				break
			}
		}
	case funding.CodeIssue.String():
		w.minted += e.Amount
		if w.minting -= e.Amount; w.minting < 0 {
			w.fail("I3", "%d more was minted than was quoted", -w.minting)
		}
	}
}

func (w *world) hearStarted(e machine.Event) {
	r := w.runsByID[e.Run]
	if r == nil || r.start == 0 {
		w.fail("I8", "run %d started and no executor said so", e.Run)
		return
	}
	if e.Until != r.until() {
		w.fail("I8", "run %d started at %d and may run until %d, its limit is %d", r.id, r.start, e.Until, r.job.limit)
	}
}

// hearPrice says that nobody is asked for more than it bids, and that prices rise once a tick.
func (w *world) hearPrice(before *machine.View, e machine.Event) {
	p := w.prices[e.Pool]
	if p == nil {
		w.fail("I11", "a price of pool %d, which does not exist", e.Pool)
		return
	}
	rises := e.Rate > p.now()
	p.set(e.At, e.Rate)
	if len(p.from)%1000 == 0 {
		w.trimPrices()
	}
	if !rises {
		return
	}
	for _, r := range w.runs {
		record, ok := before.Run(r.id)
		if ok && record.State != scheduler.RunStopping && r.nap == nil && r.pool == e.Pool && r.job.bid < e.Rate && r.ended == nil {
			w.fail("bid", "the price of pool %d rises to %d, run %d of job %d bids %d", e.Pool, e.Rate, r.id, r.job.id, r.job.bid)
		}
	}
}

// hearEnded holds a job's receipt against what its owner knows (I6).
func (w *world) hearEnded(e machine.Event) {
	j := w.jobsByID[e.Job]
	receipt, ok := w.view.Receipt(e.Job)
	record, known := w.view.Job(e.Job)
	if j == nil || !ok || !known || j.over {
		w.fail("I6", "job %d ended and nobody sent it, or twice", e.Job)
		return
	}
	j.over = true
	w.dropJob(j)
	if err := receipt.Check(); err != nil {
		w.fail("I6", "%v", err)
	}
	if receipt.Charged != j.charged || !receipt.Final {
		w.fail("I6", "the receipt of job %d charges %d, its transfers come to %d", j.id, receipt.Charged, j.charged)
	}
	if j.most != 0 && j.charged-j.rounding > j.most {
		w.fail("I6", "job %d may cost %d and was charged %d", j.id, j.most, j.charged)
	}
	tasks := j.tasks.Last - j.tasks.First + 1
	if record.Reason == scheduler.ReasonExited && !j.cancelled && record.Done+record.Failed != tasks {
		w.fail("I8", "job %d of %d tasks is over: %d are done and %d failed", j.id, tasks, record.Done, record.Failed)
	}
	for _, r := range w.runs {
		if r.job == j {
			w.fail("I8", "job %d is over and run %d goes on", j.id, r.id)
		}
	}
	if !j.own {
		return
	}
	var deposited, back funding.Amount
	for id := funding.DepositID(1); w.paidIn[depositKey{j.pot, id}] != 0; id++ {
		deposited += w.paidIn[depositKey{j.pot, id}]
		back += w.backTo[depositKey{j.pot, id}]
	}
	if deposited != j.charged+back || receipt.Deposited != deposited || receipt.Refunded != back {
		w.fail("I6", "job %d: %d were paid, %d came back and %d were charged; its receipt says %d, %d and %d",
			j.id, deposited, back, j.charged, receipt.Deposited, receipt.Refunded, receipt.Charged)
	}
}

// hearRefund gives what came back to whoever it belongs to: signed blanks to the purse that made
// them, a claimable balance to the holder of the key.
func (w *world) hearRefund(e machine.Event) {
	key := depositKey{e.Pot, e.Deposit}
	switch {
	case e.Kind == machine.EventClaimable:
		w.backTo[key] += e.Amount
		refund, ok := w.view.Refund(e.Refund)
		if !ok || refund.Amount != e.Amount {
			w.fail("I6", "refund %d of %d is not there", e.Refund, e.Amount)
			return
		}
		w.claims = append(w.claims, claimable{id: e.Refund, amount: e.Amount, key: refund.Claim, until: e.Until})
	case e.Refund != 0: // claimed: the claimer sees to it
	default:
		w.backTo[key] += e.Amount
		p := w.promised[key]
		if p == nil {
			w.fail("I6", "deposit %d of pot %d got %d on blanks that nobody sent", e.Deposit, e.Pot, e.Amount)
			return
		}
		var sum funding.Amount
		for _, blank := range p.blanks {
			output := w.view.OutputAt(blank.B_)
			if output.Status != mint.OutputSigned {
				continue
			}
			sum += units(output.Amount())
			w.gain(p.owner, mint.Allowed{B_: blank.B_, Keyset: output.Keyset, Power: output.Power})
		}
		if sum != e.Amount {
			w.fail("I6", "deposit %d of pot %d got %d, its blanks are signed for %d", e.Deposit, e.Pot, e.Amount, sum)
		}
	}
}

// hearPotClosed holds each deposit of a closed pot against what its payer knows (I6).
func (w *world) hearPotClosed(e machine.Event) {
	pot, ok := w.view.Pot(e.Pot)
	if !ok || pot.State != funding.PotClosed {
		w.fail("I6", "pot %d was closed and is not", e.Pot)
		return
	}
	for _, d := range pot.Deposits {
		key := depositKey{pot.ID, d.ID}
		if d.Amount != w.paidIn[key] || d.Refunded != w.backTo[key] || d.Amount != d.Charged+d.Refunded {
			w.fail("I6", "deposit %d of pot %d: %d came, %d was charged, %d went back; its payer knows of %d and %d",
				d.ID, pot.ID, d.Amount, d.Charged, d.Refunded, w.paidIn[key], w.backTo[key])
		}
		if left := w.promised[key]; left != nil {
			for _, blank := range left.blanks {
				if w.view.OutputAt(blank.B_).Status == mint.OutputPending {
					w.fail("I5", "a blank of closed pot %d still waits", pot.ID)
				}
			}
			delete(w.promised, key)
		}
	}
}

// hearForgotten lets everybody forget what the cluster forgets.
func (w *world) hearForgotten(before *machine.View, e machine.Event) {
	pot := e.Pot
	if job, ok := before.Job(e.Job); ok && job.OwnPot {
		pot = job.Pot
	}
	if pot == 0 {
		return
	}
	account := funding.Account{Kind: funding.LiabilityPot, ID: uint64(pot)}
	if left := w.balance[account]; left != 0 {
		w.fail("conservation", "pot %d is forgotten with %d in it", pot, left)
	}
	delete(w.balance, account)
	for id := funding.DepositID(1); w.paidIn[depositKey{pot, id}] != 0; id++ {
		delete(w.paidIn, depositKey{pot, id})
		delete(w.backTo, depositKey{pot, id})
	}
}

func units(u cashu.Units) funding.Amount { return funding.Amount(u) * funding.UnitMicro }
