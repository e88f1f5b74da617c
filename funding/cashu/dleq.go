package cashu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Uncompressed is the 65-byte form of a point, which the proofs of NUT-12 hash.
func (p Point) Uncompressed() ([65]byte, error) {
	j, err := p.jacobian()
	if err != nil {
		return [65]byte{}, err
	}
	return uncompressed(&j)
}

// HashE is NUT-12's hash over points in their uncompressed form.
func HashE(points ...[65]byte) [32]byte {
	text := make([]byte, 0, 130*len(points))
	for _, p := range points {
		text = hex.AppendEncode(text, p[:])
	}
	return sha256.Sum256(text)
}

// VerifyDLEQ checks that C_ was made from B_ with the private key of key.
func VerifyDLEQ(proof DLEQ, key, blinded, signed Point) error {
	refusal := Refuse(CodeProofInvalid, "the signature was not made with the mint's published key; do not use this mint")
	keyJ, err := key.jacobian()
	if err != nil {
		return refusal
	}
	blindedJ, err := blinded.jacobian()
	if err != nil {
		return refusal
	}
	signedJ, err := signed.jacobian()
	if err != nil {
		return refusal
	}
	s, err := proof.S.modN()
	if err != nil {
		return refusal
	}
	e, err := proof.E.modN()
	if err != nil {
		return refusal
	}
	e.Negate()
	r1 := sumOf(multiplyBase(&s), multiplyPoint(&e, keyJ))
	r2 := sumOf(multiplyPoint(&s, blindedJ), multiplyPoint(&e, signedJ))
	var points [4][65]byte
	for i, j := range []*secp256k1.JacobianPoint{&r1, &r2, &keyJ, &signedJ} {
		if points[i], err = uncompressed(j); err != nil {
			return refusal
		}
	}
	if HashE(points[:]...) != [32]byte(proof.E) {
		return refusal
	}
	return nil
}

// VerifyDLEQ checks the proof on a signature for the B_ that was sent.
func (s BlindSignature) VerifyDLEQ(key, blinded Point) error {
	if s.DLEQ == nil {
		return Refuse(CodeProofInvalid, "the mint sent no proof that it used its published key (NUT-12)")
	}
	return VerifyDLEQ(*s.DLEQ, key, blinded, s.C_)
}

// VerifyDLEQ checks the proof on a coin that came from someone else, who has
// handed on the blinding factor with it: B_ and C_ are made again from that.
func (p Proof) VerifyDLEQ(key Point) error {
	if p.DLEQ == nil || p.DLEQ.R == nil {
		return Refuse(CodeProofInvalid, "the coin carries no proof that the mint signed it (NUT-12)")
	}
	blinded, err := Blind([]byte(p.Secret), *p.DLEQ.R)
	if err != nil {
		return err
	}
	signed, err := Reblind(p.C, *p.DLEQ.R, key)
	if err != nil {
		return err
	}
	return VerifyDLEQ(*p.DLEQ, key, blinded, signed)
}

// Reblind puts the factor back on a signature: C_ = C + rK.
func Reblind(unblinded Point, r Scalar, key Point) (Point, error) {
	factor, err := r.modN()
	if err != nil {
		return Point{}, fmt.Errorf("reblind: %w", err)
	}
	negated := factor
	negated.Negate()
	return Unblind(unblinded, Scalar(negated.Bytes()), key)
}

func sumOf(a, b secp256k1.JacobianPoint) (sum secp256k1.JacobianPoint) {
	secp256k1.AddNonConst(&a, &b, &sum)
	return sum
}

// uncompressed closes the result of arithmetic in the form that NUT-12 hashes,
// without the square root that a compressed point would cost again.
func uncompressed(j *secp256k1.JacobianPoint) (out [65]byte, err error) {
	if (j.X.IsZero() && j.Y.IsZero()) || j.Z.IsZero() {
		return out, errInfinity
	}
	toAffine(j)
	out[0] = 4
	j.X.PutBytesUnchecked(out[1:])
	j.Y.PutBytesUnchecked(out[33:])
	return out, nil
}
