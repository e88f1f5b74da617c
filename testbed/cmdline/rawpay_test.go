package cmdline

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
)

// rawTime and rawPay are what the raw job asks for: a job of 1.25 units for 10 s at a bid of 2.
const (
	rawTime = 10_000
	rawPay  = 25
)

// rawRequest is a submission made by hand, with what is sent beside its body.
type rawRequest struct {
	client.SubmitRequest
	key  string
	body []byte // instead of the request, where JSON itself is to be wrong
	mint *rawMint
}

// rawMint is what making outputs needs.
type rawMint struct{ keyset cashu.KeysetID }

// rawpay is `rawpay WHAT TOKENFILE`: it sends a job whose coins are the token's, after spoiling the request as WHAT
// says, and prints the HTTP status, the code, what was wrong and what to do.
func rawpay(args []string) int {
	if err := payRaw(args[0], args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "rawpay:", err)
		return 2
	}
	return 0
}

func payRaw(what, file string) error {
	spoil, ok := spoilers()[what]
	if !ok {
		return fmt.Errorf("no way to spoil is called %q: %v", what, slices.Sorted(maps.Keys(spoilers())))
	}
	coins, err := coinsOf(file)
	if err != nil {
		return err
	}
	r := rawRequest{key: ulid.Make().String(), mint: &rawMint{keyset: coins[0].ID}}
	r.Job = client.JobSpec{Command: []string{"true"}, TimeMs: rawTime}
	r.Keys = client.NewSecret().Keys()
	r.Pay = rawPay
	r.Inputs = coins
	var worth cashu.Units
	for _, c := range coins {
		worth += c.Amount
	}
	r.Outputs = r.mint.outputs(cashu.Split(worth - rawPay)...)
	r.Blanks = r.mint.blanks(cashu.BlanksFor(rawPay))
	if err := spoil(&r); err != nil {
		return err
	}
	return r.send()
}

func coinsOf(file string) ([]cashu.Proof, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	token, err := cashu.DecodeToken(string(text))
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{Servers: []string{os.Getenv("COINOP_ADDR")}})
	if err != nil {
		return nil, err
	}
	keysets, err := c.Keysets(context.Background())
	if err != nil {
		return nil, err
	}
	var known []cashu.KeysetID
	for _, k := range keysets.Keysets {
		known = append(known, k.ID)
	}
	var coins []cashu.Proof
	for _, p := range token.Proofs {
		if id, err := p.ID.Resolve(known); err == nil { // a token may shorten ids; another mint's stay as they are
			p.ID = id
		}
		coins = append(coins, p.Bare())
	}
	return coins, nil
}

func (m *rawMint) outputs(amounts ...cashu.Units) []cashu.BlindedMessage {
	var out []cashu.BlindedMessage
	for _, amount := range amounts {
		var factor cashu.Scalar
		_, _ = rand.Read(factor[1:]) // below the order of the curve
		b, err := cashu.Blind([]byte(client.NewSecret().Hex()), factor)
		if err != nil {
			panic(err) // a factor of the curve always blinds
		}
		out = append(out, cashu.BlindedMessage{Amount: amount, ID: m.keyset, B_: b})
	}
	return out
}

func (m *rawMint) blanks(n int) []cashu.BlindedMessage { return m.outputs(make([]cashu.Units, n)...) }

