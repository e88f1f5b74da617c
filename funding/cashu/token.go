package cashu

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of what is decoded: above any honest token, below what hurts.
const (
	tokenBytesMax  = 1 << 20
	tokenCoinsMax  = 4096
	tokenTextMax   = 2048
	tokenMintsMax  = 1
	secretBytesMax = 4096
)

// Token is coins on their way from one wallet to another. All are of one mint.
type Token struct {
	Mint   string
	Unit   string
	Memo   string
	Proofs []Proof
}

type tokenV3 struct {
	Token []tokenV3Entry `json:"token"`
	Unit  string         `json:"unit,omitempty"`
	Memo  string         `json:"memo,omitempty"`
}

type tokenV3Entry struct {
	Mint   string  `json:"mint"`
	Proofs []Proof `json:"proofs"`
}

// The order of fields is that of the protocol's examples, so that the same
// token encodes to the same text.
type tokenV4 struct {
	Entries []tokenV4Entry `cbor:"t"`
	Memo    string         `cbor:"d,omitempty"`
	Mint    string         `cbor:"m"`
	Unit    string         `cbor:"u"`
}

type tokenV4Entry struct {
	ID     []byte         `cbor:"i"`
	Proofs []tokenV4Proof `cbor:"p"`
}

type tokenV4Proof struct {
	Amount  uint64       `cbor:"a"`
	Secret  string       `cbor:"s"`
	C       []byte       `cbor:"c"`
	DLEQ    *tokenV4DLEQ `cbor:"d,omitempty"`
	Witness string       `cbor:"w,omitempty"`
}

type tokenV4DLEQ struct {
	E []byte `cbor:"e"`
	S []byte `cbor:"s"`
	R []byte `cbor:"r"`
}

// EncodeToken writes a token in the newer form, cashuB….
func EncodeToken(token Token) (string, error) {
	raw, err := encodeV4(token)
	if err != nil {
		return "", err
	}
	return "cashuB" + base64.RawURLEncoding.EncodeToString(raw), nil
}

// EncodeTokenRaw writes the newer form's bytes, for media that need no text.
func EncodeTokenRaw(token Token) ([]byte, error) {
	raw, err := encodeV4(token)
	if err != nil {
		return nil, err
	}
	return append([]byte("crawB"), raw...), nil
}

func encodeV4(token Token) ([]byte, error) {
	out := tokenV4{Memo: token.Memo, Mint: strings.TrimRight(token.Mint, "/"), Unit: token.Unit}
	at := make(map[KeysetID]int)
	for _, proof := range token.Proofs {
		i, ok := at[proof.ID]
		if !ok {
			i = len(out.Entries)
			at[proof.ID] = i
			out.Entries = append(out.Entries, tokenV4Entry{ID: proof.ID.Bytes()})
		}
		coin := tokenV4Proof{Amount: uint64(proof.Amount), Secret: proof.Secret, C: proof.C[:], Witness: proof.Witness}
		if proof.DLEQ != nil && proof.DLEQ.R != nil {
			coin.DLEQ = &tokenV4DLEQ{E: proof.DLEQ.E[:], S: proof.DLEQ.S[:], R: proof.DLEQ.R[:]}
		}
		out.Entries[i].Proofs = append(out.Entries[i].Proofs, coin)
	}
	raw, err := cbor.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode token: %w", err)
	}
	return raw, nil
}

// EncodeTokenV3 writes a token in the older form, cashuA…, for older wallets.
func EncodeTokenV3(token Token) (string, error) {
	body, err := json.Marshal(tokenV3{
		Token: []tokenV3Entry{{Mint: strings.TrimRight(token.Mint, "/"), Proofs: token.Proofs}},
		Unit:  token.Unit, Memo: token.Memo,
	})
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	return "cashuA" + base64.RawURLEncoding.EncodeToString(body), nil
}

// DecodeToken reads a token in either form, with or without "cashu:" before it.
func DecodeToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	text = strings.TrimPrefix(text, "cashu:")
	if len(text) > tokenBytesMax {
		return Token{}, fmt.Errorf("read token: longer than %d bytes", tokenBytesMax)
	}
	version, body, ok := cutPrefix(text, "cashu")
	if !ok {
		return Token{}, errors.New(`read token: it does not begin with "cashuA" or "cashuB"`)
	}
	raw, err := decodeBase64(body)
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	var token Token
	switch version {
	case 'A':
		token, err = decodeV3(raw)
	case 'B':
		token, err = decodeV4(raw)
	default:
		err = fmt.Errorf("version %q is not known", version)
	}
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return token, nil
}

