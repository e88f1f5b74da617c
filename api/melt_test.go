package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// meltText is a job of a minute on one CPU: 1.25 units × 60 s × a bid of 2 = 150 credits.
const meltText = `{"job":{"name":"hello","command":["echo","hello"],"time_ms":60000,"bid_micro":2000000}}`

// melted is what the mint says of a quote.
type melted struct {
	cashu.MeltQuote
	Job  uint64 `json:"job"`
	Keys *struct {
		Control, View, Claim, Fund string
	} `json:"job_keys"`
	Claims []client.Refund `json:"claims"`
	// Of a refusal:
	Code   cashu.Code `json:"code"`
	Detail string     `json:"detail"`
}

func (w *world) mint(path string, body any) (int, melted) {
	w.t.Helper()
	var resp *http.Response
	var raw []byte
	if body == nil {
		resp, raw = w.get("/mint/v1/"+path, nil)
	} else {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		resp, raw = w.post("/mint/v1/"+path, text, nil)
	}
	var m melted
	if err := json.Unmarshal(raw, &m); err != nil {
		w.t.Fatalf("%s: %v", raw, err)
	}
	return resp.StatusCode, m
}

func (w *world) meltQuote(text string) melted {
	w.t.Helper()
	status, q := w.mint("melt/quote/job", cashu.MeltQuoteRequest{Request: text, Unit: "credit"})
	if status != http.StatusOK {
		w.t.Fatalf("%d %s", status, q.Detail)
	}
	return q
}

// meltOf is what a stock wallet sends: coins for the quote, and blanks by its own count.
func (p *purse) meltOf(q melted, coins []cashu.Proof) cashu.MeltRequest {
	return cashu.MeltRequest{
		Quote: q.Quote, Inputs: coins, PreferAsync: true,
		Outputs: p.blanks(cashu.BlanksOfReserve(cashu.Units(worth(coins)) - q.Amount)),
	}
}

func TestAnyWalletPaysForAJobByMelting(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	if q.State != cashu.MeltUnpaid || q.Amount+q.FeeReserve != 150 || q.Request != meltText || q.Unit != "credit" || q.Keys == nil {
		t.Fatalf("quote: %+v", q)
	}
	if status, again := w.mint("melt/quote/job/"+q.Quote, nil); status != http.StatusOK || !reflect.DeepEqual(again, q) {
		t.Fatalf("asked for again: %d %+v", status, again)
	}
	if w.View().JobCount() != 0 {
		t.Fatal("a quote made something")
	}
	request := p.meltOf(q, p.issue(150))
	status, pending := w.mint("melt/job", request)
	if status != http.StatusOK || pending.State != cashu.MeltPending || pending.Job != 1 || pending.Change != nil {
		t.Fatalf("%d %+v", status, pending)
	}
	if _, again := w.mint("melt/job", request); !reflect.DeepEqual(again, pending) || w.View().JobCount() != 1 {
		t.Fatalf("the same again: %+v, %d jobs", again, w.View().JobCount())
	}
	w.runJob(1, 10_000) // at a price of 1: 12.5 credits

	job, err := w.c.WaitJob(ctx, 1, q.Keys.View, 0)
	if err != nil || job.State != "done" || job.Private == nil || job.FundID != q.Keys.Fund {
		t.Fatalf("job: %+v, %v", job, err)
	}
	receipt, err := w.c.Receipt(ctx, 1, q.Keys.View)
	if err != nil || receipt.DepositedMicro != 150_000_000 {
		t.Fatalf("receipt: %+v, %v", receipt, err)
	}
	_, done := w.mint("melt/quote/job/"+q.Quote, nil)
	change := p.coins(request.Outputs[:len(done.Change)], done.Change)
	if done.State != cashu.MeltPaid || worth(change)*1_000_000 != receipt.RefundedMicro || worth(change) != 137 {
		t.Fatalf("%s, change of %d, refunded %d", done.State, worth(change), receipt.RefundedMicro)
	}
	if _, again := w.mint("melt/job", request); !reflect.DeepEqual(again, done) {
		t.Fatalf("the payment again: %+v", again)
	}
	if _, err := w.c.Swap(ctx, cashu.SwapRequest{Inputs: change, Outputs: p.outputs(cashu.Split(137)...)}); err != nil {
		t.Fatal(err)
	}
}

