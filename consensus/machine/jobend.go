package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// goOn takes the slots that there is money for, ends the job if nothing is left of it, and writes
// it back.
func (j *jobTx) goOn() error {
	if err := j.cover(); err != nil {
		return err
	}
	if j.job.Open == 0 && j.job.State != scheduler.JobDone {
		switch reason, over := j.over(); {
		case over:
			return j.finish(reason)
		case j.job.State != scheduler.JobQueued:
			j.job.State = scheduler.JobQueued
		}
	}
	j.save()
	return j.potGrew(j.pot.ID)
}

// over says whether a job without open runs has come to its end: nothing waits, or what waits can
// no longer be paid. In a shared pot money may come free again, so there it waits.
func (j *jobTx) over() (scheduler.Reason, bool) {
	switch {
	case j.job.Waiting() == 0 && j.job.Reason != scheduler.ReasonNone:
		return j.job.Reason, true
	case j.job.Waiting() == 0:
		return scheduler.ReasonExited, true
	case j.job.Slots > 0:
		return 0, false
	}
	if full, least, err := slotCost(j.pool, &j.job); j.job.MaxTotal != 0 && (err != nil || j.job.MaxTotal-j.job.Charged < min(full, least)) {
		return scheduler.ReasonMaxTotal, true
	}
	return scheduler.ReasonMoneyEnd, j.job.OwnPot
}

// dropWaiting takes away all tasks that have no run, and what was reserved for them. With the
// reason set the job ends as soon as its last run has.
func (j *jobTx) dropWaiting(reason scheduler.Reason) error {
	j.job.Next, j.job.Requeued = j.job.Tasks.Last+1, nil
	if j.job.Reason == scheduler.ReasonNone {
		j.job.Reason = reason
	}
	return j.uncover()
}

// finish ends the job: what it still holds is free again, and a pot that was its own is closed by
// the same entry, with the refunds.
func (j *jobTx) finish(reason scheduler.Reason) error {
	if err := j.dropWaiting(reason); err != nil {
		return err
	}
	j.job.State, j.job.Reason, j.job.Ended = scheduler.JobDone, reason, j.at
	if j.job.Failed == 0 && reason != scheduler.ReasonExited {
		j.job.Exit = outcome{End: End{Reason: reason}}.exitCode()
	}
	j.pot.Jobs--
	if j.caps.has(j.job.ID) {
		j.caps.del(j.job.ID)
	}
	j.forgetFaults()
	closes := j.pot.Jobs == 0 && (j.job.OwnPot || j.pot.State == funding.PotClosing)
	if closes {
		what := j.about(EventTransfer)
		if !j.job.OwnPot {
			what.Job = 0 // the pot's end, not this job's doing
		}
		pot, rounding, err := j.closePot(&j.pot, what)
		if err != nil {
			return fmt.Errorf("end job %d: %w", j.job.ID, err)
		}
		j.pot = *pot
		if j.job.OwnPot {
			j.bill.Rounding += rounding
			j.job.Charged += rounding
		}
	}
	j.save()
	if err := j.tellEnd(); err != nil || closes {
		return err
	}
	return j.potGrew(j.pot.ID)
}

// tellEnd hands the book the job's receipt.
func (j *jobTx) tellEnd() error {
	receipt := receiptOf(&j.job, &j.pot, &j.bill, j.shapes.must(j.job.Shape))
	body, err := encoder.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("receipt of job %d: %w", j.job.ID, err)
	}
	ended := j.about(EventEnded)
	ended.Reason, ended.Exit, ended.Amount, ended.Body = j.job.Reason, j.job.Exit, j.job.Charged, body
	j.emit(ended)
	return nil
}

func (j *jobTx) forgetFaults() {
	if len(j.job.Faults) == 0 {
		return
	}
	var tasks []jobTask
	j.faults.scan(jobTask{Job: j.job.ID}, func(key jobTask, _ []scheduler.NodeID) bool {
		if key.Job == j.job.ID {
			tasks = append(tasks, key)
		}
		return key.Job == j.job.ID
	})
	for _, key := range tasks {
		j.faults.del(key)
	}
}

// receiptOf says where a job's money went, and what its time was paid for by the parts of its weight.
func receiptOf(job *scheduler.Job, pot *funding.Pot, bill *funding.Bill, shape *scheduler.Shape) funding.Receipt {
	var r funding.Receipt
	parts := scheduler.Parts(job.Weighed, shape.Need, shape.GPU)
	if job.OwnPot {
		r = funding.OwnReceipt(uint64(job.ID), *pot, *bill, parts...)
	} else {
		r = funding.SharedReceipt(uint64(job.ID), *bill, parts...)
	}
	r.Billed, r.CPUMillis, r.PeakBytes, r.Final = job.Billed, job.CPUMillis, job.PeakBytes, job.State == scheduler.JobDone
	return r
}

// Receipt says where a job's money went so far; once it is final it adds up.
func (v *View) Receipt(id scheduler.JobID) (funding.Receipt, bool) {
	job, ok := v.jobs.get(id)
	if !ok {
		return funding.Receipt{}, false
	}
	pot, ok := v.pots.get(job.Pot)
	if !ok {
		return funding.Receipt{}, false
	}
	bill, ok := v.bills.get(id)
	if !ok {
		bill = new(funding.Bill)
	}
	shape, ok := v.shapes.get(job.Shape)
	if !ok {
		return funding.Receipt{}, false
	}
	return receiptOf(job, pot, bill, shape), true
}
