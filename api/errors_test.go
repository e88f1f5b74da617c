package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
)

// balances is all the money there is, so that a test can say that none of it has moved.
func (w *world) balances() map[string]string {
	w.t.Helper()
	totals, err := w.c.Totals(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return totals.Accounts
}

func TestWhatIsWrongIsSaidAndNothingIsSpent(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	coins := p.issue(300)
	spent := p.issue(256)
	if _, err := w.c.Swap(ctx, cashu.SwapRequest{Inputs: spent, Outputs: p.outputs(256)}); err != nil {
		t.Fatal(err)
	}
	waiting := p.blanks(8)
	first := paid(p, p.issue(300), order(client.NewSecret()))
	first.Blanks = waiting
	if _, err := w.c.Submit(ctx, newKey(), "", first); err != nil {
		t.Fatal(err)
	}
	otherKeyset := cashu.KeysetID("01" + strings.Repeat("ab", 32))
	for _, c := range []struct {
		name   string
		spoil  func(*client.SubmitRequest)
		status int
		code   string
	}{
		{"unknown pool", func(r *client.SubmitRequest) { r.Job.Pool = "gpus" }, 404, "pool_unknown"},
		{"more than any node has", func(r *client.SubmitRequest) {
			r.Job.CPUMilli, r.Job.BidMicro = 64_000, 0
			r.Job.TimeMs = 1000
			r.Job.MemoryBytes = 1 << 20
		}, 422, "too_big"},
		{"pay of zero", func(r *client.SubmitRequest) { r.Pay = 0 }, 422, "amount"},
		{"negative pay", func(r *client.SubmitRequest) { r.Pay = -5 }, 422, "amount"},
		{"pay beyond any pot", func(r *client.SubmitRequest) { r.Pay = 1 << 60 }, 422, "amount"},
		{"negative time", func(r *client.SubmitRequest) { r.Job.TimeMs = -1 }, 422, "invalid"},
		{"negative memory", func(r *client.SubmitRequest) { r.Job.MemoryBytes = -1 }, 422, "invalid"},
		{"bid below the floor", func(r *client.SubmitRequest) { r.Job.BidMicro = 10 }, 422, "bid_below_floor"},
		{"coins spent", func(r *client.SubmitRequest) { r.Inputs, r.Outputs = spent, p.outputs(2, 8, 32, 64) }, 409, "coins_spent"},
		{"forged coin", func(r *client.SubmitRequest) { r.Inputs = forged(coins) }, 422, "coins_forged"},
		{"another mint's coins", func(r *client.SubmitRequest) { r.Inputs[0].ID = otherKeyset }, 422, "keyset_unknown"},
		{"a coin twice", func(r *client.SubmitRequest) { r.Inputs = append(r.Inputs, r.Inputs[0]) }, 422, "coins_twice"},
		{"too few coins", func(r *client.SubmitRequest) { r.Inputs = r.Inputs[:1] }, 422, "unbalanced"},
		{"too little money", func(r *client.SubmitRequest) { r.Pay = 10 }, 402, "money_short"},
		{"NUT-10 secret", func(r *client.SubmitRequest) {
			r.Inputs[0].Secret = `["P2PK",{"nonce":"00","data":"02aa","tags":[]}]`
		}, 422, "coins_condition"},
		{"blanks too few", func(r *client.SubmitRequest) { r.Blanks = r.Blanks[:7] }, 422, "blanks_few"},
		{"blanks pending for another job", func(r *client.SubmitRequest) { r.Blanks = waiting }, 409, "output_used"},
		{"blanks signed before", func(r *client.SubmitRequest) { r.Blanks[0].B_ = first.Outputs[0].B_ }, 409, "output_used"},
		{"a blank twice", func(r *client.SubmitRequest) { r.Blanks[0] = r.Blanks[1] }, 422, "outputs_twice"},
		{"no command", func(r *client.SubmitRequest) { r.Job.Command = nil }, 422, "invalid"},
		{"an image for the driver process", func(r *client.SubmitRequest) { r.Job.Driver, r.Job.Image = "process", "busybox" }, 422, "invalid"},
		{"a container of no image", func(r *client.SubmitRequest) { r.Job.Driver = "container" }, 422, "invalid"},
		{"a .sif file", func(r *client.SubmitRequest) { r.Job.Image = "x.sif" }, 422, "invalid"},
		{"a driver that the pool has not", func(r *client.SubmitRequest) { r.Job.Image = "busybox" }, 422, "driver_refused"},
		{"a key that is none", func(r *client.SubmitRequest) { r.Keys.View = "xyz" }, 422, "invalid"},
		{"a pot that is not there", func(r *client.SubmitRequest) { r.Pot = client.NewSecret().Key("fund"); r.Payment = client.Payment{} }, 404, "pot_unknown"},
		{"no money at all", func(r *client.SubmitRequest) { r.Payment = client.Payment{} }, 402, "payment_required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.balances()
			r := paid(p, append([]cashu.Proof(nil), coins...), order(client.NewSecret()))
			c.spoil(&r)
			_, err := w.c.Submit(ctx, newKey(), "", r)
			wantProblem(t, err, c.status, c.code)
			if after := w.balances(); !reflect.DeepEqual(before, after) {
				t.Fatalf("money moved: %v, then %v", before, after)
			}
		})
	}
	// The coins are still good.
	if _, err := w.c.Submit(ctx, newKey(), "", paid(p, coins, order(client.NewSecret()))); err != nil {
		t.Fatal(err)
	}
}

