package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
)

// unpaid is a job without money, as a body.
func unpaid(t *testing.T, secret client.Secret, change func(*client.SubmitRequest)) []byte {
	t.Helper()
	r := order(secret)
	if change != nil {
		change(&r)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var authParam = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

// challengeOf reads the challenge of a 402.
func challengeOf(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	text, ok := strings.CutPrefix(h.Get("WWW-Authenticate"), "Payment ")
	if !ok {
		t.Fatalf("no challenge in %v", h)
	}
	c := map[string]string{}
	for _, m := range authParam.FindAllStringSubmatch(text, -1) {
		c[m[1]] = m[2]
	}
	return c
}

// answerTo is the header that pays.
func answerTo(t *testing.T, c map[string]string, token string) map[string]string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"challenge": c, "payload": map[string]string{"token": token}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Authorization": "Payment " + base64.RawURLEncoding.EncodeToString(raw)}
}

func tokenOf(t *testing.T, coins []cashu.Proof) string {
	t.Helper()
	token, err := cashu.EncodeToken(cashu.Token{Mint: "http://mint.example/mint", Unit: "credit", Proofs: coins})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAChallengeIsAnsweredInTheHeader(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	body := unpaid(t, secret, nil)
	resp, raw := w.post("/v1/jobs", body, nil)
	if resp.StatusCode != http.StatusPaymentRequired || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	c := challengeOf(t, resp.Header)
	sum := sha256.Sum256(body)
	if c["realm"] != "coinop" || c["method"] != "cashu" || c["intent"] != "charge" || c["id"] == "" ||
		c["digest"] != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		t.Fatalf("challenge %v", c)
	}
	asked, err := base64.RawURLEncoding.DecodeString(c["request"])
	if err != nil {
		t.Fatal(err)
	}
	creq := resp.Header.Get("X-Cashu")
	if string(asked) != `{"amount":"150","currency":"credit","methodDetails":{"paymentRequest":"`+creq+`"}}` {
		t.Errorf("asked for %s", asked)
	}
	if r, err := cashu.DecodePaymentRequest(creq); err != nil || r.Amount != 150 || r.SingleUse == nil || !*r.SingleUse || len(r.Mints) != 1 {
		t.Errorf("payment request %+v, %v", r, err)
	}
	header := answerTo(t, c, tokenOf(t, p.issue(150)))
	resp, raw = w.post("/v1/jobs", body, header)
	var answer client.SubmitAnswer
	if err := json.Unmarshal(raw, &answer); err != nil || resp.StatusCode != http.StatusCreated || answer.HeldMicro != 150_000_000 {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	receipt, err := base64.RawURLEncoding.DecodeString(resp.Header.Get("Payment-Receipt"))
	if err != nil || !regexp.MustCompile(`^{"challengeId":"`+c["id"]+`","method":"cashu","reference":"1","status":"success","timestamp":"[-0-9T:]+Z"}$`).Match(receipt) {
		t.Fatalf("receipt %s, %v", receipt, err)
	}
	// The answer was lost: the same again, even when the challenge has expired, is no second job.
	again, rawAgain := w.post("/v1/jobs", body, header)
	if again.StatusCode != http.StatusCreated || string(rawAgain) != string(raw) || again.Header.Get("Payment-Receipt") != resp.Header.Get("Payment-Receipt") {
		t.Fatalf("again: %s %s", again.Status, rawAgain)
	}
	// Without blanks the change waits for the claim key in the body.
	w.runJob(1, 10_000)
	change, err := w.c.Change(ctx, 1, secret.Key("view"))
	if err != nil || len(change.Claims) != 1 || change.Claims[0].AmountUnits != 137 {
		t.Fatalf("change: %+v, %v", change, err)
	}
}

// Outputs and blanks may come in the body; the coins are then worth more than the job needs.
func TestAHeaderPaymentMayHaveItsChangeInTheBody(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	outputs, blanks := p.outputs(cashu.Split(50)...), p.blanks(8)
	secret := client.NewSecret()
	body := unpaid(t, secret, func(r *client.SubmitRequest) { r.Outputs, r.Blanks = outputs, blanks })
	resp, raw := w.post("/v1/jobs", body, nil)
	if resp.StatusCode != http.StatusPaymentRequired {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	c := challengeOf(t, resp.Header)
	resp, raw = w.post("/v1/jobs", body, answerTo(t, c, tokenOf(t, p.issue(200))))
	var answer client.SubmitAnswer
	if err := json.Unmarshal(raw, &answer); err != nil || resp.StatusCode != http.StatusCreated || worth(p.coins(outputs, answer.Signatures)) != 50 {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	w.runJob(1, 10_000)
	change, err := w.c.Change(context.Background(), 1, secret.Key("view"))
	if err != nil || worth(p.coins(change.Outputs, change.Signatures)) != 137 {
		t.Fatalf("change: %+v, %v", change, err)
	}
}

func TestAHeaderPaymentThatIsWrongIs402AndTakesNothing(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	body := unpaid(t, secret, nil)
	resp, _ := w.post("/v1/jobs", body, nil)
	c := challengeOf(t, resp.Header)
	coins, spent := p.issue(150), p.issue(256)
	if _, err := w.c.Swap(context.Background(), cashu.SwapRequest{Inputs: spent, Outputs: p.outputs(256)}); err != nil {
		t.Fatal(err)
	}
	forged := append([]cashu.Proof(nil), coins...)
	forged[0].C = forged[1].C
	other := func(name, value string) map[string]string {
		changed := map[string]string{}
		for k, v := range c {
			changed[k] = v
		}
		changed[name] = value
		return changed
	}
	before := w.balances()
	good := tokenOf(t, coins)
	for name, try := range map[string]struct {
		body   []byte
		header map[string]string
		code   string
	}{
		"another body":         {unpaid(t, client.NewSecret(), nil), answerTo(t, c, good), "payment_invalid"},
		"a tampered id":        {body, answerTo(t, other("id", "x"+c["id"][1:]+"x"), good), "payment_invalid"},
		"a tampered request":   {body, answerTo(t, other("request", "e30"), good), "payment_invalid"},
		"a tampered expiry":    {body, answerTo(t, other("expires", "2199-01-01T00:00:00Z"), good), "payment_invalid"},
		"a tampered digest":    {body, answerTo(t, other("digest", "sha-256=:AA==:"), good), "payment_invalid"},
		"an opaque part":       {body, answerTo(t, other("opaque", "e30"), good), "payment_invalid"},
		"no token":             {body, answerTo(t, c, ""), "payment_invalid"},
		"no credential":        {body, map[string]string{"Authorization": "Payment !"}, "payment_invalid"},
		"no JSON":              {body, map[string]string{"Authorization": "payment AAAA"}, "payment_invalid"},
		"too little":           {body, answerTo(t, c, tokenOf(t, coins[1:])), "money_short"},
		"forged":               {body, answerTo(t, c, tokenOf(t, forged)), "coins_forged"},
		"spent":                {body, answerTo(t, c, tokenOf(t, spent)), "coins_spent"},
		"of another mint":      {body, answerTo(t, c, tokenOf(t, elsewhere(coins))), "keyset_unknown"},
		"with blinding factor": {body, answerTo(t, c, tokenOf(t, withFactor(coins))), "coins_refused"},
	} {
		resp, raw := w.post("/v1/jobs", try.body, try.header)
		var problem client.Problem
		if err := json.Unmarshal(raw, &problem); err != nil || resp.StatusCode != http.StatusPaymentRequired || problem.Code != try.code ||
			problem.Status != http.StatusPaymentRequired || problem.Quote == nil || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %s", name, resp.Status, raw)
			continue
		}
		if fresh := challengeOf(t, resp.Header); fresh["id"] == "" {
			t.Errorf("%s: no fresh challenge", name)
		}
		if resp.Header.Get("Payment-Receipt") != "" {
			t.Errorf("%s: it has a receipt", name)
		}
	}
	large := answerTo(t, c, strings.Repeat("x", 9000))
	if resp, raw := w.post("/v1/jobs", body, large); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge || !strings.Contains(string(raw), "body") {
		t.Errorf("a large header: %s %s", resp.Status, raw)
	}
	if after := w.balances(); !reflect.DeepEqual(before, after) || w.View().JobCount() != 0 {
		t.Fatalf("money moved: %v, then %v", before, after)
	}
	if resp, raw := w.post("/v1/jobs", body, answerTo(t, c, good)); resp.StatusCode != http.StatusCreated {
		t.Fatalf("the good one: %s %s", resp.Status, raw)
	}
}

func TestAChallengeExpires(t *testing.T) {
	var late funding.Millis
	var w *world
	w = newWorld(t, func(c *api.Config) {
		c.Now = func() funding.Millis { return w.View().At() + late }
	})
	p := w.purse()
	body := unpaid(t, client.NewSecret(), nil)
	resp, _ := w.post("/v1/jobs", body, nil)
	header := answerTo(t, challengeOf(t, resp.Header), tokenOf(t, p.issue(150)))
	late = funding.Millis(time.Hour / time.Millisecond)
	if resp, raw := w.post("/v1/jobs", body, header); resp.StatusCode != http.StatusPaymentRequired || !strings.Contains(string(raw), "expired") {
		t.Fatalf("late: %s %s", resp.Status, raw)
	}
	late = 0
	if resp, raw := w.post("/v1/jobs", body, header); resp.StatusCode != http.StatusCreated {
		t.Fatalf("in time: %s %s", resp.Status, raw)
	}
	late = funding.Millis(time.Hour / time.Millisecond)
	if resp, raw := w.post("/v1/jobs", body, header); resp.StatusCode != http.StatusCreated {
		t.Fatalf("asked again late: %s %s", resp.Status, raw)
	}
}

// Any server can check a challenge that another one has made, since both have the mint's keys.
func TestAnotherServerTakesTheAnswer(t *testing.T) {
	w := newWorld(t, nil)
	other := newWorld(t, nil) // of the same keys
	p := other.purse()
	body := unpaid(t, client.NewSecret(), nil)
	resp, _ := w.post("/v1/jobs", body, nil)
	if resp, raw := other.post("/v1/jobs", body, answerTo(t, challengeOf(t, resp.Header), tokenOf(t, p.issue(150)))); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", resp.Status, raw)
	}
}

// Whoever pays and may not use the pool is told so by 403: another payment would not help.
func TestAPaymentDoesNotOpenATrustedPool(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	body := unpaid(t, client.NewSecret(), nil)
	resp, _ := w.post("/v1/jobs", body, nil)
	header := answerTo(t, challengeOf(t, resp.Header), tokenOf(t, p.issue(150)))
	header["Coinop-Token"] = "coinop-submit-guess"
	before := w.balances()
	resp, raw := w.post("/v1/jobs", body, header)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(raw), "token_unknown") || resp.Header.Get("WWW-Authenticate") != "" {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	if !reflect.DeepEqual(before, w.balances()) {
		t.Error("the coins were taken")
	}
}

// A body that names too little cannot be paid for as it stands, so it is not challenged.
func TestABodyThatNamesTooLittleIsNotChallenged(t *testing.T) {
	w := newWorld(t, nil)
	body := unpaid(t, client.NewSecret(), func(r *client.SubmitRequest) { r.Pay = 5 })
	resp, raw := w.post("/v1/jobs", body, nil)
	if resp.StatusCode != http.StatusPaymentRequired || resp.Header.Get("WWW-Authenticate") != "" || resp.Header.Get("X-Cashu") == "" {
		t.Fatalf("%s %s %v", resp.Status, raw, resp.Header)
	}
	body = unpaid(t, client.NewSecret(), func(r *client.SubmitRequest) { r.Pay = 200 })
	resp, _ = w.post("/v1/jobs", body, nil)
	p := w.purse()
	if resp, raw := w.post("/v1/jobs", body, answerTo(t, challengeOf(t, resp.Header), tokenOf(t, p.issue(200)))); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", resp.Status, raw)
	}
}
