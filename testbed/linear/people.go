package linear

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/inproc"
)

// person uses everybody's pots and jobs, one request after the other.
type person struct {
	*life
	number int
	dice   *rand.Rand
	api    *client.Client
	apis   []*client.Client // of more patience and of less
	http   *http.Client
	sent   int
	ended  map[uint64]bool // jobs that this one has seen ended
}

// waits are how long a person repeats a request: until there is a new leader, or not at all.
func waits() []time.Duration { return []time.Duration{3 * time.Second, time.Nanosecond} }

func (l *life) newPerson(number int) *person {
	p := &person{life: l, number: number, dice: l.dice(uint64(number)), ended: map[uint64]bool{}}
	host := l.c.Mesh.Host("user")
	plain := &http.Transport{
		DialContext:           func(ctx context.Context, _, addr string) (net.Conn, error) { return host.Dial(ctx, addr) },
		ResponseHeaderTimeout: time.Second,
	}
	p.http = &http.Client{Transport: &lossy{RoundTripper: plain, percent: 20, dice: l.dice(1<<33 + uint64(number))}}
	for _, patience := range waits() {
		p.apis = append(p.apis, l.apiAt(number, patience, p.http))
	}
	return p
}

// lossy loses some requests on their way, and some answers.
type lossy struct {
	http.RoundTripper
	percent int

	mu   sync.Mutex
	dice *rand.Rand // guarded by mu
}

var errLost = errors.New("the connection broke")

func (l *lossy) loses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dice.IntN(200) < l.percent
}

// RoundTrip is part of [http.RoundTripper].
func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.loses() {
		return nil, errLost
	}
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && l.loses() {
		_, err = io.Copy(io.Discard, resp.Body)
		return nil, errors.Join(errLost, err, resp.Body.Close())
	}
	return resp, err
}

func (l *lossy) CloseIdleConnections() { l.RoundTripper.(*http.Transport).CloseIdleConnections() }

func (p *person) ctx() context.Context { return p.c.T.Context() }

// live asks for one thing after the other, in a hurry or not. Pots are closed one after the other.
func (p *person) live() {
	for i := range p.size.Each {
		p.api = p.apis[p.dice.IntN(len(p.apis))]
		time.Sleep(time.Duration(p.dice.IntN(600)) * time.Millisecond) // of the bubble
		a := p.pots[p.dice.IntN(len(p.pots))]
		switch n := p.dice.IntN(100); {
		case n < 18:
			p.fund(a)
		case n < 45:
			p.submit(a)
		case n < 57:
			if w := p.someJob(); w != nil {
				p.cancel(w)
			}
		case n < 75:
			p.balance(a)
		case n < 87:
			if w := p.someJob(); w != nil {
				p.receipt(w)
				p.show(w)
			}
		case i*(len(p.pots)+1) > (a.number+1)*p.size.Each && p.dice.IntN(2) == 0:
			p.close(a)
			p.owed(a)
		default:
			p.owed(a)
			p.claim(a)
		}
	}
}

// someJob is one whose number is known.
func (p *person) someJob() *work {
	p.all.Lock()
	defer p.all.Unlock()
	var known []*work
	for _, w := range p.jobs {
		if w.job != 0 {
			known = append(known, w)
		}
	}
	if len(known) == 0 {
		return nil
	}
	return known[p.dice.IntN(len(known))]
}

func (p *person) fund(a *account) {
	p.all.Lock()
	if len(a.deposits) == 0 {
		p.all.Unlock()
		return
	}
	d := a.deposits[0]
	a.deposits = a.deposits[1:]
	p.all.Unlock()
	p.ask(Input{Kind: Fund, Pot: a.number, Micro: d.units * unit}, func() (Output, error) {
		var answer client.PotAnswer
		err := p.api.Send(p.ctx(), d.request, &answer)
		return Output{Deposit: answer.Deposit}, err
	})
}

// submit sends a job that ends by itself, or one that only a cancellation ends.
func (p *person) submit(a *account) {
	p.sent++
	w := &work{number: p.number*1000 + p.sent, pot: a.number, secret: client.NewSecret()}
	kinds := specs()
	spec := kinds[p.dice.IntN(len(kinds))]
	hold := p.holds[spec.BidMicro]
	o, err := client.PrepareSubmit(ulid.Make().String(), a.secret.Key("spend"), client.SubmitRequest{
		Job: spec, Keys: w.secret.Keys(), Pot: a.secret.Key("fund"),
	})
	if err != nil {
		p.c.T.Error(err)
		return
	}
	p.all.Lock()
	p.jobs = append(p.jobs, w)
	p.all.Unlock()
	p.ask(Input{Kind: Submit, Pot: a.number, Job: w.number, Micro: hold}, func() (Output, error) {
		var answer client.SubmitAnswer
		err := p.api.Send(p.ctx(), o, &answer)
		if err == nil && answer.HeldMicro != hold {
			p.c.T.Errorf("job %d holds %d; the quote said %d", answer.Job, answer.HeldMicro, hold)
		}
		p.all.Lock()
		defer p.all.Unlock()
		w.job = answer.Job
		return Output{}, err
	})
}

