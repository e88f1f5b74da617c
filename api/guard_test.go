package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
)

func TestWebPagesDoNotOperate(t *testing.T) {
	w := newWorld(t, nil)
	body := []byte(`{"reason":"x"}`)
	json := "application/json"
	for _, c := range []struct {
		name    string
		headers map[string]string
		status  int
		code    string
	}{
		{"no token", map[string]string{"Content-Type": json}, 401, "token_missing"},
		{"an unknown token", map[string]string{"Coinop-Token": "coinop-operator-guess", "Content-Type": json}, 401, "token_unknown"},
		{"a page of another site", map[string]string{"Coinop-Token": operatorToken, "Content-Type": json, "Origin": "https://evil.example"}, 403, "origin"},
		{"a page of its own", map[string]string{"Coinop-Token": operatorToken, "Content-Type": json, "Sec-Fetch-Site": "same-origin"}, 403, "origin"},
		{"the operator", map[string]string{"Coinop-Token": operatorToken, "Content-Type": json}, 200, `"draining"`},
	} {
		resp, raw := w.post("/v1/nodes/n1/drain", body, c.headers)
		if resp.StatusCode != c.status || !strings.Contains(string(raw), c.code) {
			t.Errorf("%s: %s %s", c.name, resp.Status, raw)
		}
	}
}

// A name that was pointed at this server makes a page of its owner's one of ours: nothing is answered under it.
func TestANameThatWasPointedHereIsNotAnswered(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Hosts = []string{"coinop.example"} })
	_, err := w.client(operatorToken).SetMintURL(t.Context(), client.MintURL{URL: "https://mint.example/mint"})
	if err != nil {
		t.Fatal(err)
	}
	for host, status := range map[string]int{
		"evil.example": 403, "evil.example:2770": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403, "xlocalhost": 403,
		"coinop.example": 200, "COINOP.example.:2770": 200, "127.0.0.1": 200, "[::1]:2770": 200, "192.0.2.1:2770": 200, "localhost:1": 200,
		"mint.example": 200,
	} {
		for path, token := range map[string]string{"/v1/tokens": operatorToken, "/v1/pools": "", "/mint/v1/info": ""} {
			req, err := http.NewRequest(http.MethodGet, w.http.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			if token != "" {
				req.Header.Set("Coinop-Token", token)
			}
			resp, _ := w.send(req)
			if resp.StatusCode != status {
				t.Errorf("%s as %s: %s", path, host, resp.Status)
			}
		}
	}
}

// Whatever changes something is refused to pages of other sites, and no answer but the mint's lets them read.
func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	w := newWorld(t, nil)
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	raw, err := w.api.Document()
	if err == nil {
		err = json.Unmarshal(raw, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, methods := range document.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			req, err := http.NewRequest(method, w.http.URL+strings.NewReplacer("{", "", "}", "").Replace(path), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", "https://evil.example")
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Coinop-Token", operatorToken)
			for _, with := range []string{operatorToken, ""} {
				if with == "" {
					req.Header.Del("Coinop-Token")
				}
				resp, body := w.send(req)
				if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
					t.Errorf("%s %s: pages of %q may read it", method, path, allowed)
				}
				reads := method == http.MethodGet || method == http.MethodHead
				if refused := resp.StatusCode == http.StatusForbidden; !refused && (with != "" || !reads) {
					t.Errorf("%s %s, token %t: %s %s", method, path, with != "", resp.Status, body)
				}
			}
			tried++
		}
	}
	if tried < 40 {
		t.Errorf("only %d operations were tried", tried)
	}
}