// forged alters one coin's signature.
func forged(coins []cashu.Proof) []cashu.Proof {
	bad := append([]cashu.Proof(nil), coins...)
	bad[0].C = bad[1].C
	return bad
}

func TestTheQuoteComesWithThe402(t *testing.T) {
	w := newWorld(t, nil)
	body, err := json.Marshal(order(client.NewSecret()))
	if err != nil {
		t.Fatal(err)
	}
	resp, raw := w.post("/v1/jobs", body, nil)
	if resp.StatusCode != http.StatusPaymentRequired || resp.Header.Get("Content-Type") != "application/problem+json" ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	var p client.Problem
	if err := json.Unmarshal(raw, &p); err != nil || p.Quote == nil || p.Quote.PayUnits != 150 {
		t.Fatalf("%s, %v", raw, err)
	}
	asked, err := cashu.DecodePaymentRequest(resp.Header.Get("X-Cashu"))
	if err != nil || asked.Amount != 150 || asked.Unit != "credit" || len(asked.Mints) != 1 {
		t.Fatalf("X-Cashu %+v, %v", asked, err)
	}
}

func (w *world) post(path string, body []byte, headers map[string]string) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.http.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, raw
}

func TestACommandNeedsAWebSocket(t *testing.T) {
	w := newWorld(t, nil)
	resp, err := http.Get(w.http.URL + "/v1/jobs/1/exec?command=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestBodiesThatAreNone(t *testing.T) {
	w := newWorld(t, nil)
	for _, body := range []string{
		``, `{`, `[]`, `{"job":{"comand":["x"]}}`, `{"pay":1e99}`, `{"pay":"1"}`, `{}{}`, `{"inputs":[{"amount":-1}]}`, `{"inputs":[{"C":"00"}]}`,
	} {
		resp, raw := w.post("/v1/jobs", []byte(body), nil)
		var p client.Problem
		if err := json.Unmarshal(raw, &p); err != nil || resp.StatusCode < 400 || resp.StatusCode > 499 || p.Do == "" {
			t.Errorf("%s: %s %s", body, resp.Status, raw)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	good, err := json.Marshal(paid(w.purse(), w.purse().issue(300), order(client.NewSecret())))
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		bad := append([]byte(nil), good...)
		bad[random.IntN(len(bad))] = byte(random.IntN(256))
		if resp, raw := w.post("/v1/jobs", bad[:random.IntN(len(bad))], nil); resp.StatusCode >= 500 {
			t.Fatalf("%s: %s\n%s", resp.Status, raw, bad)
		}
	}
}

func TestTooLargeABody(t *testing.T) {
	w := newWorld(t, nil)
	resp, raw := w.post("/v1/jobs", bytes.Repeat([]byte(" "), 2<<20), nil)
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(raw), `"too_large"`) {
		t.Fatalf("%s %s", resp.Status, raw)
	}
}

// TestEveryCodeHasARow reads the machine's list, so that a new code cannot be forgotten here.
func TestEveryCodeHasARow(t *testing.T) {
	codes := codesOf(t, "../consensus/machine/refusals.go")
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		if status, do := api.RowOf(code); code != "ok" && (status < 400 || do == "") {
			t.Errorf("code %s has no row", code)
		}
	}
	if status, _ := api.RowOf("planted"); status != 0 {
		t.Error("a code that nobody has listed has a row")
	}
}

func codesOf(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		if text, ok := spec.Values[0].(*ast.BasicLit); ok {
			if code, err := strconv.Unquote(text.Value); err == nil {
				codes = append(codes, code)
			}
		}
		return true
	})
	return codes
}

func TestTheDocumentIsFresh(t *testing.T) {
	w := newWorld(t, nil)
	made, err := w.api.Document()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, kept) {
		t.Fatal("openapi.json is stale: go generate ./api")
	}
}
