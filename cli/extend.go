package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler/jobfile"
)

// modeStream is how jobs are paid that pay as they go, as servers call it.
const modeStream = "stream"

// extension is what `fund --time` has done.
type extension struct {
	client.PotAnswer
	Job   uint64 `json:"job"`
	Added int64  `json:"added"`
	Time  int64  `json:"time_ms"`
}

// extend gives a job more time: the money first, so that it never has time that it cannot pay. Where only the money has come, it
// stays, and comes back as all money does.
func (a *app) extend(ctx context.Context, to, amount, by string, donate bool) error {
	more, err := jobfile.ParseDuration(by)
	if err == nil && more <= 0 {
		err = errors.New("it must be more than nothing")
	}
	if err != nil {
		return usageError{fmt.Errorf("--time %s: %w", by, err)}
	}
	n, err := jobNumber(to)
	if err != nil {
		return err
	}
	control, err := a.needControlKey(ctx, n)
	if err != nil {
		return err
	}
	p, err := a.money(ctx)
	if err != nil {
		return err
	}
	job, err := p.api.Job(ctx, n, a.viewKey(ctx, n))
	if err != nil {
		return err
	}
	if err := extensible(job); err != nil {
		return err
	}
	units, err := extensionCost(job, amount, more)
	if err != nil {
		return err
	}
	done := extension{Job: n, Added: int64(units)}
	if units > 0 {
		if done.PotAnswer, err = p.deposit(ctx, job.FundID, units, donate); err != nil {
			return err
		}
	}
	limit := job.TimeMs + int64(more)
	longer, err := p.api.Cap(ctx, n, control, client.CapRequest{TimeMs: &limit})
	if err != nil {
		if units > 0 {
			err = fmt.Errorf("%d were added, but its time limit stays %s: %w", units, span(job.TimeMs), err)
		}
		return err
	}
	done.FundID, done.Time = job.FundID, longer.TimeMs
	return a.show(done, func() { a.say("%d added to job %d, its time limit is %s", units, n, span(longer.TimeMs)) })
}

// extensible says why a job cannot have more time, before anything is paid.
func extensible(j client.Job) error {
	switch {
	case j.State == "done":
		return fmt.Errorf("job %d has ended", j.Job)
	case j.Mode != modeStream:
		return fmt.Errorf("job %d has paid for its whole time limit beforehand (mode %s); only a job of mode stream, as `coinop rent` makes it, can be given more time", j.Job, j.Mode)
	case j.TimeMs == 0:
		return fmt.Errorf("job %d has no time limit: it runs as long as its money lasts; `coinop fund %d N` adds some", j.Job, j.Job)
	}
	return nil
}

// extensionCost is what is to be added: what was said, or the most that the time can cost at the job's bid.
func extensionCost(j client.Job, said string, more funding.Millis) (cashu.Units, error) {
	if said == "0" {
		return 0, nil
	}
	if said != "" {
		return wholeUnits(said)
	}
	each, err := funding.Rate(j.BidMicro).Cost(funding.Weight(j.WeightMilli), more)
	if err != nil {
		return 0, err
	}
	most, err := each.Times(int64(max(1, j.Tasks.Open+j.Tasks.Waiting)))
	if err != nil {
		return 0, err
	}
	return cashu.Units((most + funding.UnitMicro - 1) / funding.UnitMicro), nil
}
