package cashu

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// PaymentRequest asks for coins (NUT-18). No transport means that the coins are
// expected where the request was seen, as in an answer 402 (NUT-24).
type PaymentRequest struct {
	Transports  []Transport `json:"t,omitempty" cbor:"t,omitempty"`
	ID          string      `json:"i,omitempty" cbor:"i,omitempty"`
	Amount      Units       `json:"a,omitempty" cbor:"a,omitempty"`
	Unit        string      `json:"u,omitempty" cbor:"u,omitempty"`
	Mints       []string    `json:"m,omitempty" cbor:"m,omitempty"`
	Description string      `json:"d,omitempty" cbor:"d,omitempty"`
	SingleUse   *bool       `json:"s,omitempty" cbor:"s,omitempty"`
	Condition   *Condition  `json:"nut10,omitempty" cbor:"nut10,omitempty"`
}

// Transport is a way to hand the coins over.
type Transport struct {
	Type   string     `json:"t" cbor:"t"`
	Target string     `json:"a" cbor:"a"`
	Tags   [][]string `json:"g,omitempty" cbor:"g,omitempty"`
}

// Condition is a lock that the coins are to carry.
type Condition struct {
	Kind string     `json:"k" cbor:"k"`
	Data string     `json:"d" cbor:"d"`
	Tags [][]string `json:"t,omitempty" cbor:"t,omitempty"`
}

// PaymentHeader carries a payment request in an answer 402, and a token in the
// request that follows it (NUT-24).
const PaymentHeader = "X-Cashu"

const payRequestBytesMax = 16 << 10

// Encode writes the request as creqA….
func (r PaymentRequest) Encode() (string, error) {
	if r.Amount != 0 && r.Unit == "" {
		return "", errors.New("encode payment request: an amount needs its unit")
	}
	raw, err := cbor.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode payment request: %w", err)
	}
	return "creqA" + base64.URLEncoding.EncodeToString(raw), nil
}

// DecodePaymentRequest reads creqA….
func DecodePaymentRequest(text string) (PaymentRequest, error) {
	var r PaymentRequest
	if len(text) > payRequestBytesMax {
		return r, fmt.Errorf("read payment request: longer than %d bytes", payRequestBytesMax)
	}
	version, body, ok := cutPrefix(text, "creq")
	if !ok || version != 'A' {
		return r, errors.New(`read payment request: it does not begin with "creqA"`)
	}
	raw, err := decodeBase64(body)
	if err == nil {
		err = decodeCBOR(raw, &r)
	}
	if err == nil && r.Amount != 0 && r.Unit == "" {
		err = errors.New("it has an amount and no unit")
	}
	if err != nil {
		return PaymentRequest{}, fmt.Errorf("read payment request: %w", err)
	}
	return r, nil
}