// The entry is carried out and its answer lost: the wallet is told to ask again, and has paid once.
func TestAMeltWhoseAnswerIsLostIsSentAgain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	request := p.meltOf(q, p.issue(150))
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	w.fault = consensus.ErrUnknown
	if resp, raw := w.post("/mint/v1/melt/job", body, nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(raw), "outcome_unknown") {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	if status, m := w.mint("melt/job", request); status != http.StatusOK || m.State != cashu.MeltPending || m.Job != 1 || w.View().JobCount() != 1 {
		t.Fatalf("again: %d %+v, %d jobs", status, m, w.View().JobCount())
	}
}

// A job that never ran gives all of it back, and one more blank than NUT-08 counts is not needed for that.
func TestWhatWasNeverUsedComesBackWhole(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	for _, pay := range []int64{1, 2, 3, 4, 5, 7, 63, 64, 65, 66, 127, 128, 129, 130, 1000, 1024} {
		p := w.purse()
		q := w.meltQuote(`{"pay":` + strconv.FormatInt(pay, 10) + `,"job":{"command":["true"],"cpu_milli":100,"memory_bytes":1048576,"time_ms":1000}}`)
		due := int64(q.Amount + q.FeeReserve)
		if due < pay || due > pay+5 {
			t.Errorf("a quote of %d for a pay of %d", due, pay)
		}
		request := p.meltOf(q, p.issue(due))
		status, m := w.mint("melt/job", request)
		if status != http.StatusOK {
			t.Errorf("%d: %s", due, m.Detail)
			continue
		}
		if _, err := w.c.Cancel(ctx, m.Job, q.Keys.Control, ""); err != nil {
			t.Fatal(err)
		}
		_, done := w.mint("melt/quote/job/"+q.Quote, nil)
		if back := worth(p.coins(request.Outputs[:len(done.Change)], done.Change)); done.State != cashu.MeltPaid || back != due {
			t.Errorf("%s: %d of %d came back", done.State, back, due)
		}
	}
}

func TestAMeltThatIsRefusedTakesNothing(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	coins, spent := p.issue(150), p.issue(256)
	if _, err := w.c.Swap(context.Background(), cashu.SwapRequest{Inputs: spent, Outputs: p.outputs(256)}); err != nil {
		t.Fatal(err)
	}
	forged := append([]cashu.Proof(nil), coins...)
	forged[0].C = forged[1].C
	before := w.balances()
	tampered := []byte(q.Quote)
	tampered[40]++
	for name, c := range map[string]struct {
		request cashu.MeltRequest
		code    cashu.Code
	}{
		"no coins":            {cashu.MeltRequest{Quote: q.Quote}, cashu.CodeMalformed},
		"too little":          {p.meltOf(q, coins[1:]), cashu.CodeUnbalanced},
		"forged":              {p.meltOf(q, forged), cashu.CodeProofInvalid},
		"spent":               {cashu.MeltRequest{Quote: q.Quote, Inputs: spent, Outputs: p.blanks(9)}, cashu.CodeSpent},
		"a tampered quote":    {p.meltOf(melted{MeltQuote: cashu.MeltQuote{Quote: string(tampered)}}, coins), cashu.CodeQuoteUnknown},
		"too few blanks":      {cashu.MeltRequest{Quote: q.Quote, Inputs: coins, Outputs: p.blanks(7)}, cashu.CodeBlanksTooFew},
		"blinding factors":    {p.meltOf(q, withFactor(coins)), cashu.CodeBlindingFactorKnown},
		"a blank twice":       {cashu.MeltRequest{Quote: q.Quote, Inputs: coins, Outputs: twice(p.blanks(8))}, cashu.CodeOutputsTwice},
		"another mint's coin": {p.meltOf(q, elsewhere(coins)), cashu.CodeKeysetUnknown},
	} {
		status, m := w.mint("melt/job", c.request)
		if status != http.StatusBadRequest || m.Code != c.code || m.Detail == "" {
			t.Errorf("%s: %d %d %s", name, status, m.Code, m.Detail)
		}
	}
	if status, m := w.mint("melt/bolt11", p.meltOf(q, coins)); status != http.StatusBadRequest || m.Code != cashu.CodeMalformed {
		t.Errorf("another method: %d %+v", status, m)
	}
	if after := w.balances(); !reflect.DeepEqual(before, after) || w.View().JobCount() != 0 {
		t.Fatalf("money moved: %v, then %v", before, after)
	}
	if status, m := w.mint("melt/job", p.meltOf(q, coins)); status != http.StatusOK || m.State != cashu.MeltPending {
		t.Fatalf("the good one: %d %+v", status, m)
	}
	other := p.meltOf(q, p.issue(150))
	if status, m := w.mint("melt/job", other); status != http.StatusBadRequest || m.Code != cashu.CodeQuotePending {
		t.Errorf("paid again while it goes on: %d %+v", status, m)
	}
	w.runJob(1, 1000)
	if status, m := w.mint("melt/job", other); status != http.StatusBadRequest || m.Code != cashu.CodeQuoteSettled {
		t.Errorf("paid again when it has ended: %d %+v", status, m)
	}
	if w.View().IsSpent(cashu.SpentKeyOf(other.Inputs[0].Y())) {
		t.Error("the second payment was taken")
	}
}