func TestTheMintHasOnePublicURL(t *testing.T) {
	w := newWorld(t, nil)
	named := func() string {
		t.Helper()
		info, err := w.c.MintInfo(t.Context())
		if err != nil || len(info.URLs) != 1 {
			t.Fatalf("%v, %v", info.URLs, err)
		}
		return info.URLs[0]
	}
	if got := named(); got != w.http.URL+"/mint" {
		t.Errorf("without a word of the operator's: %s", got)
	}
	operator := w.client(operatorToken)
	for _, wrong := range []string{"mint.example/mint", "ftp://mint.example", "https://mint.example/mint?x", "https://mint.example#sha256=" + strings.Repeat("00", 32), "https://" + strings.Repeat("x", 300)} {
		if _, err := operator.SetMintURL(t.Context(), client.MintURL{URL: wrong}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
	_, err := w.c.SetMintURL(t.Context(), client.MintURL{URL: "https://mint.example/mint"})
	wantProblem(t, err, http.StatusUnauthorized, "token_missing")
	for range 2 {
		if m, err := operator.SetMintURL(t.Context(), client.MintURL{URL: "https://mint.example/mint/"}); err != nil || m.URL != "https://mint.example/mint" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if got := named(); got != "https://mint.example/mint" {
		t.Errorf("the operator's: %s", got)
	}
	list, err := w.c.ServerList(t.Context())
	if err != nil || list.MintURL != "https://mint.example/mint" {
		t.Errorf("servers name %q, %v", list.MintURL, err)
	}
	unpaid := order(client.NewSecret())
	body, err := json.Marshal(unpaid)
	if err != nil {
		t.Fatal(err)
	}
	resp, raw := w.post("/v1/jobs", body, nil)
	request, err := cashu.DecodePaymentRequest(resp.Header.Get(client.HeaderXCashu))
	if err != nil || len(request.Mints) != 1 || request.Mints[0] != "https://mint.example/mint" {
		t.Errorf("a payment request names %v: %v %s %s", request.Mints, err, resp.Status, raw)
	}
	if m, err := operator.SetMintURL(t.Context(), client.MintURL{}); err != nil || m.URL != "" || named() != w.http.URL+"/mint" {
		t.Errorf("taken back: %+v %v", m, err)
	}
}

// A trusted pool takes loopback peers without a token, but not a web page on the same machine.
func TestAPageOnTheSameMachineIsNoLoopbackPeer(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	r := paid(p, p.issue(300), order(client.NewSecret()))
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	resp, raw := w.post("/v1/jobs", body, map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": w.http.URL})
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%s %s", resp.Status, raw)
	}
	if resp, raw = w.post("/v1/jobs", body, nil); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", resp.Status, raw)
	}
}

func TestASubmitterIsNoOperator(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	operator := w.client(operatorToken)
	token := client.NewToken("submit")
	made, err := operator.CreateToken(ctx, client.TokenRequest{Role: "submit", SHA256: client.HashKey(token), Note: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := operator.CreateToken(ctx, client.TokenRequest{Role: "submit", SHA256: client.HashKey(token), Note: "lab"}); err != nil || again != made {
		t.Fatalf("again: %+v, %v", again, err)
	}
	submitter := w.client(token)
	_, err = submitter.Tokens(ctx)
	wantProblem(t, err, http.StatusForbidden, "role")
	list, err := operator.Tokens(ctx)
	if err != nil || len(list.Tokens) < 2 {
		t.Fatalf("tokens: %+v, %v", list, err)
	}
	if err := operator.RevokeToken(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	_, err = submitter.Tokens(ctx)
	wantProblem(t, err, http.StatusUnauthorized, "token_unknown")
}

func TestAnAddressIsMetered(t *testing.T) {
	l := api.DefaultLimits()
	l.AddressRate, l.AddressBurst, l.AddressesMax = 1, 2, 3
	allow := api.Meter(l)
	at := time.Unix(1000, 0)
	one, same, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.1")
	if !allow(one, 0, at) || !allow(same, 0, at) || allow(one, 0, at) {
		t.Error("a /64 was not metered as one address with a burst of two")
	}
	if !allow(other, 0, at) {
		t.Error("another address pays for the first one")
	}
	if !allow(one, 0, at.Add(time.Second)) {
		t.Error("a second gave nothing back")
	}
	if debtor := netip.MustParseAddr("127.0.0.2"); !allow(debtor, 2, at) || allow(debtor, 0, at.Add(time.Second)) || !allow(debtor, 0, at.Add(2*time.Second)) {
		t.Error("what was owed was not waited for")
	}
	for i := range 100 { // strangers come and go; only three are remembered
		allow(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 0, at.Add(time.Duration(i)*time.Millisecond))
	}
	for range 10 {
		if !allow(netip.MustParseAddr("127.0.0.1"), 5, at) || !allow(netip.MustParseAddr("::1"), 5, at) {
			t.Error("this machine's own was metered")
		}
	}
}

func TestTheMintSpeaksTheProtocol(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	info, err := w.c.MintInfo(ctx)
	if err != nil || len(info.Nuts["4"].Methods) != 0 || info.Nuts["19"].TTL == nil {
		t.Fatalf("info: %+v, %v", info, err)
	}
	keys, err := w.c.MintKeys(ctx, "")
	if err != nil || len(keys.Keysets) != 1 {
		t.Fatalf("keys: %+v, %v", keys, err)
	}
	if err := keys.Keysets[0].Verify(); err != nil {
		t.Fatal(err)
	}
	coins := p.issue(64)
	outputs := p.outputs(32, 32)
	swapped, err := w.c.Swap(ctx, cashu.SwapRequest{Inputs: coins, Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	p.coins(outputs, swapped.Signatures)
	restored, err := w.c.Restore(ctx, cashu.RestoreRequest{Outputs: append(p.blanks(2), outputs...)})
	if err != nil || len(restored.Signatures) != 2 || restored.Signatures[0].C_ != swapped.Signatures[0].C_ {
		t.Fatalf("restored: %+v, %v", restored, err)
	}
	state, err := w.c.CheckState(ctx, cashu.CheckStateRequest{Ys: []cashu.Point{coins[0].Y()}})
	if err != nil || state.States[0].State != cashu.CoinSpent {
		t.Fatalf("state: %+v, %v", state, err)
	}
	body, err := json.Marshal(cashu.SwapRequest{Inputs: coins, Outputs: p.outputs(64)})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/mint/v1/swap":              `{"code":11001,`,
		"/mint/v1/mint/quote/bolt11": `{"code":20003,`,
	} {
		resp, raw := w.post(path, body, map[string]string{"Origin": "https://wallet.example"})
		if resp.StatusCode != http.StatusBadRequest || !bytes.HasPrefix(raw, []byte(want)) || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %s %s", path, resp.Status, raw)
		}
	}
}

func TestEventsTellStrangersNothingOfMoney(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(ctx, newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	w.runJob(answer.Job, 5000)
	kinds := map[string]bool{}
	if err := w.c.Events(ctx, client.EventQuery{Job: answer.Job}, func(e client.Event) error {
		if kinds[e.Kind] = true; e.AmountMicro != 0 {
			t.Errorf("%s tells %d", e.Kind, e.AmountMicro)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !kinds["submitted"] || !kinds["placed"] || !kinds["ended"] || kinds["transfer"] || kinds["settled"] {
		t.Fatalf("kinds %v", kinds)
	}
	resp, raw := w.get("/v1/jobs/1/events", map[string]string{"Authorization": "Bearer " + secret.Key("view"), "Accept": "text/event-stream"})
	if resp.Header.Get("Content-Type") != "text/event-stream" || !bytes.Contains(raw, []byte("data: {")) || !bytes.Contains(raw, []byte("amount_micro")) {
		t.Fatalf("%s %s", resp.Status, raw)
	}
}

// A stream goes on as things happen, until the client has had enough.
func TestEventsAreFollowed(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	secret := client.NewSecret()
	answer, err := w.c.Submit(context.Background(), newKey(), "", paid(p, p.issue(300), order(secret)))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- w.c.Events(context.Background(), client.EventQuery{Job: answer.Job, Follow: true}, func(e client.Event) error {
			seen <- e.Kind
			if e.Kind == "ended" {
				return client.Stop()
			}
			return nil
		})
	}()
	<-seen // it is being followed
	w.runJob(answer.Job, 5000)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (w *world) get(path string, headers map[string]string) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.http.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) (*http.Response, []byte) {
	w.t.Helper()
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
