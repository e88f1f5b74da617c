package api_test

import (
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/coinop/coinop/funding/cashu"
)

func publicKey(private cashu.Scalar) (cashu.Point, error) {
	var p cashu.Point
	err := p.UnmarshalBinary(secp256k1.PrivKeyFromBytes(private[:]).PubKey().SerializeCompressed())
	return p, err
}
