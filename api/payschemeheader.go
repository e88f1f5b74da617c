package api

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
)

// headerPayment is whether a payment came in the header, and which challenge it answers.
type headerPayment struct {
	came bool
	id   string
}

// payByHeader takes the coins out of an Authorization header of the scheme, if there is one, and puts them into the
// request as if they had come in the body. A request that was carried out before needs no challenge that still holds.
func (a *API) payByHeader(r *http.Request, body []byte, in *client.SubmitRequest) (headerPayment, error) {
	var paid headerPayment
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, payScheme) {
		return paid, nil
	}
	paid.came = true
	if len(text) > payHeaderMax {
		return paid, fail(codeHeaderLarge, "the Authorization header has %d bytes, of which %d may be coins", len(text), payHeaderMax)
	}
	c, token, err := readCredential(strings.TrimSpace(text))
	if err != nil {
		return paid, fail(codePaymentInvalid, "%v", err)
	}
	paid.id = c.Challenge.ID
	if len(in.Inputs) > 0 || in.Pot != "" {
		return paid, fail(codePaymentInvalid, "there are coins in the header, and a payment in the body too")
	}
	v, err := a.linear(r.Context())
	if err != nil {
		return paid, err
	}
	if in.Inputs, err = inputsOf(v, token); err != nil {
		return paid, err
	}
	if in.Pay == 0 {
		back, err := cashu.SumOutputs(in.Outputs)
		if err != nil {
			return paid, fail(codeAmount, "outputs: %v", err)
		}
		if in.Pay, err = a.depositOf(v, in.Inputs, back); err != nil {
			return paid, err
		}
	}
	print, err := fingerprint(v, submitEndpoint, in.Payment, submitRest(*in))
	if err != nil {
		return paid, err
	}
	if _, known := v.Asked(print); known {
		return paid, nil
	}
	return paid, a.checkChallenge(v, c.Challenge, body)
}

func readCredential(text string) (credential, cashu.Token, error) {
	var c credential
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return c, cashu.Token{}, errors.New("the credential is not base64url")
	}
	if err := cashu.DecodeJSON(raw, &c); err != nil {
		return c, cashu.Token{}, fmt.Errorf("the credential: %w", err)
	}
	token, err := cashu.DecodeToken(c.Payload.Token)
	return c, token, err
}

// inputsOf are a token's coins with the whole names of their keysets: tokens may carry the beginning of them.
func inputsOf(v *machine.View, token cashu.Token) ([]cashu.Proof, error) {
	if token.Unit != "" && token.Unit != v.Unit() {
		return nil, cashu.Refuse(cashu.CodeUnitsDiffer, "the token is in %.40q; this needs %s", token.Unit, v.Unit())
	}
	var known []cashu.KeysetID
	for _, k := range v.Keysets() {
		known = append(known, k.ID)
	}
	for i := range token.Proofs {
		id, err := token.Proofs[i].ID.Resolve(known)
		if err != nil {
			return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "coin %d: %v", i+1, err)
		}
		token.Proofs[i].ID = id
	}
	return token.Proofs, nil
}

// checkChallenge refuses an answer to what this cluster never asked, asked for another body, or asked too long ago.
func (a *API) checkChallenge(v *machine.View, c challenge, body []byte) error {
	key, ok := a.payKey()
	if !ok {
		return fail(codeNoKeys, "this server does not have the mint's keys, or not yet")
	}
	if !hmac.Equal([]byte(c.bind(key)), []byte(c.ID)) || c.Realm != payRealm || c.Method != payMethod || c.Intent != payIntent {
		return fail(codePaymentInvalid, "the credential answers no challenge of this cluster, or one that was altered")
	}
	if c.Digest != digestOf(body) {
		return fail(codePaymentInvalid, "the credential is for a body with the digest %.80s, this one has %s", c.Digest, digestOf(body))
	}
	until, err := time.Parse(time.RFC3339, c.Expires)
	if err != nil || !until.After(clock(a.clusterNow(v))) {
		return fail(codePaymentInvalid, "the challenge has expired at %.40s", c.Expires)
	}
	return nil
}

// payProblem is a refusal of a request that came with a payment in the header: 402 where the payment is what is wrong, and
// 403 where it is refused whoever pays.
func payProblem(p *client.Problem) *client.Problem {
	status := p.Status
	switch p.Code {
	case codePaymentInvalid, codeCoinsForged, codeCoinCondition, codeCoins, codeAmount,
		string(machine.CodeCoinsSpent), string(machine.CodeCoinsTwice), string(machine.CodeKeysetUnknown),
		string(machine.CodeKeysetInactive), string(machine.CodeKeysetStopped), string(machine.CodeUnbalanced):
		status = http.StatusPaymentRequired
	default:
		if status == http.StatusUnauthorized {
			status = http.StatusForbidden
		}
	}
	changed := *p
	changed.Status, changed.Title = status, http.StatusText(status)
	return &changed
}

// challenged adds to a 402 the challenge that a payment in the header has to answer.
func (a *API) challenged(w http.ResponseWriter, r *http.Request, body []byte, asked client.SubmitRequest, paid headerPayment, err error) error {
	p := a.problemOf(a.termsProblem(err))
	if paid.came {
		p = payProblem(p)
	}
	if p.Status != http.StatusPaymentRequired {
		return p
	}
	v := a.node.View()
	if p.Quote == nil {
		if q, err := a.quote(r.Context(), v, client.QuoteRequest{Job: asked.Job, Pay: asked.Pay}); err == nil {
			p.Quote, p.Need = &q, max(q.PayUnits, asked.Pay)
		}
	}
	key, ok := a.payKey()
	if p.Quote == nil || !ok || asked.Pay > 0 && asked.Pay < p.Need {
		return p // a body that names too little has to be changed first
	}
	c := challenge{
		Realm: payRealm, Method: payMethod, Intent: payIntent, Digest: digestOf(body),
		Expires: clock(a.clusterNow(v)).Add(payTerm).Truncate(time.Second).Format(time.RFC3339),
	}
	ask := payRequest{Amount: strconv.FormatInt(p.Need, 10), Currency: v.Unit()}
	ask.Details.PaymentRequest = a.paymentRequest(r, p)
	if c.Request, err = base64JSON(ask); err != nil {
		return err
	}
	c.ID = c.bind(key)
	w.Header().Set("WWW-Authenticate", c.header())
	return p
}

// receipted says in a header that a payment was taken, and for what.
func (a *API) receipted(w http.ResponseWriter, paid headerPayment, job uint64) error {
	v := a.node.View()
	at := a.clusterNow(v)
	if j, err := findJob(v, job); err == nil {
		at = j.Submitted // the same when the request is repeated
	}
	text, err := base64JSON(payReceiptBody{
		ChallengeID: paid.id, Method: payMethod, Reference: strconv.FormatUint(job, 10), Status: "success",
		Timestamp: clock(at).Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	w.Header().Set(payReceipt, text)
	return nil
}
