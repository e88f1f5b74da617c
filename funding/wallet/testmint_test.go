package wallet

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

const (
	testAt     = int64(1_700_000_000_000)
	testExpiry = int64(2_000_000_000)
)

// testMint is a mint with real keys and real checks, whose state is a few maps.
// It also takes jobs, as a cluster does.
type testMint struct {
	t    testing.TB
	http *httptest.Server

	mu      sync.Mutex
	ring    *mint.Keyring
	keysets []mint.Keyset
	spent   map[cashu.SpentKey]bool
	outputs map[cashu.Point]mint.Output
	known   map[[32]byte][]byte // answers by fingerprint
	quotes  map[string]*cashu.MintQuote
	jobs    []testJob
	issued  cashu.Units
	earned  cashu.Units
	calls   map[string]int
	// fault, if set, is asked before ("before") and after ("after") a call is
	// done; true makes the connection break there.
	fault func(path, when string) bool
	// forgets makes the mint one that does not repeat answers.
	forgets bool
	// forges makes it sign with another key than it publishes.
	forges bool
}

type testJob struct {
	key    string
	pay    cashu.Units
	blanks []mint.Allowed
}

// jobRequest is what the tests submit as a job.
type jobRequest struct {
	Inputs  []cashu.Proof          `json:"inputs"`
	Pay     cashu.Units            `json:"pay"`
	Outputs []cashu.BlindedMessage `json:"outputs"`
	Blanks  []cashu.BlindedMessage `json:"blanks"`
	Key     string                 `json:"key"`
}

type jobAnswer struct {
	Job        int                    `json:"job"`
	Signatures []cashu.BlindSignature `json:"signatures"`
}

func newTestMint(t testing.TB, feePPK uint32, seed byte) *testMint {
	t.Helper()
	m := &testMint{t: t, spent: map[cashu.SpentKey]bool{}, outputs: map[cashu.Point]mint.Output{},
		known: map[[32]byte][]byte{}, quotes: map[string]*cashu.MintQuote{}, calls: map[string]int{}}
	epoch := mint.Epoch{Number: 1, Secret: mint.Secret{seed}}
	keyset, err := mint.Define(epoch, 1, "credit", feePPK, testExpiry)
	if err != nil {
		t.Fatal(err)
	}
	m.keysets = []mint.Keyset{keyset}
	if m.ring, err = mint.NewKeyring([]mint.Epoch{epoch}, m.keysets); err != nil {
		t.Fatal(err)
	}
	m.http = httptest.NewServer(m)
	t.Cleanup(m.http.Close)
	return m
}

// rotate retires the keysets there are and adds an active one.
func (m *testMint) rotate(t testing.TB, feePPK uint32) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	epoch := mint.Epoch{Number: 1, Secret: mint.Secret{1}}
	for i := range m.keysets {
		m.keysets[i].State = mint.KeysetRetiring
	}
	keyset, err := mint.Define(epoch, mint.KeysetNumber(len(m.keysets)+1), "credit", feePPK, testExpiry)
	if err != nil {
		t.Fatal(err)
	}
	m.keysets = append(m.keysets, keyset)
	if m.ring, err = mint.NewKeyring([]mint.Epoch{epoch}, m.keysets); err != nil {
		t.Fatal(err)
	}
}

func (m *testMint) url() string {
	if m.http == nil {
		return ""
	}
	return m.http.URL + "/mint"
}

func (m *testMint) KeysetByID(id cashu.KeysetID) (mint.Keyset, bool) {
	for _, k := range m.keysets {
		if k.ID == id {
			return k, true
		}
	}
	return mint.Keyset{}, false
}

func (m *testMint) KeysetByNumber(n mint.KeysetNumber) (mint.Keyset, bool) {
	for _, k := range m.keysets {
		if k.Number == n {
			return k, true
		}
	}
	return mint.Keyset{}, false
}

func (m *testMint) IsSpent(key cashu.SpentKey) bool        { return m.spent[key] }
func (m *testMint) OutputAt(point cashu.Point) mint.Output { return m.outputs[point] }

