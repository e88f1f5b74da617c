package machine

import (
	"github.com/coinop/coinop/funding"
)

// MintURL says by which one URL the world knows the cluster's mint, whichever server speaks: tokens and payment requests
// name it. What a URL is, whoever proposes it has checked; to the machine it is text.
type MintURL struct {
	URL   string    `cbor:"1,keyasint,omitempty"` // empty: each server's own
	Token TokenHash `cbor:"2,keyasint,omitzero"`
}

// MintURLAnswer repeats it.
type MintURLAnswer struct {
	URL string `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (MintURL) Kind() Kind { return KindMintURL }

const mintURLBytesMax = 256

func (c MintURL) apply(tx *Tx, at funding.Millis) (any, error) {
	if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
		return nil, err
	}
	if err := tx.setMintURL(c.URL); err != nil {
		return nil, err
	}
	tx.emit(Event{Kind: EventMintURL, Text: c.URL})
	return MintURLAnswer{URL: c.URL}, nil
}

func (tx *Tx) setMintURL(url string) error {
	if len(url) > mintURLBytesMax {
		return refuse(CodeLimit, "the mint's URL has %d bytes, the limit is %d", len(url), mintURLBytesMax)
	}
	tx.meta.MintURL = url
	return nil
}