// DecodeTokenRaw reads the bytes that [EncodeTokenRaw] writes.
func DecodeTokenRaw(raw []byte) (Token, error) {
	body, ok := bytes.CutPrefix(raw, []byte("crawB"))
	if !ok || len(raw) > tokenBytesMax {
		return Token{}, errors.New(`read token: it does not begin with "crawB"`)
	}
	token, err := decodeV4(body)
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return token, nil
}

func cutPrefix(text, prefix string) (version byte, rest string, ok bool) {
	rest, ok = strings.CutPrefix(text, prefix)
	if !ok || rest == "" {
		return 0, "", false
	}
	return rest[0], rest[1:], true
}

// decodeBase64 takes both alphabets and padding or none, as wallets do.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("what follows the version is not base64")
	}
	return raw, nil
}

func decodeV3(raw []byte) (Token, error) {
	var in tokenV3
	if err := DecodeJSON(raw, &in); err != nil {
		return Token{}, err
	}
	if len(in.Token) != tokenMintsMax {
		return Token{}, fmt.Errorf("coins of %d mints; receive those of one mint at a time", len(in.Token))
	}
	return Token{Mint: in.Token[0].Mint, Unit: in.Unit, Memo: in.Memo, Proofs: in.Token[0].Proofs}, nil
}

func decodeV4(raw []byte) (Token, error) {
	var in tokenV4
	if err := decodeCBOR(raw, &in); err != nil {
		return Token{}, err
	}
	token := Token{Mint: in.Mint, Unit: in.Unit, Memo: in.Memo}
	for _, entry := range in.Entries {
		id, err := ParseKeysetID(hex.EncodeToString(entry.ID))
		if err != nil {
			return Token{}, err
		}
		for _, coin := range entry.Proofs {
			proof, err := coin.proof(id)
			if err != nil {
				return Token{}, fmt.Errorf("coin %d: %w", len(token.Proofs)+1, err)
			}
			token.Proofs = append(token.Proofs, proof)
		}
	}
	return token, nil
}

func (c tokenV4Proof) proof(id KeysetID) (Proof, error) {
	proof := Proof{Amount: Units(c.Amount), ID: id, Secret: c.Secret, Witness: c.Witness}
	if err := proof.C.UnmarshalBinary(c.C); err != nil {
		return Proof{}, err
	}
	if !proof.C.OnCurve() {
		return Proof{}, errPoint
	}
	if c.DLEQ == nil {
		return proof, nil
	}
	proof.DLEQ = &DLEQ{R: new(Scalar)}
	fields := []struct {
		to   *Scalar
		from []byte
	}{{&proof.DLEQ.E, c.DLEQ.E}, {&proof.DLEQ.S, c.DLEQ.S}, {proof.DLEQ.R, c.DLEQ.R}}
	for _, field := range fields {
		if len(field.from) != len(field.to) {
			return Proof{}, errScalar
		}
		*field.to = Scalar(field.from)
		if _, err := field.to.modN(); err != nil {
			return Proof{}, err
		}
	}
	return proof, nil
}

// checkToken bounds what either form has brought.
func checkToken(token Token) error {
	if len(token.Proofs) == 0 || len(token.Proofs) > tokenCoinsMax {
		return fmt.Errorf("%d coins; it must be 1 to %d", len(token.Proofs), tokenCoinsMax)
	}
	if token.Mint == "" || len(token.Mint) > tokenTextMax || len(token.Unit) > tokenTextMax || len(token.Memo) > tokenTextMax {
		return fmt.Errorf("mint, unit and memo must be at most %d bytes, and the mint is needed", tokenTextMax)
	}
	seen := make(map[string]struct{}, len(token.Proofs))
	for i, proof := range token.Proofs {
		if proof.Amount == 0 || proof.Secret == "" || len(proof.Secret) > secretBytesMax || proof.C.IsZero() || proof.ID == "" {
			return fmt.Errorf("coin %d lacks its amount, keyset, secret or signature", i+1)
		}
		if _, twice := seen[proof.Secret]; twice {
			return fmt.Errorf("coin %d is in it twice", i+1)
		}
		seen[proof.Secret] = struct{}{}
	}
	if _, err := SumProofs(token.Proofs); err != nil {
		return err
	}
	return nil
}
