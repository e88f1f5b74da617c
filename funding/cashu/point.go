package cashu

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	libsecp256k1 "github.com/ethereum/go-ethereum/crypto/secp256k1"
)

// PointBytes is the length of a compressed curve point.
const PointBytes = 33

// Point is a compressed point of secp256k1. Each point has exactly one such
// form, so points may be compared and used as keys of maps.
//
// A Point read from text is on the curve. One read from binary was only
// checked for its form: binary is what travels in our own log, and what enters
// the log was read from text first.
type Point [PointBytes]byte

var errPoint = errors.New("not a compressed point of secp256k1 (66 hexadecimal digits, beginning with 02 or 03)")

// ParsePoint reads a compressed point and refuses what is not on the curve.
func ParsePoint(text string) (Point, error) {
	var p Point
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return Point{}, err
	}
	return p, nil
}

// UnmarshalText reads a point in hexadecimal and checks that it is on the curve.
func (p *Point) UnmarshalText(text []byte) error {
	var read Point
	if err := read.setHex(text); err != nil {
		return err
	}
	if !read.OnCurve() {
		return errPoint
	}
	*p = read
	return nil
}

func (p *Point) setHex(text []byte) error {
	if len(text) != 2*PointBytes {
		return errPoint
	}
	var read Point
	if _, err := hex.Decode(read[:], text); err != nil || !read.formed() {
		return errPoint
	}
	*p = read
	return nil
}

// MarshalText writes the point in hexadecimal.
func (p Point) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, p[:]), nil
}

// UnmarshalBinary reads the 33 bytes of a point and checks their form only.
func (p *Point) UnmarshalBinary(data []byte) error {
	if len(data) != PointBytes {
		return fmt.Errorf("read point: %d bytes instead of %d", len(data), PointBytes)
	}
	read := Point(data)
	if !read.formed() {
		return errPoint
	}
	*p = read
	return nil
}

// MarshalBinary writes the 33 bytes of the point.
func (p Point) MarshalBinary() ([]byte, error) { return p[:], nil }

// String writes the point in hexadecimal.
func (p Point) String() string { return hex.EncodeToString(p[:]) }

// IsZero reports whether no point was set.
func (p Point) IsZero() bool { return p == Point{} }

// OnCurve reports whether the bytes are a point of the curve.
func (p Point) OnCurve() bool {
	_, err := p.jacobian()
	return err == nil
}

func (p Point) formed() bool { return p[0] == 2 || p[0] == 3 }

// jacobian opens a point for arithmetic. libsecp256k1 takes its square root in
// a third of the time that it takes in Go.
func (p Point) jacobian() (secp256k1.JacobianPoint, error) {
	x, y := libsecp256k1.DecompressPubkey(p[:])
	if x == nil {
		return secp256k1.JacobianPoint{}, errPoint
	}
	return jacobianOf(x, y), nil
}

var errInfinity = errors.New("the result is the point at infinity")

// compress closes the result of arithmetic; the point at infinity has no form.
func compress(j *secp256k1.JacobianPoint) (Point, error) {
	if (j.X.IsZero() && j.Y.IsZero()) || j.Z.IsZero() {
		return Point{}, errInfinity
	}
	toAffine(j)
	var p Point
	p[0] = 2
	if j.Y.IsOdd() {
		p[0] = 3
	}
	j.X.PutBytesUnchecked(p[1:])
	return p, nil
}
