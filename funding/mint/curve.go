package mint

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"math/big"

	decred "github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/ethereum/go-ethereum/crypto/secp256k1"

	"github.com/coinop/coinop/funding/cashu"
)

// affine is a point with both its coordinates. All multiplications here are
// with secrets, the mint's keys or the nonces that hide them, so they go through
// libsecp256k1, whose time does not depend on the numbers.
type affine struct {
	x, y *big.Int
}

func decompress(p cashu.Point) (affine, bool) {
	x, y := secp256k1.DecompressPubkey(p[:])
	return affine{x, y}, x != nil
}

func multiplyBase(k *[32]byte) (affine, bool) {
	curve := secp256k1.S256()
	return affine{curve.Gx, curve.Gy}.multiply(k)
}

// multiply fails where k is zero or not below the order of the curve.
func (a affine) multiply(k *[32]byte) (affine, bool) {
	x, y := secp256k1.S256().ScalarMult(a.x, a.y, k[:])
	return affine{x, y}, x != nil
}

func (a affine) compress() cashu.Point {
	var p cashu.Point
	p[0] = 2 | byte(a.y.Bit(0))
	a.x.FillBytes(p[1:])
	return p
}

func (a affine) uncompressed() [65]byte {
	var out [65]byte
	out[0] = 4
	a.x.FillBytes(out[1:33])
	a.y.FillBytes(out[33:])
	return out
}

// prove makes NUT-12's proof that C_ = k·B_ for the k of the public key.
func prove(keys *pair, blinded, signed affine) (cashu.DLEQ, error) {
	public, b, c := keys.public.uncompressed(), blinded.uncompressed(), signed.uncompressed()
	var private, nonce, challenge decred.ModNScalar
	private.SetBytes(&keys.private) // it was seen to be valid when it was derived
	defer private.Zero()
	defer nonce.Zero()
	for counter := 0; counter < 256; counter++ {
		mac := hmac.New(sha256.New, keys.private[:])
		mac.Write([]byte("Cashu_DLEQ_R_v1"))
		mac.Write(public[:])
		mac.Write(b[:])
		mac.Write(c[:])
		mac.Write([]byte{byte(counter)})
		r := [32]byte(mac.Sum(nil))
		if nonce.SetBytes(&r) != 0 || nonce.IsZero() {
			continue
		}
		r1, ok1 := multiplyBase(&r)
		r2, ok2 := blinded.multiply(&r)
		if !ok1 || !ok2 {
			continue
		}
		e := cashu.HashE(r1.uncompressed(), r2.uncompressed(), public, c)
		// A hash at or above the order would be read differently by verifiers.
		if challenge.SetBytes(&e) != 0 || challenge.IsZero() {
			continue
		}
		challenge.Mul(&private).Add(&nonce)
		return cashu.DLEQ{E: e, S: challenge.Bytes()}, nil
	}
	return cashu.DLEQ{}, errors.New("no nonce in 256 tries")
}
