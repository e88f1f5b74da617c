package cashu

import (
	"encoding/hex"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Scalar is a number below the order of the curve, in 32 bytes, highest first.
type Scalar [32]byte

var errScalar = errors.New("not a number of 64 hexadecimal digits below the order of the curve")

// ParseScalar reads 64 hexadecimal digits and refuses zero and what is not
// below the order of the curve.
func ParseScalar(text string) (Scalar, error) {
	var s Scalar
	if err := s.UnmarshalText([]byte(text)); err != nil {
		return Scalar{}, err
	}
	return s, nil
}

// UnmarshalText reads 64 hexadecimal digits.
func (s *Scalar) UnmarshalText(text []byte) error {
	var read Scalar
	if len(text) != 2*len(read) {
		return errScalar
	}
	if _, err := hex.Decode(read[:], text); err != nil {
		return errScalar
	}
	if _, err := read.modN(); err != nil {
		return err
	}
	*s = read
	return nil
}

// MarshalText writes the number in hexadecimal.
func (s Scalar) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// String writes the number in hexadecimal.
func (s Scalar) String() string { return hex.EncodeToString(s[:]) }

// Public is the point that belongs to the number as a private key.
func (s Scalar) Public() (Point, error) {
	k, err := s.modN()
	if err != nil {
		return Point{}, err
	}
	j := multiplyBase(&k)
	return compress(&j)
}

func (s Scalar) modN() (secp256k1.ModNScalar, error) {
	var k secp256k1.ModNScalar
	bytes := [32]byte(s)
	if overflow := k.SetBytes(&bytes); overflow != 0 || k.IsZero() {
		return k, errScalar
	}
	return k, nil
}