// setFault plans a fault, or with nil none, while calls may still be under way.
func (m *testMint) setFault(f func(path, when string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *testMint) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(io.LimitReader(request.Body, 4<<20))
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	path := strings.TrimPrefix(request.URL.Path, "/mint")
	m.calls[path]++
	if m.fault != nil && m.fault(path, "before") {
		panic(http.ErrAbortHandler)
	}
	out, err := m.route(path, body)
	if m.fault != nil && m.fault(path, "after") {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		var refusal *cashu.Error
		if !errors.As(err, &refusal) {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
		answer.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(answer).Encode(refusal)
		return
	}
	_, _ = answer.Write(out)
}

func (m *testMint) route(path string, body []byte) ([]byte, error) {
	switch {
	case path == "/v1/info":
		return json.Marshal(cashu.Info{Name: "test", Nuts: map[string]cashu.NutSetting{}})
	case path == "/v1/keysets":
		var out cashu.KeysetsResponse
		for _, k := range m.keysets {
			out.Keysets = append(out.Keysets, k.Info())
		}
		return json.Marshal(out)
	case strings.HasPrefix(path, "/v1/keys/"):
		k, ok := m.KeysetByID(cashu.KeysetID(strings.TrimPrefix(path, "/v1/keys/")))
		if !ok {
			return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "no such keyset")
		}
		return json.Marshal(cashu.KeysResponse{Keysets: []cashu.KeysetKeys{k.WithKeys()}})
	case path == "/v1/checkstate":
		return m.checkState(body)
	case path == "/v1/restore":
		return m.restore(body)
	case path == "/v1/swap":
		var r cashu.SwapRequest
		if err := cashu.DecodeJSON(body, &r); err != nil {
			return nil, cashu.Refuse(cashu.CodeMalformed, "%v", err)
		}
		return m.pay(path, mint.Request{Inputs: r.Inputs, Outputs: r.Outputs}, "")
	case path == "/v1/jobs":
		var r jobRequest
		if err := cashu.DecodeJSON(body, &r); err != nil {
			return nil, cashu.Refuse(cashu.CodeMalformed, "%v", err)
		}
		return m.pay(path, mint.Request{Inputs: r.Inputs, Pay: r.Pay, Outputs: r.Outputs, Blanks: r.Blanks,
			NeedBlanks: mint.BlanksNeeded(r.Pay)}, r.Key)
	case strings.HasPrefix(path, "/v1/mint/quote/"):
		if q, ok := m.quotes[path[strings.LastIndex(path, "/")+1:]]; ok {
			return json.Marshal(q)
		}
		return nil, cashu.Refuse(cashu.CodeQuoteUnknown, "no such quote")
	case strings.HasPrefix(path, "/v1/mint/"):
		return m.mint(body)
	}
	return nil, cashu.Refuse(cashu.CodeMalformed, "no such path %s", path)
}

// pay is a swap, or a job if there is a key.
func (m *testMint) pay(path string, r mint.Request, key string) ([]byte, error) {
	r.Unit = "credit"
	print := mint.Fingerprint(path, r, [32]byte{})
	if answer, ok := m.known[print]; ok && !m.forgets {
		return answer, nil
	}
	a, err := mint.Admit(m, m.ring, mint.DefaultLimits(), testAt, r)
	if err != nil {
		return nil, err
	}
	for _, input := range a.Inputs {
		m.spent[input.Key] = true
	}
	m.earned += a.Fee
	job := uint64(len(m.jobs) + 1)
	signatures, err := m.allow(a.Outputs)
	if err != nil {
		return nil, err
	}
	for _, o := range a.Blanks {
		if m.outputs[o.B_], err = m.outputs[o.B_].Register(o.Keyset, job); err != nil {
			return nil, err
		}
	}
	if key != "" {
		m.jobs = append(m.jobs, testJob{key: key, pay: a.Pay, blanks: a.Blanks})
	}
	answer, err := json.Marshal(jobAnswer{Job: int(job), Signatures: signatures})
	m.known[print] = answer
	return answer, err
}