func withFactor(coins []cashu.Proof) []cashu.Proof {
	spoilt := append([]cashu.Proof(nil), coins...)
	one := cashu.Scalar{31: 1}
	spoilt[0].DLEQ = &cashu.DLEQ{E: one, S: one, R: &one}
	return spoilt
}

func elsewhere(coins []cashu.Proof) []cashu.Proof {
	spoilt := append([]cashu.Proof(nil), coins...)
	spoilt[0].ID = cashu.KeysetID("01" + strings.Repeat("ab", 32))
	return spoilt
}

func twice(blanks []cashu.BlindedMessage) []cashu.BlindedMessage {
	blanks[1] = blanks[0]
	return blanks
}

// Without blanks the change waits for the claim key.
func TestAMeltWithoutBlanksLeavesAClaim(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	if status, m := w.mint("melt/job", cashu.MeltRequest{Quote: q.Quote, Inputs: p.issue(150)}); status != http.StatusOK {
		t.Fatalf("%d %+v", status, m)
	}
	w.runJob(1, 10_000)
	_, done := w.mint("melt/quote/job/"+q.Quote, nil)
	if done.State != cashu.MeltPaid || len(done.Change) != 0 || len(done.Claims) != 1 || done.Claims[0].AmountUnits != 137 {
		t.Fatalf("%+v", done)
	}
	outputs := p.outputs(cashu.Split(137)...)
	signed, err := w.c.Claim(ctx, done.Claims[0].Refund, newKey(), q.Keys.Claim, client.ClaimRequest{Outputs: outputs})
	if err != nil || worth(p.coins(outputs, signed.Signatures)) != 137 {
		t.Fatalf("%+v, %v", signed, err)
	}
}

// What others put into the job's pot is no change of the payer's, whose wallet has no blanks for it.
func TestTheChangeOfAMeltIsItsPayersAlone(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	request := p.meltOf(q, p.issue(150))
	if status, m := w.mint("melt/job", request); status != http.StatusOK {
		t.Fatalf("%d %+v", status, m)
	}
	if _, err := w.c.Deposit(ctx, q.Keys.Fund, newKey(), "", client.DepositRequest{
		Payment: client.Payment{Pay: 64, Inputs: p.issue(64), Blanks: p.blanks(7)}, Claim: client.HashKey(q.Keys.Claim),
	}); err != nil {
		t.Fatal(err)
	}
	w.runJob(1, 10_000)
	_, done := w.mint("melt/quote/job/"+q.Quote, nil)
	if back := worth(p.coins(request.Outputs[:len(done.Change)], done.Change)); back != 137 {
		t.Fatalf("%d came back of 150", back)
	}
}

func TestTheMintSaysThatItMelts(t *testing.T) {
	w := newWorld(t, nil)
	_, raw := w.get("/mint/v1/info", nil)
	var info cashu.Info
	if err := json.Unmarshal(raw, &info); err != nil {
		t.Fatal(err)
	}
	melt, change := info.Nuts["5"], info.Nuts["8"]
	if len(melt.Methods) != 1 || melt.Methods[0].Method != "job" || melt.Methods[0].Unit != "credit" || melt.Disabled == nil || *melt.Disabled ||
		change.Supported == nil || !*change.Supported {
		t.Fatalf("%s", raw)
	}
	if !strings.Contains(string(raw), `"4":{"methods":[],"disabled":false}`) {
		t.Errorf("a wallet that counts the methods stumbles: %s", raw)
	}
}

