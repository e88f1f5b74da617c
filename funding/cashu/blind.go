package cashu

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// SpentKey names a coin in the set of spent coins: the SHA-256 of its point Y.
// Hashing makes keys of even spread that nobody can choose, in 32 bytes.
type SpentKey [32]byte

// MarshalBinary is what snapshots' encoding calls; without it it would go byte by byte.
func (k SpentKey) MarshalBinary() ([]byte, error) { return k[:], nil }

// SpentKeyOf is the key of the coin whose secret hashes to this point.
func SpentKeyOf(y Point) SpentKey { return sha256.Sum256(y[:]) }

// HashToCurve turns a coin's secret into a point whose logarithm nobody knows
// (NUT-00).
func HashToCurve(secret []byte) Point {
	p, _ := hashToCurve(secret)
	return p
}

// hashToCurve gives the point both closed and open for arithmetic.
func hashToCurve(secret []byte) (Point, secp256k1.JacobianPoint) {
	const domain = "Secp256k1_HashToCurve_Cashu_"
	message := make([]byte, 0, len(domain)+len(secret))
	message = append(append(message, domain...), secret...)
	inner := sha256.Sum256(message)

	var try [sha256.Size + 4]byte
	copy(try[:], inner[:])
	for counter := uint32(0); ; counter++ {
		// Every second try is a point, so this ends after a few.
		binary.LittleEndian.PutUint32(try[sha256.Size:], counter)
		hash := sha256.Sum256(try[:])
		var p Point
		p[0] = 2
		copy(p[1:], hash[:])
		if j, err := p.jacobian(); err == nil {
			return p, j
		}
	}
}

// Blind hides a secret's point behind the factor r: B_ = Y + rG.
func Blind(secret []byte, r Scalar) (Point, error) {
	factor, err := r.modN()
	if err != nil {
		return Point{}, fmt.Errorf("blind: %w", err)
	}
	_, y := hashToCurve(secret)
	var sum secp256k1.JacobianPoint
	rG := multiplyBase(&factor)
	secp256k1.AddNonConst(&y, &rG, &sum)
	return compress(&sum)
}

// Unblind takes the factor out of a blind signature: C = C_ − rK.
func Unblind(signed Point, r Scalar, key Point) (Point, error) {
	factor, err := r.modN()
	if err != nil {
		return Point{}, fmt.Errorf("unblind: %w", err)
	}
	signedJ, err := signed.jacobian()
	if err != nil {
		return Point{}, fmt.Errorf("unblind: signature: %w", err)
	}
	keyJ, err := key.jacobian()
	if err != nil {
		return Point{}, fmt.Errorf("unblind: key: %w", err)
	}
	factor.Negate()
	var sum secp256k1.JacobianPoint
	minusRK := multiplyPoint(&factor, keyJ)
	secp256k1.AddNonConst(&signedJ, &minusRK, &sum)
	return compress(&sum)
}
