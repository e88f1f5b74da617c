package api_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// world is a cluster of one server without a log: a real machine, real keys, real HTTP.
type world struct {
	t    testing.TB
	m    *machine.Machine
	ring *mint.Keyring
	keys mint.Keyset
	api  *api.API
	http *httptest.Server
	c    *client.Client

	mu      sync.Mutex
	at      funding.Millis
	index   uint64
	applied chan struct{} // closed and replaced with each entry
	fault   error         // what Propose answers, once, after it has carried out the entry
	events  []machine.Event
}

const operatorToken = "coinop-operator-test"

func newWorld(t testing.TB, change func(*api.Config)) *world {
	t.Helper()
	w := &world{t: t, m: machine.New(), applied: make(chan struct{}), at: funding.Millis(time.Now().UnixMilli())}
	epoch := mint.Epoch{Number: 1, Secret: mint.Secret{1}}
	var err error
	if w.keys, err = mint.Define(epoch, 1, "credit", 0, 0); err != nil {
		t.Fatal(err)
	}
	if w.ring, err = mint.NewKeyring([]mint.Epoch{epoch}, []mint.Keyset{w.keys}); err != nil {
		t.Fatal(err)
	}
	spec := machine.KeysetSpec{Number: 1, ID: w.keys.ID, Epoch: 1}
	for _, k := range w.keys.Keys {
		spec.Keys = append(spec.Keys, k.Point)
	}
	w.does(&machine.Init{
		Cluster: machine.ClusterID{1}, Unit: "credit", Format: 1, Keyset: spec, Operator: sha256.Sum256([]byte(operatorToken)),
		Pools: []scheduler.Pool{{
			Name: "default", Admission: scheduler.Trusted, Loopback: true, Weights: scheduler.Weights{CPU: 1000, Memory: 250},
			Floor: 1_000_000, DefaultBid: 2_000_000, TimeDefault: 3_600_000, TimeMax: 7 * 86_400_000, KillDelay: 30_000,
			PauseGrace: 600_000, Tranche: 600_000, Tick: 10_000, ArrayMax: 1000, Drivers: []string{"process"}, LowFunds: 60_000,
		}},
	})
	w.joins("n1")
	config := api.Config{Node: w, Keyring: func() *mint.Keyring { return w.ring }, Events: told{w}, Version: "test"}
	if change != nil {
		change(&config)
	}
	if w.api, err = api.New(config); err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewServer(w.api)
	t.Cleanup(w.http.Close)
	w.c = w.client("")
	return w
}

func (w *world) client(token string) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{Servers: []string{w.http.URL}, Token: token, Patience: 2 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.CloseIdle)
	return c
}

// apply carries out an entry as the log would.
func (w *world) apply(c machine.Command) (machine.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entry, err := machine.Encode(w.at, c)
	if err != nil {
		return machine.Result{}, err
	}
	w.index++
	result := w.m.Apply(w.index, entry)
	if result.Panic != "" {
		w.t.Error(result.Panic)
	}
	w.events = append(w.events, result.Events...)
	close(w.applied)
	w.applied = make(chan struct{})
	fault := w.fault
	w.fault = nil
	return result, fault
}

// joins lets a machine in.
func (w *world) joins(name string, facts ...scheduler.DriverFacts) scheduler.NodeID {
	w.t.Helper()
	join := machine.TokenHash(sha256.Sum256([]byte(name)))
	w.does(&machine.Token{Hash: join, Role: machine.RoleJoinExecutor, Until: w.at + 1000})
	result := w.does(&machine.NodeJoin{Token: join, Name: name, Pool: "default", Cert: join, Facts: machine.NodeFacts{
		Has: scheduler.Resources{CPUMilli: 4000, Memory: 16 << 30, Disk: 1 << 40}, Drivers: []string{"process"}, DriverFacts: facts,
	}})
	var joined machine.NodeJoinAnswer
	if err := machine.DecodeAnswer(result.Answer, &joined); err != nil {
		w.t.Fatal(err)
	}
	return joined.Node
}

func (w *world) does(c machine.Command) machine.Result {
	w.t.Helper()
	result, err := w.apply(c)
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		w.t.Fatalf("%T: %v", c, err)
	}
	return result
}

func (w *world) Propose(_ context.Context, c machine.Command) (machine.Result, error) {
	return w.apply(c)
}

func (w *world) View() *machine.View { return w.m.View() }

func (w *world) Wait(ctx context.Context, index uint64) error {
	for {
		w.mu.Lock()
		there, next := w.index >= index, w.applied
		w.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) Linearize(context.Context) (uint64, error) { return w.m.View().Index(), nil }

func (w *world) After(_ context.Context, q api.EventsQuery) ([]machine.Event, uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq := q.After
	var found []machine.Event
	for _, e := range w.events {
		if e.Seq > seq && len(found) < q.Limit {
			own := e.Kind == machine.EventDeposit && e.Job == 0 && e.Pot == q.Pot && q.Pot != 0
			if seq = e.Seq; q.Job == 0 || e.Job == q.Job || own {
				found = append(found, e)
			}
		}
	}
	return found, seq, nil
}

// waitEvent is how followers of events wait.
func (w *world) waitEvent(ctx context.Context, seq uint64) error {
	for {
		v := w.View()
		if v.Seq() > seq {
			return nil
		}
		if err := w.Wait(ctx, v.Index()+1); err != nil {
			return err
		}
	}
}

// told is the world as a source of events, whose Wait is another than a node's.
type told struct{ *world }

func (e told) Wait(ctx context.Context, seq uint64) error { return e.waitEvent(ctx, seq) }

// later lets cluster time pass.
func (w *world) later(d funding.Millis) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at += d
}

