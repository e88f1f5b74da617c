package mint

import (
	"crypto/rand"
	"math"
	mrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

const timings = 20_000 // of each class

// BenchmarkTiming asks whether the time of a multiplication tells of its secret: Welch's t between a fixed scalar with
// few bits set and random ones, in random order, the slowest tenth left out as disturbed (Reparaz, Balasch and
// Verbauwhede, "Dude, is my code constant time?", 2017: beyond 10 it surely tells, below 4.5 nothing is seen). Beside it
// stands a multiplication that does tell.
func BenchmarkTiming(b *testing.B) {
	points := randomPoints(b)
	for b.Loop() {
		var ours, leaky classes
		for range 2 * timings {
			class, k := mrand.IntN(2), [32]byte{31: 3}
			if class == 1 {
				_, _ = rand.Read(k[:])
				k[0] &= 0x7f // below the group's order
			}
			p := &points[mrand.IntN(len(points))]
			ours.time(class, func() { p.open.multiply(&k) })
			var n secp256k1.ModNScalar
			n.SetBytes(&k)
			leaky.time(class, func() {
				var out secp256k1.JacobianPoint
				secp256k1.ScalarMultNonConst(&n, &p.jacobian, &out)
			})
		}
		b.ReportMetric(ours.t(), "t")
		b.ReportMetric(leaky.t(), "leaky-t")
	}
}

type randomPoint struct {
	open     affine
	jacobian secp256k1.JacobianPoint
}

func randomPoints(b *testing.B) []randomPoint {
	points := make([]randomPoint, 64)
	for i := range points {
		key, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			b.Fatal(err)
		}
		key.PubKey().AsJacobian(&points[i].jacobian)
		var compressed [33]byte
		copy(compressed[:], key.PubKey().SerializeCompressed())
		var ok bool
		if points[i].open, ok = decompress(compressed); !ok {
			b.Fatal("a public key is no point")
		}
	}
	return points
}

// classes are the times with the fixed scalar and with random ones.
type classes [2][]float64

func (c *classes) time(class int, do func()) {
	start := time.Now()
	do()
	c[class] = append(c[class], float64(time.Since(start)))
}

// t is Welch's.
func (c *classes) t() float64 {
	both := slices.Sorted(slices.Values(slices.Concat(c[0], c[1])))
	limit := both[len(both)*9/10]
	var mean, square [2]float64
	for class, times := range c {
		var n, sum, squares float64
		for _, x := range times {
			if x <= limit {
				n, sum, squares = n+1, sum+x, squares+x*x
			}
		}
		mean[class] = sum / n
		square[class] = (squares/n - mean[class]*mean[class]) / n
	}
	return math.Abs(mean[0]-mean[1]) / math.Sqrt(square[0]+square[1])
}
