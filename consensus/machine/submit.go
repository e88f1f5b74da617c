package machine

import (
	"errors"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Submit brings a job and its money: coins, a pot's money, or coins into a pot that exists.
// One entry spends the coins, opens or charges the pot and queues the job, or does none of it.
type Submit struct {
	Request   RequestID           `cbor:"1,keyasint"`
	Payment   *Payment            `cbor:"2,keyasint,omitempty"` // nil: the pot pays alone
	Pot       funding.PotID       `cbor:"3,keyasint,omitempty"` // zero: a pot is opened for this job
	Spend     funding.KeyHash     `cbor:"4,keyasint,omitzero"`  // hash of the spend key shown for Pot
	Keys      funding.Keys        `cbor:"5,keyasint"`
	Pool      scheduler.PoolID    `cbor:"6,keyasint"`
	Need      scheduler.Resources `cbor:"7,keyasint"`
	Driver    string              `cbor:"8,keyasint"`
	Nodes     int32               `cbor:"9,keyasint,omitempty"` // at once; zero means one, more is refused until gangs exist
	Mode      funding.Mode        `cbor:"10,keyasint"`
	Bid       funding.Rate        `cbor:"11,keyasint,omitempty"` // decided by the server from pay, time and the pool's defaults
	TimeLimit funding.Millis      `cbor:"12,keyasint,omitempty"`
	Tasks     scheduler.TaskRange `cbor:"13,keyasint"`
	AtOnce    int32               `cbor:"14,keyasint,omitempty"`
	MaxTotal  funding.Amount      `cbor:"15,keyasint,omitempty"`
	CapOthers *funding.Amount     `cbor:"16,keyasint,omitempty"` // the most that others may add to the job's own pot; nil: as they like
	OnHold    bool                `cbor:"17,keyasint,omitempty"`
	Firm      bool                `cbor:"18,keyasint,omitempty"` // refused until firm runs exist
	Token     TokenHash           `cbor:"19,keyasint,omitzero"`  // the submit token shown, where the pool is trusted
	Loopback  bool                `cbor:"20,keyasint,omitempty"` // the request came from the server's own machine
	Work      []byte              `cbor:"21,keyasint"`           // scheduler.Work, encoded

	GPU   scheduler.GPURequest `cbor:"22,keyasint,omitzero"`  // which GPUs
	Share string               `cbor:"23,keyasint,omitempty"` // what of its pool's it works in, "": nothing
}

// SubmitAnswer tells what became of it. A repeated request has the same answer.
type SubmitAnswer struct {
	Job     scheduler.JobID    `cbor:"1,keyasint"`
	Pot     funding.PotID      `cbor:"2,keyasint"`
	Fund    funding.FundID     `cbor:"3,keyasint,omitzero"`
	Deposit funding.DepositID  `cbor:"4,keyasint,omitempty"` // the deposit's number in the pot, where coins came along
	State   scheduler.JobState `cbor:"5,keyasint"`
	Held    funding.Amount     `cbor:"6,keyasint"`
	Bid     funding.Rate       `cbor:"7,keyasint"`
	Weight  funding.Weight     `cbor:"8,keyasint"`
	Fee     funding.Amount     `cbor:"9,keyasint,omitempty"` // input fee and submit fee
	Index   uint64             `cbor:"10,keyasint"`          // of the entry that queued it
}

// Kind is part of [Command].
func (Submit) Kind() Kind { return KindSubmit }

func (c Submit) apply(tx *Tx, at funding.Millis) (any, error) {
	in := ofPot(c.Pot)
	if c.Payment != nil {
		in = ofCoins(c.Payment.Coins)
	}
	return tx.once(c.Request, in, func() (any, error) { return c.submit(tx, at) })
}

func (c Submit) submit(tx *Tx, at funding.Millis) (any, error) {
	pool, ok := tx.pools.get(c.Pool)
	if !ok {
		return nil, refuse(CodePoolUnknown, "there is no pool %d", c.Pool)
	}
	if err := tx.admit(c, pool, at); err != nil {
		return nil, err
	}
	job, err := c.job(pool, at)
	if err != nil {
		return nil, err
	}
	tx.meta.Job++
	job.ID = tx.meta.Job
	job.Shape = tx.shapeOf(scheduler.Shape{Pool: c.Pool, Need: c.Need, Driver: c.Driver, Nodes: 1, GPU: c.GPU, Share: c.Share})
	answer := SubmitAnswer{Job: job.ID, Bid: job.Bid, Weight: job.Weight, Fee: pool.SubmitFee, Index: tx.index}
	pot, err := c.fund(tx, &job, &answer)
	if err != nil {
		return nil, err
	}
	j := &jobTx{Tx: tx, job: job, pot: *pot, pool: pool}
	if err := c.reserve(j); err != nil {
		return nil, err
	}
	j.save()
	submitted := j.about(EventSubmitted)
	submitted.Amount, submitted.Rate, submitted.Weight = j.job.Hold, j.job.Bid, j.job.Weight
	tx.emit(submitted)
	if c.Pot != 0 && c.Payment != nil {
		if err := tx.potGrew(j.pot.ID); err != nil {
			return nil, err
		}
	}
	answer.Pot, answer.Fund, answer.State, answer.Held = j.pot.ID, j.pot.Keys.Fund, j.job.State, j.job.Hold
	return answer, nil
}

// admit says whether the pool takes work from whoever sent this. An open pool takes everybody's,
// but never unconfined.
func (tx *Tx) admit(c Submit, pool *scheduler.Pool, at funding.Millis) error {
	if !slices.Contains(pool.Drivers, c.Driver) {
		return refuse(CodeDriverRefused, "pool %s does not run %q", pool.Name, c.Driver)
	}
	if pool.Admission == scheduler.Open || pool.Loopback && c.Loopback && c.Token == (TokenHash{}) {
		return nil
	}
	if token, ok := tx.tokens.get(c.Token); ok && token.Role == RoleOperator && token.Good(at) {
		return nil
	}
	return tx.checkToken(c.Token, at, RoleSubmit)
}

// job is the record of what was asked for, without number, shape and money.
func (c Submit) job(pool *scheduler.Pool, at funding.Millis) (scheduler.Job, error) {
	var none scheduler.Job
	if err := c.GPU.Validate(c.Need); err != nil {
		return none, refuse(CodeInvalid, "%v", err)
	}
	weighed, all, err := pool.Weigh(c.Need, c.GPU)
	if err != nil {
		return none, refuse(CodeGPUKind, "%v", err)
	}
	weight, err := scheduler.WeightOf(weighed, all)
	if err == nil {
		err = errors.Join(c.Need.Validate(), weight.Check(), c.Bid.Check())
	}
	if err != nil {
		return none, refuse(CodeLimit, "%v", err)
	}
	if err := scheduler.ValidateTasks(c.Tasks, c.AtOnce, pool.ArrayMax); err != nil {
		return none, refuse(CodeLimit, "%v", err)
	}
	limited := c.Mode == funding.Safe || c.TimeLimit != 0
	switch {
	case c.Mode != funding.Safe && c.Mode != funding.Stream:
		return none, refuse(CodeInvalid, "the mode is neither safe nor stream")
	case c.Nodes > 1 || c.Firm:
		return none, refuse(CodeInvalid, "several nodes at once and firm runs are not offered")
	case c.Share != "" && c.Share != pool.Share:
		return none, refuse(CodeStale, "the machines of pool %s do not share %s any more", pool.Name, c.Share)
	case c.Need == scheduler.Resources{} && !c.GPU.Asks(c.Need):
		return none, refuse(CodeInvalid, "the job asks for nothing to run on")
	case c.Bid < pool.Floor:
		return none, refuse(CodePoolFloor, "a bid of %d is below the floor %d of pool %s", c.Bid, pool.Floor, pool.Name)
	case limited && (c.TimeLimit < scheduler.TimeMin || c.TimeLimit > pool.TimeMax):
		return none, refuse(CodeLimit, "a time limit of %d ms is not between %d and %d", c.TimeLimit, scheduler.TimeMin, pool.TimeMax)
	case c.MaxTotal < 0:
		return none, refuse(CodeInvalid, "the most that the job may cost is %d", c.MaxTotal)
	case len(c.Work) == 0 || len(c.Work) > scheduler.SpecMax:
		return none, refuse(CodeLimit, "what to run has %d bytes, the limit is %d", len(c.Work), scheduler.SpecMax)
	case c.Keys.Control == (funding.KeyHash{}) || c.Keys.View == (funding.KeyHash{}):
		return none, refuse(CodeInvalid, "a job needs a control key and a view key")
	}
	return scheduler.Job{
		Pool: c.Pool, Mode: c.Mode, Bid: c.Bid, Weight: weight, TimeLimit: c.TimeLimit, MaxTotal: c.MaxTotal,
		Tasks: c.Tasks, AtOnce: c.AtOnce, Next: c.Tasks.First, OnHold: c.OnHold, State: scheduler.JobQueued,
		Submitted: at, Control: c.Keys.Control, View: c.Keys.View, Spec: c.Work, Weighed: weighed,
	}, nil
}

// shapeOf finds a shape or makes it.
func (tx *Tx) shapeOf(shape scheduler.Shape) scheduler.ShapeID {
	if id, ok := tx.shapeForms.get(formOf(&shape)); ok {
		return id
	}
	tx.meta.Shape++
	shape.ID = tx.meta.Shape
	tx.shapes.put(shape.ID, &shape)
	return shape.ID
}

// fund opens a pot for the job or takes one that exists, and pays the coins in.
func (c Submit) fund(tx *Tx, job *scheduler.Job, answer *SubmitAnswer) (pot *funding.Pot, err error) {
	switch own := c.Pot == 0; {
	case own && c.Payment == nil:
		return nil, refuse(CodeMoneyShort, "there is neither a payment nor a pot")
	case own:
		if pot, err = tx.openPot(c.Keys, c.CapOthers); err != nil {
			return nil, err
		}
		changed := *pot
		changed.Own, pot = uint64(job.ID), &changed
		job.OwnPot = true
	default:
		if pot, err = c.sharedPot(tx); err != nil {
			return nil, err
		}
	}
	if c.Payment != nil {
		var deposit funding.Deposit
		if pot, deposit, err = tx.payIn(pot, c.Payment, c.Pot == 0, Event{Job: job.ID}); err != nil {
			return nil, err
		}
		answer.Deposit = deposit.ID
		answer.Fee += units(c.Payment.Coins.Fee)
	}
	job.Pot = pot.ID
	funded := *pot
	funded.Jobs++
	return &funded, nil
}

func (c Submit) sharedPot(tx *Tx) (*funding.Pot, error) {
	pot, ok := tx.pots.get(c.Pot)
	switch {
	case !ok:
		return nil, refuse(CodePotUnknown, "there is no pot %d", c.Pot)
	case pot.Own != 0:
		return nil, refuse(CodeInvalid, "pot %d is for job %d alone", c.Pot, pot.Own)
	case pot.State != funding.PotOpen:
		return nil, refuse(CodePotClosed, "pot %d takes no more jobs", c.Pot)
	case c.Spend == (funding.KeyHash{}) || c.Spend != pot.Keys.Spend:
		return nil, refuse(CodeKeyWrong, "this is not the spend key of pot %d", c.Pot)
	}
	return pot, nil
}

// reserve pays the submit fee and takes the first slots; without one nothing is queued.
func (c Submit) reserve(j *jobTx) error {
	full, least, err := slotCost(j.pool, &j.job)
	if err != nil {
		return refuse(CodeLimit, "what one task may cost: %v", err)
	}
	need, err := least.Plus(j.pool.SubmitFee)
	if err != nil {
		return refuse(CodeLimit, "what one task may cost: %v", err)
	}
	switch {
	case j.job.MaxTotal != 0 && need > j.job.MaxTotal:
		return refuse(CodeLimit, "one task needs %s and the job may cost %s at most", scheduler.Decimal(int64(need)), scheduler.Decimal(int64(j.job.MaxTotal)))
	case j.pot.Free() < need:
		return refuse(CodeMoneyShort, "one task needs %s (full cover %s) and the pot has %s free",
			scheduler.Decimal(int64(need)), scheduler.Decimal(int64(full)), scheduler.Decimal(int64(j.pot.Free())))
	}
	if err := j.paySubmitFee(); err != nil {
		return err
	}
	if err := j.cover(); err != nil {
		return err
	}
	if j.job.Slots == 0 {
		return refuse(CodeMoneyShort, "one task needs %d and pot %d has %d free", need, j.pot.ID, j.pot.Free())
	}
	if j.job.Mode == funding.Stream && j.job.MaxTotal != 0 {
		j.caps.put(j.job.ID, &funding.StreamHold{Pot: j.pot.ID, Pool: uint32(j.pool.ID), Held: j.job.MaxTotal - j.job.Charged})
	}
	return nil
}
