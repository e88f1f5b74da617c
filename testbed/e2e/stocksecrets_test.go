//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/cluster"
)

// stock is a wallet that knows nothing of coinop: it speaks to the mint over HTTP, and keeps its secrets in memory alone.
type stock struct {
	k       *keeper
	api     *client.Client
	token   string
	server  string
	keys    cashu.KeysetKeys
	secrets map[cashu.Point]string
	factors map[cashu.Point]cashu.Scalar
}

func (k *keeper) stock(ctx context.Context) *stock {
	k.t.Helper()
	apis, err := k.c.APIs(time.Minute)
	must(k.t, err)
	token, err := os.ReadFile(k.c.TokenFile())
	must(k.t, err)
	s := &stock{
		k: k, api: apis[0], token: strings.TrimSpace(string(token)), server: k.c.Servers[0].HTTP,
		secrets: map[cashu.Point]string{}, factors: map[cashu.Point]cashu.Scalar{},
	}
	list, err := s.api.Keysets(ctx)
	must(k.t, err)
	for _, set := range list.Keysets {
		if set.Active {
			keys, err := s.api.MintKeys(ctx, set.ID)
			must(k.t, err)
			s.keys = keys.Keysets[0]
		}
	}
	return s
}

func (s *stock) scalar() (r cashu.Scalar) {
	_, _ = rand.Read(r[1:]) // below the order of the curve
	return r
}

// outputs are blinded; their blinded points are public on the way, and have no place in a book or a log.
func (s *stock) outputs(amounts ...cashu.Units) (list []cashu.BlindedMessage) {
	for _, amount := range amounts {
		secret, r := client.NewSecret().Hex(), s.scalar()
		b, err := cashu.Blind([]byte(secret), r)
		must(s.k.t, err)
		s.secrets[b], s.factors[b] = secret, r
		s.k.text("a stock coin's secret", secret)
		must(s.k.t, s.k.keys.Add("a stock coin's blinding", r[:]))
		s.k.blinded = append(s.k.blinded, b)
		list = append(list, cashu.BlindedMessage{Amount: amount, ID: s.keys.ID, B_: b})
	}
	return list
}

func (s *stock) coins(outputs []cashu.BlindedMessage, signed []cashu.BlindSignature) (list []cashu.Proof) {
	for i, c := range signed {
		key, _ := s.keys.Keys.For(c.Amount)
		b := outputs[i].B_
		point, err := cashu.Unblind(c.C_, s.factors[b], key)
		must(s.k.t, err)
		must(s.k.t, s.k.keys.Add("a stock coin's signature", point[:]))
		list = append(list, cashu.Proof{Amount: c.Amount, ID: c.ID, Secret: s.secrets[b], C: point})
	}
	return list
}

// mint gets coins for a quote, which is locked to a key.
func (s *stock) mint(ctx context.Context, units int64) []cashu.Proof {
	t, private := s.k.t, s.scalar()
	must(t, s.k.keys.Add("a mint quote's key", private[:]))
	pubkey := cashu.Point(secp256k1.PrivKeyFromBytes(private[:]).PubKey().SerializeCompressed())
	q, err := s.api.Issue(ctx, ulid.Make().String(), client.IssueRequest{Units: units, Pubkey: pubkey})
	must(t, err)
	if again, err := s.api.MintQuote(ctx, q.Quote); err != nil || again.State != cashu.QuotePaid {
		t.Fatalf("the quote is %+v, %v", again, err)
	}
	r := cashu.MintRequest{Quote: q.Quote, Outputs: s.outputs(cashu.Split(cashu.Units(units))...)}
	if _, err := s.api.Mint(ctx, r); err == nil {
		t.Fatal("coins without the quote's key")
	}
	must(t, r.Sign(private))
	must(t, s.k.keys.AddText("a mint request's signature", r.Signature))
	answer, err := s.api.Mint(ctx, r)
	must(t, err)
	return s.coins(r.Outputs, answer.Signatures)
}

// melted is what the mint says of a quote of the method job.
type melted struct {
	cashu.MeltQuote
	Job  uint64            `json:"job"`
	Keys map[string]string `json:"job_keys"`
}

