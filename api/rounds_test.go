package api_test

import (
	"context"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/coinop/coinop/api/client"
)

// eventsOf lists a job's events by kind.
func (w *world) eventsOf(job uint64, view string) map[string][]client.Event {
	w.t.Helper()
	kinds := map[string][]client.Event{}
	if err := w.c.Events(context.Background(), client.EventQuery{Job: job, View: view}, func(e client.Event) error {
		kinds[e.Kind] = append(kinds[e.Kind], e)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return kinds
}

func TestAJobsEventsTellWhatOthersPaidIn(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	mine, other := client.NewSecret(), client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(mine)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(other))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Deposit(ctx, answer.FundID, newKey(), "", client.DepositRequest{
		Payment: client.Payment{Pay: 64, Inputs: p.issue(64), Blanks: p.blanks(7)},
	}); err != nil {
		t.Fatal(err)
	}
	if got := w.eventsOf(answer.Job, mine.Key("view"))["deposit"]; len(got) != 2 || got[1].AmountMicro != 64_000_000 {
		t.Fatalf("deposits: %+v", got)
	}
	if got := w.eventsOf(answer.Job, "")["deposit"]; len(got) != 2 || got[1].AmountMicro != 0 {
		t.Fatalf("a stranger sees %+v", got)
	}
	if got := w.eventsOf(answer.Job+1, "")["deposit"]; len(got) != 1 {
		t.Fatalf("another job's: %+v", got)
	}
}

func TestAnEndedRunTellsWhenItWasAndWhatItCost(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	w.runJob(answer.Job, 5000)
	job, err := w.c.Job(ctx, answer.Job, secret.Key("view"))
	if err != nil || len(job.Private.Runs) != 1 {
		t.Fatalf("%+v, %v", job, err)
	}
	run := job.Private.Runs[0]
	if run.Placed == nil || run.Started == nil || run.Ended == nil || !run.Started.After(*run.Placed) || run.Ended.Sub(*run.Started).Milliseconds() != 5000 {
		t.Fatalf("%+v", run)
	}
	if run.OwedMicro != 6_250_000 { // 1.25 units for 5 s at one credit; what is less than a coin is the job's line
		t.Fatalf("the run has cost %d", run.OwedMicro)
	}
}

func TestTheOwnerCapsAJob(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	set := func(key, token, body string) (int, string) {
		req, err := http.NewRequest(http.MethodPut, w.http.URL+"/v1/jobs/1/cap", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		if token != "" {
			req.Header.Set(client.HeaderToken, token)
		}
		resp, raw := w.send(req)
		return resp.StatusCode, string(raw)
	}
	if status, raw := set(secret.Key("view"), "", `{"cap_others_micro":0}`); status != http.StatusForbidden {
		t.Fatalf("with the view key: %d %s", status, raw)
	}
	if status, raw := set("", operatorToken, `{"cap_others_micro":0}`); status/100 != 4 {
		t.Fatalf("what others may add is the owner's to say: %d %s", status, raw)
	}
	if status, raw := set(secret.Key("control"), "", `{"cap_others_micro":-1}`); status != http.StatusUnprocessableEntity || !strings.Contains(raw, "cap_others_micro") {
		t.Fatalf("%d %s", status, raw)
	}
	if status, raw := set(secret.Key("control"), "", `{"cap_others_micro":10000000,"max_total_micro":300000000}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, raw)
	}
	_, err = w.c.Deposit(ctx, answer.FundID, newKey(), "", client.DepositRequest{
		Payment: client.Payment{Pay: 64, Inputs: p.issue(64), Blanks: p.blanks(7)},
	})
	if err == nil {
		t.Fatal("others may add more than the owner's cap")
	}
	job, err := w.c.Job(ctx, answer.Job, secret.Key("view"))
	if err != nil || job.Private.MaxTotalMicro != 300_000_000 || job.Private.Pot.CapOthersMicro == nil || *job.Private.Pot.CapOthersMicro != 10_000_000 {
		t.Fatalf("%+v, %v", job.Private, err)
	}
}

func TestTotalsAddUpForAnybody(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(client.NewSecret())))
	if err != nil {
		t.Fatal(err)
	}
	w.runJob(answer.Job, 5000)
	totals, err := w.c.Totals(ctx)
	if err != nil || totals.Unit != "credit" || totals.Index == 0 {
		t.Fatalf("%+v, %v", totals, err)
	}
	sum := new(big.Int)
	for kind, text := range totals.Accounts {
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			t.Fatalf("%s is %q", kind, text)
		}
		if strings.HasPrefix(kind, "asset") || strings.HasPrefix(kind, "expense") {
			n.Neg(n)
		}
		sum.Add(sum, n)
	}
	if sum.Sign() != 0 {
		t.Errorf("the books are off by %s: %v", sum, totals.Accounts)
	}
}