// More than the quote asks for is deposited whole and comes back as change; coins that cost an input fee are worth less.
func TestMoreThanTheQuoteComesBackAsChange(t *testing.T) {
	ctx := context.Background()
	w, op := newKeysetWorld(t)
	fee := uint32(100)
	made, err := op.NewKeyset(ctx, client.KeysetNew{Number: 2, InputFeePPK: &fee, LifeMs: 86_400_000})
	if err != nil {
		t.Fatal(err)
	}
	p := w.purse()
	for i, c := range []struct{ coins, fee, back int64 }{{300, 0, 287}, {151, 1, 137}, {1000, 1, 986}} {
		if c.fee > 0 && w.keys.Number == 1 {
			set, err := mint.Define(mint.Epoch{Number: 1, Secret: mint.Secret{1}}, 2, "credit", fee, made.Expires.Unix())
			if err != nil {
				t.Fatal(err)
			}
			w.keys = set
		}
		q := w.meltQuote(meltText)
		request := p.meltOf(q, p.issue(c.coins))
		if status, m := w.mint("melt/job", request); status != http.StatusOK {
			t.Fatalf("%d: %d %+v", c.coins, status, m)
		}
		w.runJob(uint64(i)+1, 10_000)
		_, done := w.mint("melt/quote/job/"+q.Quote, nil)
		if back := worth(p.coins(request.Outputs[:len(done.Change)], done.Change)); back != c.back {
			t.Errorf("of %d with a fee of %d came %d back, not %d", c.coins, c.fee, back, c.back)
		}
	}
}

// A wallet that overpays by just so much makes one blank too few for what the machine wants, and is told what to do.
func TestAnUnluckySumIsRefusedWithAWayOut(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	status, m := w.mint("melt/job", p.meltOf(q, p.issue(256)))
	if status != http.StatusBadRequest || m.Code != cashu.CodeBlanksTooFew || !strings.Contains(m.Detail, "pay 150 exactly") {
		t.Fatalf("%d %+v", status, m)
	}
}

// A trusted pool wants a submit token with the payment, whoever asked for the quote.
func TestAMeltNeedsTheTokenOfItsPool(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	token := client.NewToken("submit")
	if _, err := w.client(operatorToken).CreateToken(ctx, client.TokenRequest{Role: "submit", SHA256: client.HashKey(token), Note: "lab"}); err != nil {
		t.Fatal(err)
	}
	q := w.meltQuote(meltText)
	body, err := json.Marshal(p.meltOf(q, p.issue(150)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		headers map[string]string
		status  int
		says    string
	}{
		{map[string]string{"Coinop-Token": "coinop-submit-guess"}, http.StatusBadRequest, "80009"},
		{map[string]string{"Origin": "https://wallet.example"}, http.StatusBadRequest, "80009"}, // a page is no loopback peer
		{map[string]string{"Coinop-Token": token, "Origin": "https://wallet.example"}, http.StatusForbidden, "origin"},
		{map[string]string{"Coinop-Token": token}, http.StatusOK, "PENDING"},
	} {
		resp, raw := w.post("/mint/v1/melt/job", body, c.headers)
		if resp.StatusCode != c.status || !strings.Contains(string(raw), c.says) {
			t.Errorf("%v: %s %s", c.headers, resp.Status, raw)
		}
	}
}

// What a week has deleted is found by the payment sent again: its blanks are all that is needed. The quote alone says
// that it does not know.
func TestAForgottenQuoteIsHonest(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	q := w.meltQuote(meltText)
	request := p.meltOf(q, p.issue(150))
	if status, m := w.mint("melt/job", request); status != http.StatusOK {
		t.Fatalf("%d %+v", status, m)
	}
	w.runJob(1, 10_000)
	w.later(machine.Retention + 1)
	w.does(&machine.Forget{Jobs: []scheduler.JobID{1}})
	if _, ok := w.View().Job(1); ok {
		t.Fatal("the job is not forgotten")
	}
	if status, m := w.mint("melt/quote/job/"+q.Quote, nil); status != http.StatusBadRequest || m.Code != cashu.CodeQuoteExpired ||
		!strings.Contains(m.Detail, "restore") {
		t.Errorf("the quote: %d %+v", status, m)
	}
	_, again := w.mint("melt/job", request)
	if back := worth(p.coins(request.Outputs[:len(again.Change)], again.Change)); again.State != cashu.MeltPaid || back != 137 {
		t.Errorf("the payment again: %+v", again)
	}
	if _, m := w.mint("melt/job", p.meltOf(q, p.issue(150))); m.Code != cashu.CodeQuoteExpired {
		t.Errorf("other coins: %+v", m)
	}
}
