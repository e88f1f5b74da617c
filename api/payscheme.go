package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The "Payment" authentication scheme (draft-httpauth-payment), with the method cashu and the intent charge.
const (
	payScheme    = "Payment"
	payRealm     = "coinop"
	payMethod    = "cashu"
	payIntent    = "charge"
	payReceipt   = "Payment-Receipt"
	payTerm      = 10 * time.Minute
	payHeaderMax = 8 << 10 // many proxies let no more through
)

// challenge is what a 402 asks for. Its id binds the rest to a key that all servers derive, so none keeps it.
type challenge struct {
	ID      string `json:"id"`
	Realm   string `json:"realm"`
	Method  string `json:"method"`
	Intent  string `json:"intent"`
	Request string `json:"request"` // base64url of a payRequest
	Expires string `json:"expires,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the request's body (RFC 9530)
	Opaque  string `json:"opaque,omitempty"` // never ours
}

// payRequest has its fields in the order of their names, as the canonical form of JSON wants them.
type payRequest struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Details  struct {
		PaymentRequest string `json:"paymentRequest"` // NUT-18
	} `json:"methodDetails"`
}

type credential struct {
	Challenge challenge `json:"challenge"`
	Source    string    `json:"source,omitempty"`
	Payload   struct {
		Token string `json:"token"`
	} `json:"payload"`
}

type payReceiptBody struct {
	ChallengeID string `json:"challengeId"`
	Method      string `json:"method"`
	Reference   string `json:"reference"` // the job's number
	Status      string `json:"status"`
	Timestamp   string `json:"timestamp"`
}

// bind is a challenge's id: HMAC-SHA256 over its parts in a fixed order, an absent one being empty.
func (c challenge) bind(key [32]byte) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(strings.Join([]string{c.Realm, c.Method, c.Intent, c.Request, c.Expires, c.Digest, c.Opaque}, "|")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// header is the challenge as WWW-Authenticate carries it. None of its parts needs to be quoted further.
func (c challenge) header() string {
	return fmt.Sprintf(`%s id="%s", realm="%s", method="%s", intent="%s", request="%s", expires="%s", digest="%s"`,
		payScheme, c.ID, c.Realm, c.Method, c.Intent, c.Request, c.Expires, c.Digest)
}

func (a *API) payKey() (key [32]byte, ok bool) {
	ring, err := a.ring()
	if err != nil {
		return key, false
	}
	return ring.Label("payment challenges")
}

// digestOf is a body's Content-Digest.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// base64JSON is JSON in a header. What is in it is ours or was read, so it can always be encoded.
func base64JSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the canonical form has no such escapes
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}
