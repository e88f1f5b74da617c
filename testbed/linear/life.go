package linear

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/scheduler"
	"github.com/coinop/coinop/testbed/inproc"
)

// Size says how much happens in a history.
type Size struct {
	Pots, Clients, Each int // operations of each client
}

// life is a cluster, some pots, and those who use them.
type life struct {
	*record
	c      *inproc.Cluster
	seed   uint64
	size   Size
	keyset cashu.KeysetID
	pots   []*account
	token  string
	holds  map[int64]int64 // what a job holds, by its bid

	all  sync.Mutex // guards what clients find out and tell each other
	jobs []*work    // guarded by all
}

// account is a pot and what can be paid into it.
type account struct {
	number   int
	secret   client.Secret
	deposits []deposit       // guarded by all; written down, not sent
	owed     []client.Refund // guarded by all; as somebody has seen it
}

type deposit struct {
	units   int64
	request client.Outbound
}

// work is a job that somebody has sent.
type work struct {
	number int // of the submission
	pot    int
	job    uint64 // guarded by all; zero while nobody knows
	secret client.Secret
}

// Record plays a history from a seed: clients at different servers use the same pots and jobs, while servers are killed,
// cut off and delayed and answers are lost. What a seed draws is who asks for what and which faults there are; what
// happens first in a moment of virtual time is as it comes.
func Record(t *testing.T, seed uint64, size Size) (history []porcupine.Operation, faults []string) {
	t.Helper()
	inproc.Play(t, 3, 2, func(c *inproc.Cluster) {
		l := &life{record: &record{began: time.Now()}, c: c, seed: seed, size: size}
		l.prepare()
		var all sync.WaitGroup
		done := make(chan struct{})
		for i := range size.Clients {
			p := l.newPerson(i)
			all.Go(func() {
				defer p.http.CloseIdleConnections()
				p.live()
			})
		}
		go func() { all.Wait(); close(done) }()
		faults = l.trouble(done)
		l.rest()
		history = l.ops
	})
	return history, faults
}

func (l *life) must(err error) {
	l.c.T.Helper()
	if err != nil {
		l.c.T.Fatal(err)
	}
}

func (l *life) dice(who uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, who)) }

// depositsEach is how many payments wait for a pot.
const depositsEach = 8

// prepare opens the pots, and writes deposits down which clients will send.
func (l *life) prepare() {
	l.c.T.Helper()
	token, err := os.ReadFile(filepath.Join(l.c.Servers[0].Config.Dir, "operator.token"))
	l.must(err)
	l.token = strings.TrimSpace(string(token))
	dice := l.dice(1 << 32)
	u, ctx := l.c.User, l.c.T.Context()
	for i := range l.size.Pots {
		a := &account{number: i, secret: client.NewSecret()}
		_, err := u.API.CreatePot(ctx, ulid.Make().String(), client.PotRequest{Keys: a.secret.Keys()})
		l.must(err)
		for range depositsEach {
			u.Issue(100)
			a.deposits = append(a.deposits, l.deposit(a, 5+dice.Int64N(40)))
		}
		l.pots = append(l.pots, a)
	}
	l.holds = map[int64]int64{}
	for _, spec := range specs() {
		q, err := u.API.Quote(ctx, client.QuoteRequest{Job: spec})
		l.must(err)
		l.holds[q.BidMicro] = q.HoldMicro
	}
	sets, err := u.API.Keysets(ctx)
	l.must(err)
	for _, k := range sets.Keysets {
		if k.Active {
			l.keyset = k.ID
		}
	}
}

// deposit is written down with coins of the wallet; what is left of it is claimed with the pot's key.
func (l *life) deposit(a *account, units int64) deposit {
	l.c.T.Helper()
	u, path := l.c.User, "/v1/funds/"+a.secret.Key("fund")+"/deposits"
	p, err := u.Wallet.Prepare(l.c.T.Context(), wallet.Order{
		Mint: u.Mint, Pay: cashu.Units(units), Purpose: "a deposit", Method: "POST", Path: path, NoBlanks: true,
	}, func(d wallet.Draft) ([]byte, error) {
		o, err := client.PrepareDeposit(a.secret.Key("fund"), d.ID, "", client.DepositRequest{
			Payment: client.Payment{Pay: units, Inputs: d.Inputs, Outputs: d.Outputs}, Claim: client.HashKey(a.secret.Key("claim")),
		})
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
	l.must(err)
	var o client.Outbound
	l.must(json.Unmarshal(p.Request, &o))
	return deposit{units: units, request: o}
}

// apiAt is a client that asks one server first and the others after it.
func (l *life) apiAt(first int, patience time.Duration, h *http.Client) *client.Client {
	l.c.T.Helper()
	var addrs []string
	for i := range l.c.Servers {
		addrs = append(addrs, "http://"+l.c.Servers[(first+i)%len(l.c.Servers)].Config.HTTP)
	}
	api, err := client.New(client.Config{Servers: addrs, Token: l.token, HTTP: h, Patience: patience})
	l.must(err)
	return api
}

// rest heals everything, ends what still runs, writes down when and how jobs have ended, and looks at all once more.
func (l *life) rest() {
	l.c.T.Helper()
	p := &person{life: l, number: l.size.Clients, dice: l.dice(uint64(l.size.Clients)), api: l.c.User.API}
	for _, w := range l.jobs {
		if l.learn(w); w.job != 0 {
			p.cancel(w)
		}
	}
	var ended []*scheduler.Job
	l.c.Until("all jobs have ended", func() bool {
		ended = nil
		done := true
		l.c.Leader().View().Jobs(0, func(j *scheduler.Job) bool {
			ended = append(ended, j)
			done = done && j.State == scheduler.JobDone
			return true
		})
		return done
	})
	for _, j := range ended {
		l.finished(j)
	}
	for _, a := range l.pots {
		p.balance(a)
		p.close(a)
		p.balance(a)
		p.owed(a)
		for range a.owed {
			p.claim(a)
		}
		p.owed(a)
	}
	for _, w := range l.jobs {
		if w.job != 0 {
			p.receipt(w)
		}
	}
}

// learn finds the number of a job whose submission was never answered, if there is one.
func (l *life) learn(w *work) {
	if j := l.find(w); w.job == 0 && j != nil {
		w.job = uint64(j.ID)
	}
}

func (l *life) find(w *work) (found *scheduler.Job) {
	l.c.Leader().View().Jobs(0, func(j *scheduler.Job) bool {
		if fmt.Sprintf("%x", j.Control[:]) == client.HashKey(w.secret.Key("control")) {
			found = j
		}
		return found == nil
	})
	return found
}

// finished writes down that a job has ended, which nobody asked for: not before its last process, nor before it was
// cancelled, if that is why; and by now.
func (l *life) finished(j *scheduler.Job) {
	for _, w := range l.jobs {
		if fmt.Sprintf("%x", j.Control[:]) != client.HashKey(w.secret.Key("control")) {
			continue
		}
		call := max(l.calls(Submit, w.number), l.at(time.UnixMilli(int64(j.Ended)).Add(-clocks)))
		if j.Reason == scheduler.ReasonCancelled {
			call = max(call, l.calls(Cancel, w.number))
		}
		l.add(porcupine.Operation{
			ClientId: l.size.Clients, Input: Input{Kind: Finish, Pot: w.pot, Job: w.number, Micro: int64(j.Charged)}, Call: call,
			Output: Output{}, Return: l.stamp(),
		})
		return
	}
	l.c.T.Errorf("job %d is nobody's", j.ID)
}

// clocks is how far the cluster's time may lie ahead of the bubble's.
const clocks = time.Second
