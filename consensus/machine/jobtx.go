package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// jobTx is one job on its way through an entry: copies of its records, written back by save.
// While it is open nothing else may change these records.
type jobTx struct {
	*Tx
	job  scheduler.Job
	pot  funding.Pot
	bill funding.Bill
	pool *scheduler.Pool
}

// openJob takes a job's records out.
func (tx *Tx) openJob(id scheduler.JobID) (*jobTx, error) {
	job, ok := tx.jobs.get(id)
	if !ok {
		return nil, refuse(CodeJobUnknown, "there is no job %d", id)
	}
	j := &jobTx{Tx: tx, job: *job, pot: *tx.pots.must(job.Pot), pool: tx.pools.must(job.Pool)}
	if bill, ok := tx.bills.get(id); ok {
		j.bill = *bill
	}
	return j, nil
}

// save writes the records back.
func (j *jobTx) save() {
	job, pot := j.job, j.pot
	j.jobs.put(job.ID, &job)
	j.pots.put(pot.ID, &pot)
	if j.bill.Charged() != 0 || j.bill.Overrun != 0 {
		bill := j.bill
		j.bills.put(job.ID, &bill)
	}
}

// about is an event that concerns the job.
func (j *jobTx) about(kind EventKind) Event {
	return Event{Kind: kind, Job: j.job.ID, Pot: j.pot.ID, Pool: j.pool.ID}
}

func (j *jobTx) incomeOf(kind funding.AccountKind) funding.Account {
	return funding.Account{Kind: kind, ID: uint64(j.pool.ID)}
}

// paySubmitFee takes the pool's fee at once: it is what a submission costs, not what a job uses.
func (j *jobTx) paySubmitFee() error {
	fee := j.pool.SubmitFee
	if fee == 0 {
		return nil
	}
	pot, draws, err := j.pot.Charge(fee)
	if err != nil {
		return fmt.Errorf("submit fee of job %d: %w", j.job.ID, err)
	}
	j.pot, j.bill = pot, j.bill.Drawn(draws)
	j.bill.Submit += fee
	j.job.Charged += fee
	return j.post(j.about(EventTransfer), funding.Transfer{
		Debit: j.pot.Account(), Credit: j.incomeOf(funding.IncomeSubmit), Amount: fee, Code: funding.CodeSubmit,
	})
}

// charge is what a settlement found: metered time, what lifts a short run to one second, and what a suspended run's keep
// costs.
type charge struct{ usage, minimum, kept funding.Amount }

// settle posts a charge against an amount that is held, and books what is beyond it as the
// operator's.
func (j *jobTx) settle(run *scheduler.Run, c charge, held funding.Amount) (posted funding.Amount, err error) {
	owed, err := c.usage.Plus(c.minimum)
	if err == nil {
		owed, err = owed.Plus(c.kept)
	}
	if err != nil {
		return 0, fmt.Errorf("settle run %d: %w", run.ID, err)
	}
	s, err := j.pot.Settle(owed, held)
	if err != nil {
		return 0, fmt.Errorf("settle run %d: %w", run.ID, err)
	}
	usage := min(s.Posted, c.usage)
	kept := min(s.Posted-usage, c.kept)
	j.pot, j.bill = s.Pot, j.bill.Drawn(s.Draws)
	j.bill.Usage += usage
	j.bill.Kept += kept
	j.bill.Minimum += s.Posted - usage - kept
	j.bill.Overrun += s.Overrun
	j.job.Charged += s.Posted
	what := j.about(EventTransfer)
	what.Run, what.Task = run.ID, run.Task
	var moves []funding.Transfer
	if s.Posted > 0 {
		moves = append(moves, funding.Transfer{
			Debit: j.pot.Account(), Credit: j.incomeOf(funding.IncomeUsage), Amount: s.Posted, Code: funding.CodeUsage,
		})
	}
	if s.Overrun > 0 {
		moves = append(moves, funding.Transfer{
			Debit: j.incomeOf(funding.ExpenseOverrun), Credit: j.incomeOf(funding.IncomeUsage), Amount: s.Overrun, Code: funding.CodeOverrun,
		})
	}
	return s.Posted, j.post(what, moves...)
}
