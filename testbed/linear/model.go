// Package linear asks whether what clients saw of pots and jobs, each at its own server, is what one pot after the
// other could have answered alone.
package linear

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coinop/coinop/api/client"
)

// Kind is what an operation does.
type Kind string

// Kinds. All but the end are asked for by clients.
const (
	Fund    Kind = "fund"    // a deposit
	Submit  Kind = "submit"  // a job that the pot pays for
	Cancel  Kind = "cancel"  // of a job
	Finish  Kind = "finish"  // a job has ended: its task did, or it was cancelled
	Close   Kind = "close"   // of the pot
	Refund  Kind = "refund"  // a claim of what is left of a deposit
	Balance Kind = "balance" // a look at the pot
	Receipt Kind = "receipt" // a look at a job
	Owed    Kind = "owed"    // a look at what can be claimed
)

// Input is what is asked for. Every operation is of one pot.
type Input struct {
	Kind   Kind
	Pot    int
	Job    int    // by the number of its submission in the history
	Micro  int64  // what a deposit brings, what a job holds, what it was charged at its end
	Refund uint64 // which one is claimed
}

// Output is what came back.
type Output struct {
	Unknown bool   // nobody could say what became of it: it may take effect at any time from its call on, or never
	Refused string // the problem's code

	Deposit int64 // its number
	Pot     client.Pot
	Done    bool  // the job
	Charged int64 // the job
	Refunds []client.Refund
}

// job is what a pot knows of one that it pays.
type job struct {
	number  int
	held    int64
	charged int64
	done    bool
}

// pot is the whole state that a history is about.
type pot struct {
	state     string
	deposits  int64
	deposited int64
	charged   int64 // by jobs
	rounding  int64 // what was less than a coin at the end; unknown until somebody looks
	jobs      []job // by number
	claimed   []uint64
}

const (
	unknown = -1
	unit    = 1_000_000 // micro-units of a coin
)

func (p pot) held() (sum int64, live int64) {
	for _, j := range p.jobs {
		if !j.done {
			sum += j.held
			live++
		}
	}
	return sum, live
}

func (p pot) free() int64 {
	held, _ := p.held()
	return p.deposited - p.charged - held
}

func (p pot) job(number int) int {
	return slices.IndexFunc(p.jobs, func(j job) bool { return j.number == number })
}

// set is the pot with another state of a job.
func (p pot) set(j job) pot {
	p.jobs = slices.Clone(p.jobs)
	if i := p.job(j.number); i >= 0 {
		p.jobs[i] = j
	} else {
		p.jobs = append(p.jobs, j)
		slices.SortFunc(p.jobs, func(a, b job) int { return a.number - b.number })
	}
	return p.settle()
}

// settle closes a pot that was to be closed when its last job has ended.
func (p pot) settle() pot {
	if _, live := p.held(); p.state == "closing" && live == 0 {
		p.state = "closed"
	}
	return p
}

func equal(a, b any) bool {
	p, q := a.(pot), b.(pot)
	return p.state == q.state && p.deposits == q.deposits && p.deposited == q.deposited && p.charged == q.charged &&
		p.rounding == q.rounding && slices.Equal(p.jobs, q.jobs) && slices.Equal(p.claimed, q.claimed)
}

// step says whether a pot could have answered so, and how it is afterwards.
func step(state, input, output any) (bool, any) {
	p, in, out := state.(pot), input.(Input), output.(Output)
	may, after := p.after(in)
	switch {
	case out.Unknown:
		if may != "" {
			return true, p
		}
		return true, after
	case out.Refused != may:
		return false, p
	case may != "":
		return true, p
	}
	return after.saw(in, out)
}

// after carries out what is asked for, or names the refusal.
func (p pot) after(in Input) (refusal string, after pot) {
	switch in.Kind {
	case Fund:
		if p.state != "open" {
			return "pot_closed", p
		}
		p.deposits++
		p.deposited += in.Micro
	case Submit:
		switch {
		case p.state != "open":
			return "pot_closed", p
		case p.free() < in.Micro:
			return "money_short", p
		}
		p = p.set(job{number: in.Job, held: in.Micro})
	case Cancel:
		if i := p.job(in.Job); i < 0 || p.jobs[i].done {
			return "job_ended", p
		}
	case Finish:
		i := p.job(in.Job)
		if i < 0 || p.jobs[i].done || in.Micro > p.jobs[i].held {
			return "no job to end", p
		}
		p.charged += in.Micro
		p = p.set(job{number: in.Job, held: p.jobs[i].held, charged: in.Micro, done: true})
	case Close:
		if p.state == "open" {
			p.state = "closing"
			p = p.settle()
		}
	case Refund:
		if p.state != "closed" || slices.Contains(p.claimed, in.Refund) {
			return "refund_unknown", p
		}
		p.claimed = append(slices.Clone(p.claimed), in.Refund)
		slices.Sort(p.claimed)
	}
	return "", p
}

