package api_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
)

// order is a job of a minute on one CPU: 1.25 units × 60 s × a bid of 2 = 150 credits.
func order(secret client.Secret) client.SubmitRequest {
	return client.SubmitRequest{
		Job:  client.JobSpec{Name: "hello", Command: []string{"echo", "hello"}, TimeMs: 60_000, BidMicro: 2_000_000},
		Keys: secret.Keys(),
	}
}

// paid adds coins: 150 for the job, the rest back at once, and blanks for the change.
func paid(p *purse, coins []cashu.Proof, r client.SubmitRequest) client.SubmitRequest {
	r.Pay, r.Inputs = 150, coins
	r.Outputs = p.outputs(cashu.Split(cashu.Units(worth(coins) - 150))...)
	r.Blanks = p.blanks(8)
	return r
}

func TestAJobPaysBySecondsAndGetsItsChange(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	request := paid(p, p.issue(1000), order(secret))
	answer, err := w.c.Submit(ctx, newKey(), "", request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.State != "queued" || answer.HeldMicro != 150_000_000 || answer.WeightMilli != 1250 || answer.FundID != secret.Key("fund") {
		t.Fatalf("answer: %+v", answer)
	}
	if back := p.coins(request.Outputs, answer.Signatures); worth(back) != 850 {
		t.Fatalf("%d came back at once, not 850", worth(back))
	}
	w.runJob(answer.Job, 10_000)

	job, err := w.c.WaitJob(ctx, answer.Job, secret.Key("view"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if job.State != "done" || job.ExitCode == nil || *job.ExitCode != 0 || job.Private == nil || job.Private.Name != "hello" {
		t.Fatalf("job: %+v", job)
	}
	receipt, err := w.c.Receipt(ctx, answer.Job, secret.Key("view"))
	if err != nil {
		t.Fatal(err)
	}
	var lines int64
	for _, l := range receipt.Lines {
		lines += l.AmountMicro
	}
	if !receipt.Final || receipt.DepositedMicro != 150_000_000 || lines != receipt.ChargedMicro ||
		receipt.DepositedMicro != receipt.ChargedMicro+receipt.RefundedMicro || receipt.BilledMs != 10_000 {
		t.Fatalf("receipt: %+v", receipt)
	}
	change, err := w.c.Change(ctx, answer.Job, secret.Key("view"))
	if err != nil {
		t.Fatal(err)
	}
	coins := p.coins(change.Outputs, change.Signatures)
	if change.State != "settled" || worth(coins)*1_000_000 != receipt.RefundedMicro {
		t.Fatalf("change of %d, refunded %d", worth(coins), receipt.RefundedMicro)
	}
	// Anyone can spend it.
	if _, err := w.c.Swap(ctx, cashu.SwapRequest{Inputs: coins, Outputs: p.outputs(cashu.Split(cashu.Units(worth(coins)))...)}); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameRequestHasTheSameAnswer(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	request := paid(p, p.issue(300), order(client.NewSecret()))
	key := newKey()
	first, err := w.c.Submit(ctx, key, "", request)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.c.Submit(ctx, key, "", request)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, again) {
		t.Fatalf("first %+v, again %+v", first, again)
	}
}

func TestAnAnswerThatWasLostIsAskedForAgain(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	request := paid(p, p.issue(300), order(client.NewSecret()))
	w.fault = consensus.ErrUnknown // the entry is carried out, the answer never comes
	answer, err := w.c.Submit(ctx, newKey(), "", request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Job != 1 || w.View().JobCount() != 1 {
		t.Fatalf("job %d of %d", answer.Job, w.View().JobCount())
	}
}

func TestWhatIsPrivateNeedsTheViewKey(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	public, err := w.c.Job(ctx, answer.Job, "")
	if err != nil || public.Private != nil || public.BidMicro != 2_000_000 {
		t.Fatalf("public: %+v, %v", public, err)
	}
	_, err = w.c.Job(ctx, answer.Job, client.NewSecret().Key("view"))
	wantProblem(t, err, http.StatusForbidden, "key_wrong")
	_, err = w.c.Receipt(ctx, answer.Job, "")
	wantProblem(t, err, http.StatusUnauthorized, "key_missing")
	_, err = w.c.Receipt(ctx, answer.Job, secret.Key("spend"))
	wantProblem(t, err, http.StatusForbidden, "key_wrong")
	_, err = w.c.Cancel(ctx, answer.Job, secret.Key("view"), "")
	wantProblem(t, err, http.StatusForbidden, "key_wrong")
	if job, err := w.c.Cancel(ctx, answer.Job, secret.Key("control"), "INT"); err != nil || job.State != "done" || job.Reason != "cancelled" {
		t.Fatalf("cancelled: %+v, %v", job, err)
	}
}

func TestHoldKeepsAJobFromStarting(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	if job, err := w.c.Hold(ctx, answer.Job, secret.Key("control")); err != nil || !job.OnHold {
		t.Fatalf("held: %+v, %v", job, err)
	}
	if job, err := w.c.Release(ctx, answer.Job, secret.Key("control")); err != nil || job.OnHold {
		t.Fatalf("released: %+v, %v", job, err)
	}
}

func TestThePotPaysForManyJobs(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	pot := client.NewSecret()
	coins := p.issue(1000)
	if _, err := w.c.CreatePot(ctx, newKey(), client.PotRequest{
		Keys: pot.Keys(), Payment: client.Payment{Pay: worth(coins), Inputs: coins, Blanks: p.blanks(10)},
	}); err != nil {
		t.Fatal(err)
	}
	submit := func(key, spend string) (client.SubmitAnswer, error) {
		r := order(client.NewSecret())
		r.Pot = pot.Key("fund")
		return w.c.Submit(ctx, key, spend, r)
	}
	_, err := submit(newKey(), pot.Key("view"))
	wantProblem(t, err, http.StatusForbidden, "key_wrong")
	_, err = submit(newKey(), "")
	wantProblem(t, err, http.StatusUnauthorized, "key_missing")
	_, err = submit("", pot.Key("spend"))
	wantProblem(t, err, http.StatusBadRequest, "body")
	key := newKey()
	if _, err := submit(key, pot.Key("spend")); err != nil {
		t.Fatal(err)
	}
	_, err = submit(key, pot.Key("spend")) // other keys: another request
	wantProblem(t, err, http.StatusConflict, "request_conflict")
	shown, err := w.c.Pot(ctx, pot.Key("fund"), pot.Key("view"))
	if err != nil || shown.HeldMicro != 150_000_000 || shown.FreeMicro != 850_000_000 || len(shown.Deposits) != 1 {
		t.Fatalf("pot: %+v, %v", shown, err)
	}
	if public, err := w.c.Pot(ctx, pot.Key("fund"), ""); err != nil || public.FreeMicro != 0 || public.State != "open" {
		t.Fatalf("public: %+v, %v", public, err)
	}
	// Someone else, who knows only the fund id, adds to it.
	more := p.issue(64)
	given, err := w.c.Deposit(ctx, pot.Key("fund"), newKey(), "", client.DepositRequest{
		Payment: client.Payment{Pay: 64, Inputs: more, Blanks: p.blanks(7)},
	})
	if err != nil || given.Deposit != 2 {
		t.Fatalf("deposit: %+v, %v", given, err)
	}
	if closed, err := w.c.ClosePot(ctx, pot.Key("fund"), pot.Key("control")); err != nil || closed.State != "closing" {
		t.Fatalf("closed: %+v, %v", closed, err)
	}
}

func TestTheQueueListsTheBestFirst(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	for _, bid := range []int64{1_000_000, 2_000_000, 1_500_000} {
		r := order(client.NewSecret())
		r.Job.BidMicro = bid
		if _, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(200), r)); err != nil {
			t.Fatal(err)
		}
	}
	var order []uint64
	after := ""
	for range 5 {
		list, err := w.c.Jobs(ctx, client.JobFilter{Limit: 2, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list.Jobs {
			order = append(order, j.Job)
		}
		if after = list.Next; after == "" {
			break
		}
	}
	if !reflect.DeepEqual(order, []uint64{2, 3, 1}) {
		t.Fatalf("order %v", order)
	}
	q, err := w.c.Quote(ctx, client.QuoteRequest{Job: client.JobSpec{TimeMs: 60_000, BidMicro: 1_500_000}})
	if err != nil {
		t.Fatal(err)
	}
	if q.Ahead != 2 || q.PayUnits != 113 || !q.Fits || q.StartsNow || len(q.Ladder) != 2 || q.Ladder[1].Ahead != 0 {
		t.Fatalf("quote: %+v", q)
	}
}

func wantProblem(t *testing.T, err error, status int, code string) {
	t.Helper()
	var p *client.Problem
	if !errors.As(err, &p) {
		t.Fatalf("no problem but %v, want %d %s", err, status, code)
	}
	if p.Status != status || p.Code != code || p.Detail == "" || p.Do == "" {
		t.Fatalf("%d %s: %v; want %d %s", p.Status, p.Code, p, status, code)
	}
}

func TestAJobWhoseDriverNoMachineHasIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	pool, ok := w.View().PoolByName("default")
	if !ok {
		t.Fatal("there is no default pool")
	}
	wide := *pool
	wide.Drivers = []string{"process", "container"}
	w.does(&machine.PoolSet{Pool: wide})
	p := w.purse()
	r := paid(p, p.issue(300), order(client.NewSecret()))
	r.Job.Image = "busybox"
	_, err := w.c.Submit(t.Context(), newKey(), "", r)
	wantProblem(t, err, 422, "driver_refused")
	if !strings.Contains(err.Error(), `no node of pool default has the driver "container"`) {
		t.Error(err)
	}
}

func TestAMachineThatHasNotToldWhatItHasMayFit(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	r := paid(p, p.issue(300), order(client.NewSecret()))
	r.Job.CPUMilli, r.Job.BidMicro, r.Job.TimeMs, r.Job.MemoryBytes = 64_000, 0, 1000, 1<<20
	_, err := w.c.Submit(t.Context(), newKey(), "", r)
	wantProblem(t, err, 422, "too_big")
	join := machine.TokenHash{20}
	w.does(&machine.Token{Hash: join, Role: machine.RoleJoinExecutor, Until: w.at + 1000})
	w.does(&machine.NodeJoin{Token: join, Name: "n2", Pool: "default", Cert: [32]byte{30}})
	if _, err := w.c.Submit(t.Context(), newKey(), "", r); err != nil {
		t.Error(err)
	}
}