func (m *testMint) allow(outputs []mint.Allowed) ([]cashu.BlindSignature, error) {
	var signatures []cashu.BlindSignature
	for _, o := range outputs {
		next, err := m.outputs[o.B_].Allow(o.Keyset, o.Amount())
		if err != nil {
			return nil, err
		}
		m.outputs[o.B_] = next
		signature, err := m.sign(o.B_)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	return signatures, nil
}

func (m *testMint) sign(b cashu.Point) (cashu.BlindSignature, error) {
	o := m.outputs[b]
	keyset, _ := m.KeysetByNumber(o.Keyset)
	amount := o.Amount()
	if m.forges { // signs with another amount's key and says otherwise
		signature, err := m.ring.Sign(keyset.ID, amount%cashu.CoinMax*2, b)
		signature.Amount = amount
		return signature, err
	}
	return m.ring.Sign(keyset.ID, amount, b)
}

func (m *testMint) mint(body []byte) ([]byte, error) {
	var r cashu.MintRequest
	if err := cashu.DecodeJSON(body, &r); err != nil {
		return nil, cashu.Refuse(cashu.CodeMalformed, "%v", err)
	}
	q, ok := m.quotes[r.Quote]
	if !ok {
		return nil, cashu.Refuse(cashu.CodeQuoteUnknown, "no such quote")
	}
	if q.Pubkey != nil {
		if err := r.VerifySignature(*q.Pubkey); err != nil {
			return nil, err
		}
	}
	print := mint.Fingerprint("/v1/mint/"+r.Quote, mint.Request{Outputs: r.Outputs}, [32]byte{})
	if answer, ok := m.known[print]; ok && !m.forgets {
		return answer, nil
	}
	if q.State == cashu.QuoteIssued {
		return nil, cashu.Refuse(cashu.CodeQuoteIssued, "issued before")
	}
	if sum, err := cashu.SumOutputs(r.Outputs); err != nil || sum != q.Amount {
		return nil, cashu.Refuse(cashu.CodeUnbalanced, "outputs are worth %d, the quote %d", sum, q.Amount)
	}
	var allowed []mint.Allowed
	for _, o := range r.Outputs {
		keyset, ok := m.KeysetByID(o.ID)
		power, coin := o.Amount.Power()
		if !ok || !coin {
			return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "no such keyset or coin")
		}
		allowed = append(allowed, mint.Allowed{B_: o.B_, Keyset: keyset.Number, Power: power})
	}
	signatures, err := m.allow(allowed)
	if err != nil {
		return nil, err
	}
	q.State = cashu.QuoteIssued
	m.issued += q.Amount
	answer, err := json.Marshal(cashu.SignaturesResponse{Signatures: signatures})
	m.known[print] = answer
	return answer, err
}

func (m *testMint) checkState(body []byte) ([]byte, error) {
	var r cashu.CheckStateRequest
	if err := cashu.DecodeJSON(body, &r); err != nil {
		return nil, cashu.Refuse(cashu.CodeMalformed, "%v", err)
	}
	var out cashu.CheckStateResponse
	for _, y := range r.Ys {
		entry := cashu.StateEntry{Y: y, State: cashu.CoinUnspent}
		if m.spent[cashu.SpentKeyOf(y)] {
			entry.State = cashu.CoinSpent
		}
		out.States = append(out.States, entry)
	}
	return json.Marshal(out)
}

func (m *testMint) restore(body []byte) ([]byte, error) {
	var r cashu.RestoreRequest
	if err := cashu.DecodeJSON(body, &r); err != nil {
		return nil, cashu.Refuse(cashu.CodeMalformed, "%v", err)
	}
	if len(r.Outputs) > mint.DefaultLimits().Outputs {
		return nil, cashu.Refuse(cashu.CodeOutputsMax, "too many")
	}
	var out cashu.RestoreResponse
	for _, o := range r.Outputs {
		if m.outputs[o.B_].Status != mint.OutputSigned {
			continue
		}
		signature, err := m.sign(o.B_)
		if err != nil {
			return nil, err
		}
		out.Outputs = append(out.Outputs, o)
		out.Signatures = append(out.Signatures, signature)
	}
	return json.Marshal(out)
}

// end closes a job that has cost so much; the rest goes on its blanks.
func (m *testMint) end(t testing.TB, number int, charged cashu.Units) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	job := m.jobs[number-1]
	points := make([]cashu.Point, len(job.blanks))
	for i, blank := range job.blanks {
		points[i] = blank.B_
	}
	assigned, rest, err := mint.Assign(job.pay-charged, points)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range assigned {
		if m.outputs[a.B_], err = m.outputs[a.B_].AllowPending(uint64(number), a.Amount); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range rest {
		if _, err := m.outputs[b].Release(uint64(number)); err != nil {
			t.Fatal(err)
		}
		delete(m.outputs, b)
	}
	m.earned += charged
}

// quote makes a paid quote, as an operator's issue does.
func (m *testMint) quote(id string, amount cashu.Units, pubkey *cashu.Point) cashu.MintQuote {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := cashu.MintQuote{Quote: id, Amount: amount, Unit: "credit", State: cashu.QuotePaid, Pubkey: pubkey}
	m.quotes[id] = &q
	return q
}
