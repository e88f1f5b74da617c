package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
)

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

// No server keeps a quote, so any of them takes the payment.
func TestAnotherServerKnowsTheQuote(t *testing.T) {
	w, other := newWorld(t, nil), newWorld(t, nil)
	p := other.purse()
	q := w.meltQuote(meltText)
	if status, seen := other.mint("melt/quote/job/"+q.Quote, nil); status != http.StatusOK || !reflect.DeepEqual(seen, q) {
		t.Errorf("%d %+v", status, seen)
	}
	if status, m := other.mint("melt/job", p.meltOf(q, p.issue(150))); status != http.StatusOK || m.State != cashu.MeltPending {
		t.Errorf("%d %+v", status, m)
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

func FuzzPaymentCredential(f *testing.F) {
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"challenge":{"id":"x","realm":"coinop"},"payload":{"token":"cashuB"}}`)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if coins, err := api.ReadCredential(text); err == nil && coins == 0 {
			t.Fatal("a credential without coins was read")
		}
	})
}