// specs are a small job, a large one, and one that only a cancellation or its time limit ends.
func specs() []client.JobSpec {
	return []client.JobSpec{specOf("1s", 1), specOf("2s", 3), specOf("1h", 2)}
}

func specOf(takes string, bid int64) client.JobSpec {
	spec := inproc.Spec("run", takes, "0")
	spec.TimeMs, spec.BidMicro = 8_000, unit*bid
	return spec
}

func (p *person) cancel(w *work) {
	p.ask(Input{Kind: Cancel, Pot: w.pot, Job: w.number}, func() (Output, error) {
		_, err := p.api.Cancel(p.ctx(), w.job, w.secret.Key("control"), "")
		return Output{}, err
	})
}

func (p *person) close(a *account) {
	p.ask(Input{Kind: Close, Pot: a.number}, func() (Output, error) {
		_, err := p.api.ClosePot(p.ctx(), a.secret.Key("fund"), a.secret.Key("control"))
		return Output{}, err
	})
}

func (p *person) balance(a *account) {
	p.ask(Input{Kind: Balance, Pot: a.number}, func() (Output, error) {
		pot, err := p.api.Pot(p.ctx(), a.secret.Key("fund"), a.secret.Key("view"))
		return Output{Pot: pot}, err
	})
}

func (p *person) receipt(w *work) {
	p.ask(Input{Kind: Receipt, Pot: w.pot, Job: w.number}, func() (Output, error) {
		r, err := p.api.Receipt(p.ctx(), w.job, w.secret.Key("view"))
		return Output{Done: r.Final, Charged: r.ChargedMicro}, err
	})
}

// show looks at a job as whoever waits for it does. That may be a little old, but what this one has seen it stays to see.
func (p *person) show(w *work) {
	j, err := p.api.Job(p.ctx(), w.job, w.secret.Key("view"))
	var problem *client.Problem
	if errors.As(err, &problem) {
		p.c.T.Errorf("job %d was taken; asked for it there is: %v", w.job, err)
	}
	if err != nil {
		return
	}
	if p.ended[w.job] && j.State != "done" {
		p.c.T.Errorf("job %d had ended and is %s again for the same client", w.job, j.State)
	}
	p.ended[w.job] = j.State == "done"
}

func (p *person) owed(a *account) {
	out, err := p.do(p.number, Input{Kind: Owed, Pot: a.number}, func() (Output, error) {
		list, err := p.api.Refunds(p.ctx(), a.secret.Key("fund"), a.secret.Key("claim"))
		return Output{Refunds: list.Refunds}, err
	})
	if err != nil {
		return
	}
	p.all.Lock()
	defer p.all.Unlock()
	a.owed = out.Refunds
}

// claim takes one of the refunds that somebody has seen, claimed or not, with outputs of its own.
func (p *person) claim(a *account) {
	p.all.Lock()
	owed := a.owed
	p.all.Unlock()
	if len(owed) == 0 {
		return
	}
	r := owed[p.dice.IntN(len(owed))]
	p.sent++
	var outputs []cashu.BlindedMessage
	for i, amount := range cashu.Split(cashu.Units(r.AmountUnits)) {
		outputs = append(outputs, cashu.BlindedMessage{Amount: amount, ID: p.keyset, B_: p.point(i)})
	}
	o, err := client.PrepareClaim(r.Refund, ulid.Make().String(), a.secret.Key("claim"), client.ClaimRequest{Outputs: outputs})
	if err != nil {
		p.c.T.Error(err)
		return
	}
	p.ask(Input{Kind: Refund, Pot: a.number, Refund: r.Refund}, func() (Output, error) {
		return Output{}, p.api.Send(p.ctx(), o, nil)
	})
}

// point is what a wallet would blind, another one for each output of each person.
func (p *person) point(i int) cashu.Point {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], uint64(p.number))
	binary.LittleEndian.PutUint64(b[8:], uint64(p.sent))
	binary.LittleEndian.PutUint64(b[16:], uint64(i))
	sum := sha256.Sum256(b[:])
	return cashu.HashToCurve(sum[:])
}

// ask leaves it to the history what came of it.
func (p *person) ask(in Input, do func() (Output, error)) {
	_, _ = p.do(p.number, in, do)
}
