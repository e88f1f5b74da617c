package mint

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

// SecretBytes is the length of an epoch's secret.
const SecretBytes = 32

// Secret is what an epoch's private keys are derived from.
type Secret [SecretBytes]byte

// String keeps the secret out of logs.
func (Secret) String() string { return "secret" }

// GoString keeps the secret out of logs.
func (Secret) GoString() string { return "mint.Secret" }

// Epoch is a secret with its number.
type Epoch struct {
	Number EpochNumber
	Secret Secret
}

// pair is a private key with what a proof needs of its public one.
type pair struct {
	private [32]byte
	public  affine
}

type opened struct {
	id    cashu.KeysetID
	pairs [cashu.CoinKinds]pair
}

// Keyring holds private keys. It is immutable and safe for any number of
// goroutines; a server makes a new one when keysets or epochs are added.
type Keyring struct {
	keysets map[cashu.KeysetID]*opened
}

// NewKeyring derives the private keys of every keyset whose epoch is given, and
// fails if the result is not the keys of the state: such a server must neither
// lead nor sign. Closed keysets are left out, there is nothing to sign in them.
func NewKeyring(epochs []Epoch, keysets []Keyset) (*Keyring, error) {
	ring := &Keyring{keysets: make(map[cashu.KeysetID]*opened, len(keysets))}
	for _, keyset := range keysets {
		if keyset.State == KeysetClosed {
			continue
		}
		secret, ok := secretOf(epochs, keyset.Epoch)
		if !ok {
			return nil, fmt.Errorf("open keyset %s: the secret of epoch %d is not here", keyset.ID, keyset.Epoch)
		}
		keys, public := derive(secret, keyset.Number, keyset.Unit)
		id := public.IDv2(keyset.Unit, uint64(keyset.InputFeePPK), keyset.FinalExpiry)
		if id != keyset.ID || !sameKeys(public, keyset.Keys) {
			return nil, fmt.Errorf("open keyset %s: the secret of epoch %d gives other keys (keyset %s); it is not this cluster's secret",
				keyset.ID, keyset.Epoch, id)
		}
		keys.id = keyset.ID
		ring.keysets[keyset.ID] = keys
	}
	return ring, nil
}

func secretOf(epochs []Epoch, number EpochNumber) (Secret, bool) {
	for _, epoch := range epochs {
		if epoch.Number == number {
			return epoch.Secret, true
		}
	}
	return Secret{}, false
}

func sameKeys(a, b cashu.Keys) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Define makes the public record of a new keyset from an epoch's secret. The
// same arguments give the same keyset.
func Define(epoch Epoch, number KeysetNumber, unit string, inputFeePPK uint32, finalExpiry int64) (Keyset, error) {
	_, public := derive(epoch.Secret, number, unit)
	keyset := Keyset{
		Number: number, Unit: unit, Epoch: epoch.Number, State: KeysetActive,
		InputFeePPK: inputFeePPK, FinalExpiry: finalExpiry, Keys: public,
	}
	keyset.ID = public.IDv2(unit, uint64(inputFeePPK), finalExpiry)
	if err := CheckKeyset(keyset); err != nil {
		return Keyset{}, fmt.Errorf("define keyset: %w", err)
	}
	return keyset, nil
}

// derive makes the private keys of a keyset: HMAC-SHA256 over number, unit and
// power, drawn again while it is no valid key (which nobody will ever see).
func derive(secret Secret, number KeysetNumber, unit string) (*opened, cashu.Keys) {
	keys := new(opened)
	public := make(cashu.Keys, cashu.CoinKinds)
	for power := range keys.pairs {
		for try := byte(0); ; try++ {
			mac := hmac.New(sha256.New, secret[:])
			mac.Write([]byte("coinop/1/mint key"))
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(number)))
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(unit))))
			mac.Write([]byte(unit))
			mac.Write([]byte{byte(power), try})
			private := [32]byte(mac.Sum(nil))
			point, ok := multiplyBase(&private)
			if !ok {
				continue
			}
			keys.pairs[power] = pair{private: private, public: point}
			public[power] = cashu.Key{Amount: 1 << power, Point: point.compress()}
			break
		}
	}
	return keys, public
}

func (r *Keyring) pair(id cashu.KeysetID, amount cashu.Units) (*pair, error) {
	keys, ok := r.keysets[id]
	if !ok {
		return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "keyset %.20s has no keys here", id)
	}
	power, ok := amount.Power()
	if !ok {
		return nil, cashu.Refuse(cashu.CodeAmountRange, "no coin is worth %d", amount)
	}
	return &keys.pairs[power], nil
}

// Has reports whether a keyset's private keys are here.
func (r *Keyring) Has(id cashu.KeysetID) bool {
	_, ok := r.keysets[id]
	return ok
}

// Verify checks that the mint signed a coin: k·Y == C. The point Y is handed in
// because the caller has needed it before; it must be the secret's.
func (r *Keyring) Verify(proof cashu.Proof, y cashu.Point) error {
	pair, err := r.pair(proof.ID, proof.Amount)
	if err != nil {
		return err
	}
	forged := cashu.Refuse(cashu.CodeProofInvalid,
		"a coin of %d was not signed by this mint, or was altered; nothing was taken", proof.Amount)
	open, ok := decompress(y)
	if !ok {
		return forged
	}
	product, ok := open.multiply(&pair.private)
	if !ok {
		return forged
	}
	want := product.compress()
	// A comparison that ends early would tell a forger how much was right.
	if subtle.ConstantTimeCompare(want[:], proof.C[:]) != 1 {
		return forged
	}
	return nil
}

// Sign makes the signature on a blinded output, with its proof. It is pure: the
// proof's nonce is derived (NUT-12), so the same output and amount give the same
// bytes on every server, and nothing needs to be kept. Whether it may be signed
// is for the caller to know from the state.
func (r *Keyring) Sign(id cashu.KeysetID, amount cashu.Units, blinded cashu.Point) (cashu.BlindSignature, error) {
	pair, err := r.pair(id, amount)
	if err != nil {
		return cashu.BlindSignature{}, err
	}
	open, ok := decompress(blinded)
	if !ok {
		return cashu.BlindSignature{}, cashu.Refuse(cashu.CodeMalformed, "B_ %s is not a point of the curve", blinded)
	}
	signed, ok := open.multiply(&pair.private)
	if !ok {
		return cashu.BlindSignature{}, fmt.Errorf("sign %s: the key is not valid", blinded)
	}
	proof, err := prove(pair, open, signed)
	if err != nil {
		return cashu.BlindSignature{}, fmt.Errorf("sign %s: %w", blinded, err)
	}
	return cashu.BlindSignature{Amount: amount, ID: id, C_: signed.compress(), DLEQ: &proof}, nil
}
