package cashu

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// QuoteState says how far the issue of coins against a quote has come.
type QuoteState string

// The states of NUT-04.
const (
	QuoteUnpaid QuoteState = "UNPAID"
	QuotePaid   QuoteState = "PAID"
	QuoteIssued QuoteState = "ISSUED"
)

// MintQuoteRequest is the body of POST /v1/mint/quote/{method}.
type MintQuoteRequest struct {
	Amount      Units   `json:"amount"`
	Unit        string  `json:"unit"`
	Description *string `json:"description,omitempty"`
	Pubkey      *Point  `json:"pubkey,omitempty"`
}

// MintQuote answers it, and GET /v1/mint/quote/{method}/{quote}.
type MintQuote struct {
	Quote   string     `json:"quote"`
	Request string     `json:"request"`
	Amount  Units      `json:"amount"`
	Unit    string     `json:"unit"`
	State   QuoteState `json:"state"`
	Expiry  *int64     `json:"expiry"` // seconds since 1970, null for never
	Pubkey  *Point     `json:"pubkey,omitempty"`
}

// MintRequest is the body of POST /v1/mint/{method}.
type MintRequest struct {
	Quote     string           `json:"quote"`
	Outputs   []BlindedMessage `json:"outputs"`
	Signature string           `json:"signature,omitempty"`
}

// message is the hash that NUT-20 signs: the quote's id and every B_ in order.
func (r MintRequest) message() [32]byte {
	text := []byte(r.Quote)
	for _, output := range r.Outputs {
		text = hex.AppendEncode(text, output.B_[:])
	}
	return sha256.Sum256(text)
}

// Sign adds the signature of the quote's key (NUT-20), so that the quote's id
// alone does not let anyone take the coins.
func (r *MintRequest) Sign(key Scalar) error {
	if _, err := key.modN(); err != nil {
		return err
	}
	private, _ := btcec.PrivKeyFromBytes(key[:])
	hash := r.message()
	signature, err := schnorr.Sign(private, hash[:])
	if err != nil {
		return err
	}
	r.Signature = hex.EncodeToString(signature.Serialize())
	return nil
}

// VerifySignature checks the signature against the key the quote was made with.
func (r MintRequest) VerifySignature(pubkey Point) error {
	refusal := Refuse(CodeQuoteSignature,
		"quote %s is locked to a key and the request is not signed with it; sign the quote's id and the outputs as NUT-20 says", r.Quote)
	raw, err := hex.DecodeString(r.Signature)
	if err != nil {
		return refusal
	}
	signature, err := schnorr.ParseSignature(raw)
	if err != nil {
		return refusal
	}
	key, err := schnorr.ParsePubKey(pubkey[1:])
	if err != nil {
		return refusal
	}
	hash := r.message()
	if !signature.Verify(hash[:], key) {
		return refusal
	}
	return nil
}