// purse makes outputs and turns signatures into coins.
type purse struct {
	w       *world
	secrets map[cashu.Point]string
	factors map[cashu.Point]cashu.Scalar
}

func (w *world) purse() *purse {
	return &purse{w: w, secrets: map[cashu.Point]string{}, factors: map[cashu.Point]cashu.Scalar{}}
}

func (p *purse) outputs(amounts ...cashu.Units) []cashu.BlindedMessage {
	p.w.t.Helper()
	var out []cashu.BlindedMessage
	for _, amount := range amounts {
		secret := client.NewSecret().Hex()
		var factor cashu.Scalar
		_, _ = rand.Read(factor[1:]) // below the order of the curve
		blinded, err := cashu.Blind([]byte(secret), factor)
		if err != nil {
			p.w.t.Fatal(err)
		}
		p.secrets[blinded], p.factors[blinded] = secret, factor
		out = append(out, cashu.BlindedMessage{Amount: amount, ID: p.w.keys.ID, B_: blinded})
	}
	return out
}

func (p *purse) blanks(n int) []cashu.BlindedMessage { return p.outputs(make([]cashu.Units, n)...) }

// coins checks and unblinds signatures.
func (p *purse) coins(outputs []cashu.BlindedMessage, signatures []cashu.BlindSignature) []cashu.Proof {
	p.w.t.Helper()
	if len(outputs) != len(signatures) {
		p.w.t.Fatalf("%d signatures for %d outputs", len(signatures), len(outputs))
	}
	var coins []cashu.Proof
	for i, s := range signatures {
		key, ok := p.w.keys.Keys.For(s.Amount)
		if !ok {
			p.w.t.Fatalf("no key for %d", s.Amount)
		}
		b := outputs[i].B_
		if err := s.VerifyDLEQ(key, b); err != nil {
			p.w.t.Fatal(err)
		}
		c, err := cashu.Unblind(s.C_, p.factors[b], key)
		if err != nil {
			p.w.t.Fatal(err)
		}
		coins = append(coins, cashu.Proof{Amount: s.Amount, ID: s.ID, Secret: p.secrets[b], C: c})
	}
	return coins
}

// issue is what an operator does to have coins: a quote locked to a key, minted with it.
func (p *purse) issue(units int64) []cashu.Proof {
	p.w.t.Helper()
	ctx := context.Background()
	var private cashu.Scalar
	_, _ = rand.Read(private[1:])
	pubkey, err := publicKey(private)
	if err != nil {
		p.w.t.Fatal(err)
	}
	q, err := p.w.client(operatorToken).Issue(ctx, newKey(), client.IssueRequest{Units: units, Pubkey: pubkey})
	if err != nil {
		p.w.t.Fatal(err)
	}
	r := cashu.MintRequest{Quote: q.Quote, Outputs: p.outputs(cashu.Split(cashu.Units(units))...)}
	if err := r.Sign(private); err != nil {
		p.w.t.Fatal(err)
	}
	answer, err := p.w.c.Mint(ctx, r)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return p.coins(r.Outputs, answer.Signatures)
}

func newKey() string { return ulid.Make().String() }

func worth(coins []cashu.Proof) int64 {
	var sum int64
	for _, c := range coins {
		sum += int64(c.Amount)
	}
	return sum
}

// runJob places a job's first task, lets it run and ends it.
func (w *world) runJob(job uint64, ran funding.Millis) {
	w.t.Helper()
	w.runJobLeaving(job, ran, scheduler.Log{})
}

func (w *world) runJobLeaving(job uint64, ran funding.Millis, stdout scheduler.Log) {
	w.t.Helper()
	w.later(10)
	var placed machine.PlaceAnswer
	result := w.does(&machine.Place{Decisions: []machine.Placement{{Job: scheduler.JobID(job), Nodes: []scheduler.NodeID{1}}}})
	if err := machine.DecodeAnswer(result.Answer, &placed); err != nil || len(placed.Runs) != 1 {
		w.t.Fatalf("place: %+v, %v", placed, err)
	}
	w.later(10)
	start := w.at
	w.reports(machine.RunReport{Run: placed.Runs[0], Started: &start})
	w.later(ran)
	w.reports(machine.RunReport{Run: placed.Runs[0], Ended: &machine.End{
		At: w.at, Reason: scheduler.ReasonExited, CPUMillis: 1234, PeakBytes: 4096, Stdout: stdout,
	}})
}

func (w *world) reports(r machine.RunReport) {
	w.t.Helper()
	var answer machine.ReportAnswer
	result := w.does(&machine.Report{Runs: []machine.RunReport{r}})
	if err := machine.DecodeAnswer(result.Answer, &answer); err != nil || len(answer.Refused) > 0 {
		w.t.Fatalf("report: %+v, %v", answer, err)
	}
}
