package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/funding/cashu"
)

func TestMediansAndVerdicts(t *testing.T) {
	var out bytes.Buffer
	m := measure{name: "x", what: "something", bar: bar{10, true}}
	m.print(&out, [][]reading{
		{{"ours", "/s", 8}, {"reference", "/s", 16}},
		{{"ours", "/s", 12}, {"reference", "/s", 48}},
		{{"ours", "/s", 11}, {"reference", "/s", 11}},
	}, "0.10")
	for _, want := range []string{"11.0 /s  (8.00 to 12.0 in 3 rounds; load before 0.10)  bar 10.0 /s: holds", "reference: 16.0 /s; ratio 0.50"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if got := (bar{10, false}).verdict(11, "ms"); !strings.HasSuffix(got, "missed") {
		t.Errorf("11 ms against a most of 10: %q", got)
	}
	if got := (bar{10, true}).verdict(9, "/s"); !strings.HasSuffix(got, "missed") {
		t.Errorf("9 a second against a least of 10: %q", got)
	}
}

func TestBenchmarkLinesAreRead(t *testing.T) {
	said := parseBench("goos: linux\nBenchmarkA/b=1-2   \t 10\t 25.5 ns/op\t 7 tasks/s\nBenchmarkA/b=1-2 \t 10\t 26.5 ns/op\nok x 1s\n")
	if got := said["BenchmarkA/b=1 ns/op"]; len(got) != 2 || got[1] != 26.5 {
		t.Errorf("%v", said)
	}
	if got := said["BenchmarkA/b=1 tasks/s"]; len(got) != 1 || got[0] != 7 {
		t.Errorf("%v", said)
	}
}

func TestRequestsAreWholeAndDiffer(t *testing.T) {
	s, err := newSubmission("h:1", "token", client.NewSecret(), small)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 3 {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(s.next())))
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if n, err := body.ReadFrom(r.Body); err != nil || n != r.ContentLength {
			t.Fatalf("%d of %d bytes: %v", n, r.ContentLength, err)
		}
		if strings.Contains(body.String(), "VVVV") || seen[r.Header.Get(client.HeaderIdempotencyKey)] {
			t.Errorf("a request's keys are not its own: %s", body.String())
		}
		seen[r.Header.Get(client.HeaderIdempotencyKey)] = true
	}
}

func TestOnlyAcceptedSubmissionsCount(t *testing.T) {
	answer := func(text string) error { return created(bufio.NewReader(strings.NewReader(text))) }
	if err := answer("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"); err != nil {
		t.Error(err)
	}
	if err := answer("HTTP/1.1 402 Payment Required\r\nContent-Length: 4\r\n\r\nwhy?"); err == nil || !strings.Contains(err.Error(), "why?") {
		t.Errorf("a refusal counted: %v", err)
	}
	if err := answer("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf"); err == nil {
		t.Error("half an answer counted")
	}
}

func TestASwapIsSentAgainUntilItIsAnswered(t *testing.T) {
	key, err := cashu.Scalar{31: 7}.Public()
	if err != nil {
		t.Fatal(err)
	}
	m := &minted{addr: "h:1", keys: cashu.KeysetKeys{
		KeysetInfo: cashu.KeysetInfo{ID: "0000000000000000", InputFeePPK: 100}, Keys: cashu.Keys{{Amount: 1, Point: key}, {Amount: 2, Point: key}, {Amount: 4, Point: key}},
	}}
	c := &chain{minted: m, coins: []cashu.Proof{{Amount: 4, ID: "0000000000000000", Secret: "x", C: key}}}
	first := c.next(nil)
	for _, refusal := range []string{"", "too many", `{"code":11001}`, `{"signatures":[]}`} {
		if again := c.next([]byte(refusal)); !bytes.Equal(again, first) {
			t.Errorf("after %q another request was sent", refusal)
		}
	}
	var answer cashu.SignaturesResponse
	for _, o := range c.outputs {
		answer.Signatures = append(answer.Signatures, cashu.BlindSignature{Amount: o.Amount, ID: "0000000000000000", C_: o.B_})
	}
	if next := c.next(mustJSON(answer)); bytes.Equal(next, first) {
		t.Error("the coins of an answer were not used")
	}
	if sum, err := cashu.SumProofs(c.coins); err != nil || sum != 3 {
		t.Errorf("%d are left of 4 and a fee of 1: %v", sum, err)
	}
}

func TestALeaseIsOfAStreamThatIsThere(t *testing.T) {
	c := &crowd{leases: map[int]leased{}, joined: 2}
	told := func() (s crowdState) {
		t.Helper()
		var out bytes.Buffer
		if err := c.tell(&out, nil); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	c.heard(1, nil) // its first stream broke before a lease
	c.heard(1, &wire.Desired{Term: 2})
	if s := told(); len(s.Leased) != 0 {
		t.Errorf("leases by term without one: %v", s.Leased)
	}
	c.heard(1, &wire.Desired{Term: 2, LeaseMs: 60_000})
	c.heard(2, &wire.Desired{Term: 2, LeaseMs: 60_000})
	if s := told(); s.Leased[2] != 2 || s.Joined != 2 {
		t.Errorf("%+v", s)
	}
	c.heard(1, nil)
	c.leases[1] = leased{at: time.Now().Add(-time.Minute)}
	if s := told(); s.Leased[2] != 1 || s.Gap < time.Minute {
		t.Errorf("of two streams one is broken for a minute: %+v", s)
	}
	c.heard(1, &wire.Desired{Term: 3, LeaseMs: 60_000})
	if s := told(); s.Leased[2] != 1 || s.Leased[3] != 1 || s.Gap < time.Minute {
		t.Errorf("after a minute it has another leader's: %+v", s)
	}
}