// send posts the request as any program could, and prints the answer.
func (r *rawRequest) send() error {
	body := r.body
	if body == nil {
		var err error
		if body, err = json.Marshal(r.SubmitRequest); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(http.MethodPost, os.Getenv("COINOP_ADDR")+"/v1/jobs", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(client.HeaderIdempotencyKey, r.key)
	return tell(req)
}

// tell sends a request and prints the status, the code, what was wrong and what to do; an error that lacks one of
// these fails.
func tell(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var p client.Problem
	if resp.StatusCode < 300 {
		fmt.Printf("%d accepted\n%s\n", resp.StatusCode, bytes.TrimSpace(raw))
		return nil
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("%s without a problem document: %s", resp.Status, raw)
	}
	if p.Detail == "" || p.Do == "" {
		return fmt.Errorf("an error has to say what was wrong and what to do: %s", raw)
	}
	fields := make([]string, 0, len(p.Fields))
	for _, f := range p.Fields {
		fields = append(fields, "; "+f.Location+": "+f.Message)
	}
	fmt.Printf("%d %s\n%s%s\n%s\n", resp.StatusCode, p.Code, p.Detail, strings.Join(fields, ""), p.Do)
	return nil
}

// spoilers are the ways in which a request is wrong, by what a script calls them.
func spoilers() map[string]func(*rawRequest) error {
	return map[string]func(*rawRequest) error{
		"nothing": func(*rawRequest) error { return nil },
		"forged":  func(r *rawRequest) error { r.Inputs[0].C = cashu.HashToCurve([]byte("forged")); return nil },
		"keyset": func(r *rawRequest) error {
			r.Inputs[0].ID = cashu.KeysetID("01" + strings.Repeat("ab", 32))
			return nil
		},
		"too-few": func(r *rawRequest) error { r.Inputs = r.Inputs[1:]; return nil },
		"twice":   func(r *rawRequest) error { r.Inputs = append(r.Inputs, r.Inputs[0]); return nil },
		"nut10": func(r *rawRequest) error {
			r.Inputs[0].Secret = `["P2PK",{"nonce":"00","data":"02aa","tags":[]}]`
			return nil
		},
		"factor": func(r *rawRequest) error {
			var one cashu.Scalar
			one[31] = 1
			r.Inputs[0].DLEQ = &cashu.DLEQ{E: one, S: one, R: &one}
			return nil
		},
		"blanks-few": func(r *rawRequest) error { r.Blanks = r.Blanks[1:]; return nil },
		"blank-used": func(r *rawRequest) error { return usedAs(r, true) },
		"blank-pending": func(r *rawRequest) error {
			return usedAs(r, false)
		},
		"zero":          func(r *rawRequest) error { r.Pay = 0; return nil },
		"negative":      func(r *rawRequest) error { r.Pay = -25; return nil },
		"beyond-a-pot":  func(r *rawRequest) error { r.Pay = 1 << 60; return nil },
		"overflow":      func(r *rawRequest) error { return r.replace(`"pay":25`, `"pay":99999999999999999999`) },
		"fraction":      func(r *rawRequest) error { return r.replace(`"pay":25`, `"pay":0.5`) },
		"negative-time": func(r *rawRequest) error { r.Job.TimeMs = -1; return nil },
		"long-time":     func(r *rawRequest) error { r.Job.TimeMs = 1 << 62; return nil },
		"negative-bid":  func(r *rawRequest) error { r.Job.BidMicro = -1; return nil },
		"high-bid":      func(r *rawRequest) error { r.Job.BidMicro = 1 << 62; return nil },
		"negative-cpus": func(r *rawRequest) error { r.Job.CPUMilli = -1000; return nil },
		"many-cpus":     func(r *rawRequest) error { r.Job.CPUMilli = 1 << 62; return nil },
		"worth-nothing": func(r *rawRequest) error { r.Outputs[0].Amount = 0; return nil },
		"worth-more":    func(r *rawRequest) error { r.Outputs[0].Amount *= 2; return nil },
		"unknown-field": func(r *rawRequest) error { return r.replace(`"pay":25`, `"pay":25,"tip":1`) },
		"keep":          keep,
		"again":         func(r *rawRequest) error { return again(r, false) },
		"other-body":    func(r *rawRequest) error { return again(r, true) },
	}
}

func (r *rawRequest) replace(old, with string) error {
	body, err := json.Marshal(r.SubmitRequest)
	if err != nil {
		return err
	}
	r.body = bytes.Replace(body, []byte(old), []byte(with), 1)
	if bytes.Equal(body, r.body) {
		return errors.New("nothing to spoil")
	}
	return nil
}

// first is a request as `keep` wrote it down.
type first struct {
	Key  string               `json:"key"`
	Body client.SubmitRequest `json:"body"`
}

// keep sends a long job and writes down the request, so that later ones can repeat it or take its blanks: the
// outputs are signed at once, the blanks wait for the job's end.
func keep(r *rawRequest) error {
	r.Job.Command = []string{"sleep", "190"}
	r.Job.CPUMilli, r.Job.MemoryBytes, r.Job.TimeMs = 40, 16<<20, 200_000 // a job this small goes on longer than the slowest test
	b, err := json.Marshal(first{r.key, r.SubmitRequest})
	if err != nil {
		return err
	}
	return os.WriteFile("first.json", b, 0o600)
}

func readKept() (first, error) {
	var f first
	b, err := os.ReadFile("first.json")
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// again repeats the kept request, or with another body under its key.
func again(r *rawRequest, other bool) error {
	f, err := readKept()
	if err != nil {
		return err
	}
	r.key, r.SubmitRequest = f.Key, f.Body
	if other {
		r.Job.Command = []string{"sleep", "200"}
	}
	return nil
}

// usedAs puts a point of the kept request among the blanks.
func usedAs(r *rawRequest, signed bool) error {
	f, err := readKept()
	if err != nil {
		return err
	}
	if signed {
		r.Blanks[0].B_ = f.Body.Outputs[0].B_
	} else {
		r.Blanks[0].B_ = f.Body.Blanks[0].B_
	}
	return nil
}

// ask is `ask METHOD PATH [KEY]`: a request without a body, and its answer as [rawpay] prints it.
func ask(args []string) int {
	req, err := http.NewRequest(args[0], os.Getenv("COINOP_ADDR")+args[1], nil)
	if err == nil {
		if len(args) > 2 {
			req.Header.Set("Authorization", "Bearer "+strings.Repeat(args[2], 64/len(args[2])))
		}
		err = tell(req)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		return 2
	}
	return 0
}