// saw compares an answer with the pot after it.
func (p pot) saw(in Input, out Output) (bool, pot) {
	switch in.Kind {
	case Fund:
		return out.Deposit == p.deposits, p
	case Balance:
		return p.balance(out.Pot)
	case Receipt:
		i := p.job(in.Job)
		return i >= 0 && p.jobs[i].done == out.Done && p.jobs[i].charged == out.Charged, p
	case Owed:
		return p.owed(out.Refunds)
	}
	return true, p
}

func (p pot) balance(saw client.Pot) (bool, pot) {
	held, live := p.held()
	if saw.State != p.state || saw.DepositedMicro != p.deposited || saw.HeldMicro != held || saw.Jobs != live ||
		int64(len(saw.Deposits)) != p.deposits {
		return false, p
	}
	if p.state != "closed" {
		return saw.ChargedMicro == p.charged && saw.FreeMicro == p.free() && saw.RefundedMicro == 0, p
	}
	rest := saw.ChargedMicro - p.charged
	return saw.FreeMicro == 0 && saw.ChargedMicro+saw.RefundedMicro == p.deposited && p.rounds(rest), p.rounded(rest)
}

// owed says whether a list of refunds is that of the pot: none before its end, then for all that is left, those claimed
// that were claimed.
func (p pot) owed(saw []client.Refund) (bool, pot) {
	if p.state != "closed" {
		return len(saw) == 0, p
	}
	var sum int64
	var claimed []uint64
	for _, r := range saw {
		sum += r.AmountMicro
		if r.State == "claimed" {
			claimed = append(claimed, r.Refund)
		}
	}
	slices.Sort(claimed)
	rest := p.deposited - p.charged - sum
	return slices.Equal(claimed, p.claimed) && p.rounds(rest), p.rounded(rest)
}

// rounds says whether so much may be lost to rounding: less than a coin of each deposit, and always the same.
func (p pot) rounds(rest int64) bool {
	return rest >= 0 && rest <= p.deposits*(unit-1) && (p.rounding == unknown || p.rounding == rest)
}

func (p pot) rounded(rest int64) pot {
	p.rounding = rest
	return p
}

// Check says what is wrong with a history, if anything.
func Check(history []porcupine.Operation) error {
	for _, of := range partition(history) {
		switch porcupine.CheckOperationsTimeout(model(), of, patience) {
		case porcupine.Illegal:
			return fmt.Errorf("no order of these explains what clients saw of pot %d:\n%s", of[0].Input.(Input).Pot, told(of))
		case porcupine.Unknown:
			return fmt.Errorf("pot %d: %d operations could not be put in order within %v; fewer clients or faults would do", of[0].Input.(Input).Pot, len(of), patience)
		}
	}
	return nil
}

// patience with the search for an order.
const patience = 2 * time.Minute

func model() porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return pot{state: "open", rounding: unknown} },
		Step:  step,
		Equal: equal,
	}
}

func partition(history []porcupine.Operation) (parts [][]porcupine.Operation) {
	by := map[int]int{}
	for _, op := range history {
		number := op.Input.(Input).Pot
		i, ok := by[number]
		if !ok {
			i = len(parts)
			by[number], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// told lists operations in the order of their calls.
func told(of []porcupine.Operation) (text string) {
	of = slices.Clone(of)
	slices.SortFunc(of, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for _, op := range of {
		in, out := op.Input.(Input), op.Output.(Output)
		until := fmt.Sprint(op.Return)
		if out.Unknown {
			until = "?"
		}
		text += fmt.Sprintf("  client %d, %d to %s: %s job=%d refund=%d micro=%d", op.ClientId, op.Call, until, in.Kind, in.Job, in.Refund, in.Micro)
		switch {
		case out.Unknown:
			text += ": unknown"
		case out.Refused != "":
			text += ": " + out.Refused
		case in.Kind == Balance:
			text += fmt.Sprintf(": %s, deposited %d in %d, free %d, held %d for %d, charged %d, refunded %d", out.Pot.State, out.Pot.DepositedMicro,
				len(out.Pot.Deposits), out.Pot.FreeMicro, out.Pot.HeldMicro, out.Pot.Jobs, out.Pot.ChargedMicro, out.Pot.RefundedMicro)
		case in.Kind == Receipt:
			text += fmt.Sprintf(": done=%v charged=%d", out.Done, out.Charged)
		case in.Kind == Owed:
			text += fmt.Sprintf(": %+v", out.Refunds)
		case in.Kind == Fund:
			text += fmt.Sprintf(": deposit %d", out.Deposit)
		}
		text += "\n"
	}
	return text
}
