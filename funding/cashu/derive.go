package cashu

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Derive makes a wallet's n-th secret and blinding factor in a keyset from its
// seed (NUT-13), so that the seed alone finds the coins again.
func Derive(seed []byte, id KeysetID, counter uint64) (secret string, r Scalar, err error) {
	if id.IsShort() || len(id) < 2 {
		return "", r, fmt.Errorf("derive coin %d: keyset id %q is not whole", counter, id)
	}
	if id[:2] == "00" {
		return deriveV1(seed, id, counter)
	}
	digest := func(kind byte) [32]byte {
		mac := hmac.New(sha256.New, seed)
		mac.Write([]byte("Cashu_KDF_HMAC_SHA256"))
		mac.Write(id.Bytes())
		mac.Write(binary.BigEndian.AppendUint64(nil, counter))
		mac.Write([]byte{kind})
		return [32]byte(mac.Sum(nil))
	}
	first, second := digest(0), digest(1)
	var factor secp256k1.ModNScalar
	factor.SetBytes(&second) // reduces
	if factor.IsZero() {
		return "", r, fmt.Errorf("derive coin %d: the blinding factor is zero", counter)
	}
	return hex.EncodeToString(first[:]), factor.Bytes(), nil
}

// deriveV1 is the older way, for keysets with the shorter id: a BIP32 path.
func deriveV1(seed []byte, id KeysetID, counter uint64) (string, Scalar, error) {
	const hardened = 1 << 31
	if counter >= hardened {
		return "", Scalar{}, fmt.Errorf("derive coin %d: the path ends at %d", counter, hardened-1)
	}
	number := uint32(binary.BigEndian.Uint64(id.Bytes()) % (hardened - 1))
	node, err := bip32Master(seed)
	path := []uint32{hardened | 129372, hardened, hardened | number, hardened | uint32(counter)}
	for _, step := range path {
		if err == nil {
			node, err = node.child(step)
		}
	}
	if err != nil {
		return "", Scalar{}, fmt.Errorf("derive coin %d: %w", counter, err)
	}
	secret, err := node.child(0)
	if err != nil {
		return "", Scalar{}, fmt.Errorf("derive coin %d: %w", counter, err)
	}
	factor, err := node.child(1)
	if err != nil {
		return "", Scalar{}, fmt.Errorf("derive coin %d: %w", counter, err)
	}
	return hex.EncodeToString(secret.key[:]), factor.key, nil
}

// bip32Node is a private key with its chain code.
type bip32Node struct {
	key   Scalar
	chain [32]byte
}

func bip32Master(seed []byte) (bip32Node, error) {
	mac := hmac.New(sha512.New, []byte("Bitcoin seed"))
	mac.Write(seed)
	return bip32Split(mac.Sum(nil))
}

func bip32Split(sum []byte) (bip32Node, error) {
	node := bip32Node{key: Scalar(sum[:32]), chain: [32]byte(sum[32:])}
	if _, err := node.key.modN(); err != nil {
		return bip32Node{}, errors.New("the seed gives no valid key here")
	}
	return node, nil
}

func (n bip32Node) child(index uint32) (bip32Node, error) {
	mac := hmac.New(sha512.New, n.chain[:])
	if index >= 1<<31 {
		mac.Write([]byte{0})
		mac.Write(n.key[:])
	} else {
		public, err := n.key.Public()
		if err != nil {
			return bip32Node{}, err
		}
		mac.Write(public[:])
	}
	mac.Write(binary.BigEndian.AppendUint32(nil, index))
	sum := mac.Sum(nil)
	tweak, err := bip32Split(sum)
	if err != nil {
		return bip32Node{}, err
	}
	parent, err := n.key.modN()
	if err != nil {
		return bip32Node{}, err
	}
	added, err := tweak.key.modN()
	if err != nil {
		return bip32Node{}, err
	}
	added.Add(&parent)
	if added.IsZero() {
		return bip32Node{}, errors.New("the seed gives no valid key here")
	}
	return bip32Node{key: added.Bytes(), chain: tweak.chain}, nil
}
