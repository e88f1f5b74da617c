package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
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

func TestAQuoteThatCannotBeIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]struct {
		method, request, unit string
		code                  cashu.Code
		says                  string
	}{
		"another unit":       {"job", meltText, "sat", cashu.CodeUnitUnsupported, "credit"},
		"another method":     {"bolt11", "lnbc1", "sat", cashu.CodeMalformed, "job"},
		"no JSON":            {"job", "lnbc1", "credit", cashu.CodeJobRefused, "JSON"},
		"a typo":             {"job", `{"job":{"comand":["true"]}}`, "credit", cashu.CodeJobRefused, "comand"},
		"coins in it":        {"job", `{"job":{"command":["true"]},"inputs":[]}`, "credit", cashu.CodeJobRefused, "inputs"},
		"no command":         {"job", `{"job":{"time_ms":1000}}`, "credit", cashu.CodeJobRefused, "command"},
		"no such pool":       {"job", `{"job":{"pool":"x","command":["true"]}}`, "credit", cashu.CodeJobRefused, "default"},
		"below the floor":    {"job", `{"job":{"command":["true"],"bid_micro":1}}`, "credit", cashu.CodeJobRefused, "floor"},
		"too little to pay":  {"job", `{"pay":5,"job":{"command":["true"],"time_ms":60000,"bid_micro":2000000}}`, "credit", cashu.CodeJobRefused, "150"},
		"more than any node": {"job", `{"job":{"command":["true"],"cpu_milli":64000}}`, "credit", cashu.CodeJobRefused, "CPU"},
		"too long":           {"job", `{"job":{"command":["` + strings.Repeat("x", 5000) + `"]}}`, "credit", cashu.CodeJobRefused, "POST /v1/jobs"},
		"more than fits a pot": {"job", `{"job":{"command":["true"],"time_ms":604800000,"bid_micro":100000000000}}`,
			"credit", cashu.CodeJobRefused, "9000000000"},
		"a key that is none": {"job", `{"job":{"command":["true"]},"keys":{"control":"1"}}`, "credit", cashu.CodeJobRefused, "keys.control"},
	} {
		status, m := w.mint("melt/quote/"+c.method, cashu.MeltQuoteRequest{Request: c.request, Unit: c.unit})
		if status != http.StatusBadRequest || m.Code != c.code || !strings.Contains(m.Detail, c.says) {
			t.Errorf("%s: %d %d %s", name, status, m.Code, m.Detail)
		}
	}
	for _, id := range []string{"x", "AQ", strings.Repeat("A", 20_000)} {
		if status, m := w.mint("melt/quote/job/"+id, nil); status != http.StatusBadRequest || m.Code != cashu.CodeQuoteUnknown {
			t.Errorf("%.20s: %d %+v", id, status, m)
		}
	}
}

// What was agreed when the quote was made holds when it is paid, as long as the pool allows it.
func TestAQuoteExpires(t *testing.T) {
	var late funding.Millis
	var w *world
	w = newWorld(t, func(c *api.Config) {
		c.Now = func() funding.Millis { return w.View().At() + late }
	})
	p := w.purse()
	q := w.meltQuote(meltText)
	request := p.meltOf(q, p.issue(150))
	paid := w.meltQuote(meltText)
	first := p.meltOf(paid, p.issue(150))
	if status, m := w.mint("melt/job", first); status != http.StatusOK {
		t.Fatalf("%d %+v", status, m)
	}
	late = funding.Millis(2 * time.Hour / time.Millisecond)
	if status, m := w.mint("melt/job", request); status != http.StatusBadRequest || m.Code != cashu.CodeQuoteExpired {
		t.Errorf("paid late: %d %+v", status, m)
	}
	if status, m := w.mint("melt/quote/job/"+q.Quote, nil); status != http.StatusBadRequest || m.Code != cashu.CodeQuoteExpired {
		t.Errorf("asked late: %d %+v", status, m)
	}
	for _, path := range []string{"melt/job", "melt/quote/job/" + paid.Quote} {
		var body any
		if path == "melt/job" {
			body = first
		}
		if status, m := w.mint(path, body); status != http.StatusOK || m.State != cashu.MeltPending {
			t.Errorf("one that was paid in time: %d %+v", status, m)
		}
	}
}

// A payer may keep the job by a secret of its own; and nobody learns of a job by a quote that names its fund id.
func TestAQuoteMayNameItsKeys(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	text := func(k client.Keys) string {
		raw, err := json.Marshal(map[string]any{"keys": k, "job": json.RawMessage(`{"command":["true"],"time_ms":60000,"bid_micro":2000000}`)})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	q := w.meltQuote(text(secret.Keys()))
	request := p.meltOf(q, p.issue(150))
	status, m := w.mint("melt/job", request)
	if status != http.StatusOK || m.Keys != nil || m.Job != 1 {
		t.Fatalf("%d %+v", status, m)
	}
	if job, err := w.c.Cancel(ctx, 1, secret.Key("control"), ""); err != nil || job.State != "done" {
		t.Fatalf("%+v, %v", job, err)
	}
	spy := client.NewSecret().Keys()
	spy.Fund = secret.Key("fund")
	if seen := w.meltQuote(text(spy)); seen.State != cashu.MeltUnpaid || seen.Change != nil || seen.Job != 0 {
		t.Errorf("a stranger's quote sees the job: %+v", seen)
	}
	if _, m := w.mint("melt/job", p.meltOf(w.meltQuote(text(spy)), p.issue(150))); m.Code != cashu.CodeJobRefused || !strings.Contains(m.Detail, "fund id") {
		t.Errorf("and takes it over: %+v", m)
	}
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

func FuzzMeltQuoteID(f *testing.F) {
	good := api.MeltQuoteID(meltText, 1_800_000_000, 2_000_000, 60_000, 150)
	f.Add(good)
	f.Add("")
	f.Add(good[:len(good)-3])
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		f.Fatal(err)
	}
	raw[20] = 0xff
	f.Add(base64.RawURLEncoding.EncodeToString(raw))
	f.Fuzz(func(t *testing.T, id string) {
		for _, text := range []string{id, api.MeltQuoteID(id, 1, 2, 3, 4)} {
			again, ok := api.ReadMeltQuoteID(text)
			if ok && again != text {
				t.Fatalf("%q is read as %q", text, again)
			}
			if text != id && len(id) <= 4096 && !ok {
				t.Fatalf("what was written cannot be read: %q", id)
			}
		}
	})
}
