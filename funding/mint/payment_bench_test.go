package mint

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// BenchmarkPayment takes a payment with five coins and ten blanks from the
// request's bytes to the bytes of its signed change, on all ten blanks, and
// says how far that is from what its curve operations alone take: five hashes
// to the curve, 15 decompressions and 35 multiplications, measured in the same
// run by turns, so that a busy machine slows both.
func BenchmarkPayment(b *testing.B) {
	m := newBench(b)
	coins := m.coins(b, 0, 1, 2, 4, 8, 1024)
	body, err := json.Marshal(struct {
		Inputs []cashu.Proof          `json:"inputs"`
		Pay    cashu.Units            `json:"pay"`
		Blanks []cashu.BlindedMessage `json:"blanks"`
	}{coins, 1039, m.blanks(b, 0, 10)})
	if err != nil {
		b.Fatal(err)
	}
	key := m.ring.keysets[coins[0].ID].pairs[3].private
	var whole, curve time.Duration
	for b.Loop() {
		start := time.Now()
		payment(b, m, body)
		middle := time.Now()
		curveOnly(coins, &key)
		whole += middle.Sub(start)
		curve += time.Since(middle)
	}
	b.ReportMetric(float64(whole.Microseconds())/float64(b.N), "payment-µs")
	b.ReportMetric(float64(curve.Microseconds())/float64(b.N), "curve-µs")
	b.ReportMetric(float64(whole)/float64(curve), "of-curve-alone")
}

func payment(b *testing.B, m *bench, body []byte) {
	var request struct {
		Inputs []cashu.Proof          `json:"inputs"`
		Pay    cashu.Units            `json:"pay"`
		Blanks []cashu.BlindedMessage `json:"blanks"`
	}
	if err := cashu.DecodeJSON(body, &request); err != nil {
		b.Fatal(err)
	}
	admitted, err := m.admit(Request{Inputs: request.Inputs, Pay: request.Pay, Blanks: request.Blanks, NeedBlanks: 10})
	if err != nil {
		b.Fatal(err)
	}
	points := make([]cashu.Point, len(admitted.Blanks))
	for i, blank := range admitted.Blanks {
		points[i] = blank.B_
	}
	assigned, _, err := Assign(1023, points)
	if err != nil {
		b.Fatal(err)
	}
	signatures := make([]cashu.BlindSignature, len(assigned))
	for i, change := range assigned {
		if signatures[i], err = m.ring.Sign(request.Blanks[0].ID, change.Amount, change.B_); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := json.Marshal(cashu.SignaturesResponse{Signatures: signatures}); err != nil {
		b.Fatal(err)
	}
}

// curveOnly does the operations that no way of doing it can avoid.
func curveOnly(coins []cashu.Proof, key *[32]byte) {
	var y cashu.Point
	for _, coin := range coins {
		y = cashu.HashToCurve([]byte(coin.Secret))
	}
	var open affine
	for range 15 {
		open, _ = decompress(y)
	}
	for range 35 {
		open.multiply(key)
	}
}