// ask sends a request as any program would, and reads its answer where there is a place for it.
func (s *stock) ask(ctx context.Context, path string, body, into any) (status int) {
	method, text := http.MethodGet, []byte(nil)
	switch b := body.(type) {
	case nil:
	case string:
		method, text = http.MethodPost, []byte(b)
	default:
		var err error
		method = http.MethodPost
		text, err = json.Marshal(b)
		must(s.k.t, err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.server+path, bytes.NewReader(text))
	must(s.k.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Coinop-Token", s.token)
	answer, err := http.DefaultClient.Do(r)
	must(s.k.t, err)
	defer answer.Body.Close()
	if into != nil {
		must(s.k.t, json.NewDecoder(answer.Body).Decode(into))
	}
	return answer.StatusCode
}

// melt pays for a job as a bill, and takes its change. It returns the job with its keys.
func (s *stock) melt(ctx context.Context) melted {
	t := s.k.t
	bill := `{"job":{"command":["sh","-c","echo melted","` + argument + `"],"cpu_milli":1000,"memory_bytes":67108864,"time_ms":60000,"bid_micro":2000000}}`
	var q, paid melted
	if status := s.ask(ctx, "/mint/v1/melt/quote/job", cashu.MeltQuoteRequest{Request: bill, Unit: "credit"}, &q); status != http.StatusOK {
		t.Fatalf("a quote is answered %d", status)
	}
	s.k.text("a melt quote", q.Quote)
	for name, key := range q.Keys {
		if name != "fund" {
			s.k.text("a melted job's "+name+" key", key)
		}
	}
	coins := s.mint(ctx, int64(q.Amount+q.FeeReserve)+2)
	r := cashu.MeltRequest{Quote: q.Quote, Inputs: coins, Outputs: s.outputs(make([]cashu.Units, 34)...)}
	forged := slices.Clone(coins)
	forged[0].C = forged[1].C
	refused := cashu.MeltRequest{Quote: q.Quote, Inputs: forged, Outputs: r.Outputs}
	if status := s.ask(ctx, "/mint/v1/melt/job", refused, nil); status != http.StatusBadRequest {
		t.Fatalf("a forged coin is answered %d", status)
	}
	if status := s.ask(ctx, "/mint/v1/melt/job", r, &paid); status != http.StatusOK || paid.Job == 0 {
		t.Fatalf("the payment is answered %d, %+v", status, paid)
	}
	must(t, cluster.Until(ctx, time.Minute, "the quote is paid", func() (bool, error) {
		s.ask(ctx, "/mint/v1/melt/quote/job/"+q.Quote, nil, &paid)
		return paid.State == cashu.MeltPaid, nil
	}))
	change := s.coins(r.Outputs, paid.Change)
	if len(change) == 0 {
		t.Fatal("no change came back")
	}
	worth, err := cashu.SumProofs(change)
	must(t, err)
	swap := cashu.SwapRequest{Inputs: change, Outputs: s.outputs(cashu.Split(worth - 1)...)} // the coins' fee
	answer, err := s.api.Swap(ctx, swap)
	must(t, err)
	s.coins(swap.Outputs, answer.Signatures)
	return paid
}

// own asks for jobs by keys in the body: good ones, and such that make no sense.
func (s *stock) own(ctx context.Context, job melted) {
	for key, want := range map[string]int{job.Keys["view"]: 1, job.Keys["control"]: 1, job.Keys["claim"]: 0} {
		list, err := s.api.OwnJobs(ctx, client.OwnRequest{Jobs: []client.JobKey{{Job: job.Job, Key: key}}, All: true})
		if err != nil || len(list.Jobs) != want {
			s.k.t.Fatalf("own jobs: %+v, %v, want %d", list, err, want)
		}
	}
	view := job.Keys["view"]
	for _, body := range []string{
		`{"jobs":[{"job":1,"key":"` + view + `"}`, `{"jobs":[{"job":"` + view + `"}]}`, `{"` + view + `":1}`, `{"pool":"` + view + `"}`,
	} {
		if status := s.ask(ctx, "/v1/jobs/own", body, nil); status < 400 || status > 499 {
			s.k.t.Fatalf("%s is answered %d", fmt.Sprintf("%.20s", body), status)
		}
	}
}

// planted says in which of these files, by their names below a folder, a secret would not be found.
func planted(dir string, names []string, skip func(string) bool) (missed []string, err error) {
	var s cluster.Secrets
	secret := client.NewSecret()
	if err := s.Add("plant", secret[:]); err != nil {
		return nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(`{"what was there":1,"key":"`+secret.Hex()+"\"}\n"), 0o600); err != nil {
			return nil, err
		}
	}
	found, _, err := s.Below(dir, skip)
	for _, name := range names {
		if !slices.Contains(found, filepath.Join(dir, name)+" holds plant in hex") {
			missed = append(missed, name)
		}
	}
	return missed, err
}
