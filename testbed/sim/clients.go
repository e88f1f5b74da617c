package sim

import (
	"fmt"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// pot is a shared pot as its owner knows it.
type pot struct {
	id     funding.PotID
	name   string
	owner  *purse
	closed bool
}

// job is a job as its owner knows it.
type job struct {
	id        jobID
	name      string
	pot       funding.PotID
	own       bool
	mode      funding.Mode
	bid       funding.Rate
	weight    funding.Weight
	need      scheduler.Resources
	kept      int64 // what a GiB of it weighs on disk
	gpu       scheduler.GPURequest
	limit     funding.Millis
	most      funding.Amount
	tasks     scheduler.TaskRange
	cancelled bool
	over      bool
	charged   funding.Amount // by its transfers
	rounding  funding.Amount // of that, what was less than one coin
}

func keysOf(name string, claim funding.KeyHash) funding.Keys {
	return funding.Keys{
		Control: keyOf("control", name), View: keyOf("view", name), Spend: keyOf("spend", name), Claim: claim, Fund: keyOf("fund", name),
	}
}

// clients is what users do.
func (w *world) clients() {
	p := w.purses[w.dice.IntN(len(w.purses))]
	if w.has(p) < 5000 {
		w.issue(p, between[cashu.Units](w, 10_000, 400_000))
		return
	}
	switch n := w.dice.IntN(100); {
	case n < 52 && len(w.jobs) < 40:
		w.submit(p)
	case n < 65:
		w.deposit(p)
	case n < 70:
		w.cancel()
	case n < 76:
		w.hold()
	case n < 80:
		w.limits()
	case n < 86:
		w.potCreate(p)
	case n < 88:
		w.potClose()
	case n < 94:
		w.claim()
	default:
		w.swap(p)
	}
}

func (w *world) has(p *purse) (sum cashu.Units) {
	for _, coin := range p.coins {
		value, _ := w.worth(coin)
		sum += value
	}
	return sum
}

// submit sends a job with its money, or against a pot.
func (w *world) submit(p *purse) {
	pools := w.view.Pools()
	w.order(p, pools[w.dice.IntN(len(pools))], func(*machine.Submit) {})
}

// order sends a job of some kind to a pool.
func (w *world) order(p *purse, pool *scheduler.Pool, change func(*machine.Submit)) {
	name := fmt.Sprintf("job %x", w.secret())
	entry := machine.Submit{
		Keys: keysOf(name, p.claim), Pool: pool.ID, Driver: "process", Mode: funding.Safe, Nodes: 1, Work: []byte{0xa0},
		Need: scheduler.Resources{CPUMilli: between[int64](w, 1, 40) * 100, Memory: between[int64](w, 0, 4<<10) << 20},
		Bid:  pool.Floor + between[funding.Rate](w, 0, 3_000_000), OnHold: w.chance(4),
	}
	entry.Bid = max(entry.Bid, 1)
	if w.chance(30) {
		entry.Need.Disk = between[int64](w, 1, 8<<10) << 20
	}
	entry.TimeLimit = min(pool.TimeMax, []funding.Millis{between(w, second, minute), between(w, minute, hour), between(w, hour, 3*day)}[min(2, w.dice.IntN(9)/3)])
	if w.chance(35) {
		entry.Mode = funding.Stream
		if w.chance(70) {
			entry.TimeLimit = 0
		}
	}
	if w.chance(25) {
		entry.Tasks.First = between[int32](w, 0, 3)
		entry.Tasks.Last = entry.Tasks.First + between[int32](w, 1, 12)
		entry.AtOnce = between[int32](w, 0, 4)
	}
	if w.chance(45) {
		w.askGPUs(&entry)
	}
	change(&entry)
	weight, err := pool.WeightOf(entry.Need, entry.GPU)
	if err != nil {
		w.fail("world", "%v", err)
		return
	}
	pay := w.enough(pool, &entry, weight)
	shared, _ := one(w, w.pots)
	if shared != nil && w.chance(45) {
		entry.Pot, entry.Spend = shared.id, keyOf("spend", shared.name)
	}
	if entry.Pot == 0 || w.chance(15) {
		payment, ok := w.payment(p, pay)
		if !ok {
			return
		}
		entry.Payment = payment
	}
	if entry.Pot == 0 && w.chance(15) {
		most := units(cashu.Units(w.dice.IntN(2000)))
		entry.CapOthers = &most
	}
	entry.Request = w.request(w.chance(50))
	w.send(p, name, entry, weight)
}

// enough is what a job should bring: for all its time, for a part of it, or a little.
func (w *world) enough(pool *scheduler.Pool, entry *machine.Submit, weight funding.Weight) cashu.Units {
	length := entry.TimeLimit
	if entry.Mode == funding.Stream {
		length = pool.PauseGrace + between(w, second, 2*pool.Tranche)
	}
	each, err := entry.Bid.Cost(weight, length)
	if err != nil {
		w.fail("world", "%v", err)
		return 1
	}
	tasks := funding.Amount(entry.Tasks.Last - entry.Tasks.First + 1)
	whole := each*between(w, 1, tasks) + pool.SubmitFee
	if w.chance(15) {
		entry.MaxTotal = max(1, whole*funding.Amount(between(w, 50, 120))/100)
	}
	pay := whole/funding.UnitMicro + funding.Amount(between(w, 0, 3))
	return cashu.Units(max(1, min(pay, 400_000)))
}

// send proposes a submission and takes in its answer.
func (w *world) send(p *purse, name string, entry machine.Submit, weight funding.Weight) {
	r := w.propose(entry, func(r machine.Result) {
		a, ok := answer[machine.SubmitAnswer](w, r)
		w.paid(p, entry.Payment, r, a.Pot, a.Deposit)
		if !ok {
			return
		}
		pool, _ := w.view.Pool(entry.Pool)
		j := &job{
			id: a.Job, name: name, pot: a.Pot, own: entry.Pot == 0, mode: entry.Mode, bid: entry.Bid, weight: weight, need: entry.Need, gpu: entry.GPU,
			limit: entry.TimeLimit, most: entry.MaxTotal, tasks: entry.Tasks, kept: pool.Weights.Suspended,
		}
		if a.Bid != entry.Bid || a.Weight != weight || a.Held <= 0 && entry.Bid > 0 && j.mode == funding.Safe {
			w.fail("answer", "job %d bids %d at weight %d and holds %d; asked for %d at %d", j.id, a.Bid, a.Weight, a.Held, entry.Bid, weight)
		}
		w.jobs = append(w.jobs, j)
		w.jobsByID[j.id] = j
		w.report.Jobs++
	})
	w.mayRefuse(r, machine.CodeMoneyShort, machine.CodeLimit, machine.CodePotClosed, machine.CodePotUnknown, machine.CodePotFull)
	until := funding.Millis(0)
	if entry.Payment == nil {
		until = w.now + machine.RequestMemory
	}
	w.remember(entry, r, until, entry.Request)
}

// mayRefuse fails on a refusal for any other reason.
func (w *world) mayRefuse(r machine.Result, codes ...machine.Code) {
	for _, code := range codes {
		if r.Code == code {
			return
		}
	}
	if r.Code != machine.OK {
		w.fail("answer", "refused: %s %s", r.Code, r.Detail)
	}
}

func (w *world) dropJob(j *job) {
	for i, other := range w.jobs {
		if other == j {
			w.jobs = append(w.jobs[:i], w.jobs[i+1:]...)
			break
		}
	}
	delete(w.jobsByID, j.id)
}

// deposit pays into a pot by its fund id: a shared one's, or some job's.
func (w *world) deposit(p *purse) {
	var fund funding.FundID
	most := cashu.Units(1500)
	if pot, ok := w.sleepersPot(); ok && w.chance(70) {
		fund, most = pot, 15_000
	} else if shared, ok := one(w, w.pots); ok && w.chance(50) {
		fund = keyOf("fund", shared.name)
	} else if j, ok := one(w, w.jobs); ok {
		record, found := w.view.Pot(j.pot)
		if !found {
			w.fail("I6", "job %d is open and its pot is gone", j.id)
			return
		}
		fund = record.Keys.Fund
	} else {
		return
	}
	w.give(p, fund, between[cashu.Units](w, 1, most))
}

// give pays into a pot.
func (w *world) give(p *purse, fund funding.FundID, pay cashu.Units) {
	payment, ok := w.payment(p, pay)
	if !ok {
		return
	}
	entry := machine.Deposit{Request: w.request(w.chance(50)), Fund: fund, Payment: *payment}
	r := w.propose(entry, func(r machine.Result) {
		a, _ := answer[machine.DepositAnswer](w, r)
		w.paid(p, payment, r, a.Pot, a.Deposit)
	})
	w.mayRefuse(r, machine.CodePotClosed, machine.CodePotUnknown, machine.CodeCapOthers, machine.CodePotFull)
	w.remember(entry, r, 0, entry.Request)
}

func (w *world) cancel() {
	j, ok := one(w, w.jobs)
	if !ok {
		return
	}
	entry := machine.Cancel{Job: j.id, Control: keyOf("control", j.name), Signal: []int32{0, 0, 2, 9}[w.dice.IntN(4)]}
	if j.tasks.Last > j.tasks.First && w.chance(60) {
		first := between(w, j.tasks.First, j.tasks.Last)
		entry.Tasks = &scheduler.TaskRange{First: first, Last: between(w, first, j.tasks.Last)}
	}
	if w.chance(20) {
		entry.Control, entry.Token = funding.KeyHash{}, operator()
	}
	j.cancelled = true
	w.mayRefuse(w.propose(entry))
}

func (w *world) hold() {
	if j, ok := one(w, w.jobs); ok {
		on := w.chance(35)
		r := w.propose(machine.OnHold{Job: j.id, Control: keyOf("control", j.name), On: on})
		w.mayRefuse(r)
	}
}

func (w *world) limits() {
	j, ok := one(w, w.jobs)
	if !ok {
		return
	}
	entry := machine.JobCap{Job: j.id, Control: keyOf("control", j.name)}
	if j.own && w.chance(50) {
		most := units(cashu.Units(w.dice.IntN(3000)))
		entry.CapOthers = &most
	}
	if w.chance(60) {
		most := j.charged + units(cashu.Units(w.dice.IntN(3000)))
		if w.chance(30) {
			most = 0
		}
		entry.MaxTotal = &most
	}
	if w.chance(40) {
		limit := j.limit + between(w, -minute, 2*hour)
		entry.TimeLimit = &limit
	}
	r := w.propose(entry, func(r machine.Result) {
		if r.Code == machine.OK && entry.MaxTotal != nil {
			j.most = *entry.MaxTotal
		}
		if r.Code == machine.OK && entry.TimeLimit != nil {
			j.limit = *entry.TimeLimit
			w.view.RunsOf(j.id, func(run *scheduler.Run) bool {
				if r := w.runsByID[run.ID]; r != nil && run.Until != 0 && run.Until != r.until() {
					w.fail("I8", "run %d started at %d and may run until %d, its limit has become %d", run.ID, run.Start, run.Until, j.limit)
				}
				return true
			})
		}
	})
	codes := []machine.Code{machine.CodeLimit}
	if entry.TimeLimit != nil && (j.mode == funding.Safe || j.limit == 0) {
		codes = append(codes, machine.CodeInvalid) // it has no limit that can be moved
	}
	w.mayRefuse(r, codes...)
}

func (w *world) potCreate(p *purse) {
	if len(w.pots) > 8 {
		return
	}
	name := fmt.Sprintf("pot %x", w.secret())
	entry := machine.PotCreate{Request: w.request(w.chance(50)), Keys: keysOf(name, p.claim)}
	if w.chance(80) {
		payment, ok := w.payment(p, between[cashu.Units](w, 100, 20_000))
		if !ok {
			return
		}
		entry.Payment = payment
	}
	r := w.propose(entry, func(r machine.Result) {
		a, ok := answer[machine.PotCreateAnswer](w, r)
		w.paid(p, entry.Payment, r, a.Pot, a.Deposit)
		if ok {
			w.pots = append(w.pots, &pot{id: a.Pot, name: name, owner: p})
		}
	})
	w.mayRefuse(r)
	if entry.Payment != nil {
		w.remember(entry, r, 0, entry.Request)
	}
}

func (w *world) potClose() {
	shared, ok := one(w, w.pots)
	if !ok {
		return
	}
	r := w.propose(machine.PotClose{Pot: shared.id, Control: keyOf("control", shared.name)})
	w.mayRefuse(r, machine.CodePotUnknown)
	shared.closed = true
	if w.chance(70) { // some go on trying
		for i := range w.pots {
			if w.pots[i] == shared {
				w.pots = append(w.pots[:i], w.pots[i+1:]...)
				break
			}
		}
	}
}

// claim takes a claimable balance.
func (w *world) claim() {
	if len(w.claims) == 0 {
		return
	}
	i := w.dice.IntN(len(w.claims))
	c := w.claims[i]
	p := w.purses[0]
	for _, other := range w.purses {
		if other.claim == c.key {
			p = other
		}
	}
	entry := machine.Claim{Request: w.request(w.chance(30)), Refund: c.id, Claim: c.key, Outputs: w.outputs(cashu.Units(c.amount / funding.UnitMicro))}
	r := w.propose(entry, func(r machine.Result) {
		if r.Code == machine.OK {
			w.gain(p, entry.Outputs...)
			w.claims = append(w.claims[:i], w.claims[i+1:]...)
		}
	})
	w.mayRefuse(r)
	w.remember(entry, r, 0, entry.Request)
	if w.chance(20) { // no second time
		entry.Request, entry.Outputs = w.request(false), w.outputs(cashu.Units(c.amount/funding.UnitMicro))
		w.refused(entry, machine.CodeRefundUnknown)
	}
}

// swap turns coins into others, mostly to have fewer of them.
func (w *world) swap(p *purse) {
	coins, ok := w.pick(p, between[cashu.Units](w, 0, w.has(p)/2))
	if !ok {
		return
	}
	coins.Outputs = append(coins.Outputs, w.outputs(coins.Pay)...)
	coins.Pay = 0
	if len(coins.Outputs) > mint.DefaultLimits().Outputs {
		p.coins = append(p.coins, coins.Inputs...)
		return
	}
	entry := machine.Swap{Request: w.request(w.chance(30)), Coins: coins}
	r := w.propose(entry, func(r machine.Result) { w.turned(p, coins, r) })
	w.mayRefuse(r)
	w.remember(entry, r, 0, entry.Request)
}
