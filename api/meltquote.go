package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

const (
	meltMethod = "job"
	// meltTextMax keeps a quote's id, which is longer by a third, below the 8 KiB that proxies allow a URL.
	meltTextMax = 4 << 10
	meltTerm    = time.Hour
	// meltAmount is what a quote calls its price. All else is the reserve, since all else may come back; a job that ran
	// has cost a part of one unit at least, and what is less than a coin stays.
	meltAmount = 1

	meltVersion  = 1
	meltNonce    = 16
	meltSum      = 8
	meltNumbers  = 4
	meltBytesMax = 1 + meltNonce + meltNumbers*binary.MaxVarintLen64 + meltTextMax + meltSum
)

// order is what a melt quote's request says, as text: the body of POST /v1/jobs without money.
type order struct {
	Job            client.JobSpec `json:"job"`
	Pay            int64          `json:"pay,omitempty"`
	Keys           *client.Keys   `json:"keys,omitempty"` // none: they follow from the quote's id
	CapOthersMicro *int64         `json:"cap_others_micro,omitempty"`
	OnHold         bool           `json:"on_hold,omitempty"`
}

// meltQuote is all that there is of a quote. Its id is this, encoded, so no server keeps anything. Nobody vouches for
// it: whoever pays has it checked like any other submission.
type meltQuote struct {
	id     string
	nonce  [meltNonce]byte // nobody guesses the id, from which the job's keys follow
	expiry uint64          // seconds since 1970
	bid    uint64          // as agreed when it was asked for
	time   uint64
	pay    uint64 // whole units to be paid in
	text   string
}

var errMeltQuote = errors.New("this is no quote of the method job, or not all of it")

// encode writes a quote as its id.
func (q *meltQuote) encode() string {
	b := append([]byte{meltVersion}, q.nonce[:]...)
	for _, n := range []uint64{q.expiry, q.bid, q.time, q.pay} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, q.text...)
	sum := meltQuoteSum(b)
	return base64.RawURLEncoding.EncodeToString(append(b, sum[:]...))
}

// meltQuoteSum notices an id that was cut or mistyped; it keeps nobody from making one.
func meltQuoteSum(b []byte) [meltSum]byte {
	sum := sha256.Sum256(append([]byte("coinop/1/melt quote/"), b...))
	return [meltSum]byte(sum[:meltSum])
}

// readMeltQuote reads an id. Every quote has one id only.
func readMeltQuote(id string) (*meltQuote, error) {
	if len(id) > base64.RawURLEncoding.EncodedLen(meltBytesMax) {
		return nil, errMeltQuote
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(b) < 1+meltNonce+meltNumbers+meltSum || b[0] != meltVersion {
		return nil, errMeltQuote
	}
	body, sum := b[:len(b)-meltSum], b[len(b)-meltSum:]
	if want := meltQuoteSum(body); !bytes.Equal(sum, want[:]) {
		return nil, errMeltQuote
	}
	q := &meltQuote{id: id, nonce: [meltNonce]byte(body[1:])}
	rest := body[1+meltNonce:]
	for _, to := range []*uint64{&q.expiry, &q.bid, &q.time, &q.pay} {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > math.MaxInt64 {
			return nil, errMeltQuote
		}
		*to, rest = n, rest[size:]
	}
	q.text = string(rest)
	if len(q.text) > meltTextMax || q.pay < meltAmount || q.pay > uint64(mint.PayMax) || q.encode() != id {
		return nil, errMeltQuote
	}
	return q, nil
}

// secret is what holds the job: who has the id has the job.
func (q *meltQuote) secret() client.Secret {
	return sha256.Sum256([]byte("coinop/1/melt quote/secret/" + q.id))
}

// submission is the job as POST /v1/jobs would be sent it, without coins.
func (q *meltQuote) submission() (client.SubmitRequest, bool, error) {
	o, err := readOrder(q.text)
	if err != nil {
		return client.SubmitRequest{}, false, err
	}
	in := client.SubmitRequest{Job: o.Job, CapOthersMicro: o.CapOthersMicro, OnHold: o.OnHold}
	in.Job.BidMicro, in.Job.TimeMs = int64(q.bid), int64(q.time)
	if o.Keys != nil {
		in.Keys = *o.Keys
		return in, false, nil
	}
	in.Keys = q.secret().Keys()
	return in, true, nil
}

func readOrder(text string) (order, error) {
	var o order
	if len(text) > meltTextMax {
		return o, cashu.Refuse(cashu.CodeJobRefused, "the request has %d bytes, a quote takes %d; send what is larger to POST /v1/jobs, or as inputs",
			len(text), meltTextMax)
	}
	return o, decode([]byte(text), &o)
}

// newMeltQuote works out what a job needs, with all the checks that need no money.
func (a *API) newMeltQuote(v *machine.View, text string) (*meltQuote, error) {
	o, err := readOrder(text)
	if err != nil {
		return nil, err
	}
	pay, err := payAmount(o.Pay)
	if err != nil {
		return nil, err
	}
	s, err := readSpec(v, o.Job, pay)
	if err != nil {
		return nil, err
	}
	terms, err := scheduler.Terms(s.pool, s.weight, s.ask)
	if err != nil {
		return nil, err
	}
	if err := fits(v, s); err != nil {
		return nil, err
	}
	if _, err := readWork(o.Job); err != nil {
		return nil, err
	}
	if _, err := capOf(o.CapOthersMicro); err != nil {
		return nil, err
	}
	q := &meltQuote{
		bid: uint64(terms.Bid), time: uint64(terms.TimeLimit), text: text,
		expiry: uint64(a.clusterNow(v)/1000) + uint64(meltTerm/time.Second),
		pay:    uint64(meltPay(max(pay, terms.Hold))),
	}
	if q.pay > uint64(mint.PayMax) {
		return nil, fail(codeAmount, "the job needs %d, one payment may bring %d", q.pay, mint.PayMax)
	}
	if o.Keys != nil {
		if _, err := parseKeys(*o.Keys); err != nil {
			return nil, err
		}
	}
	_, _ = rand.Read(q.nonce[:]) // never fails: the runtime ends the process instead
	q.id = q.encode()
	return q, nil
}

// meltPay is what a quote asks for: enough for the hold, and so much that the blanks which a wallet counts out for
// the reserve (NUT-08) are as many as the machine wants for the whole. Near a power of two they would be one too few.
func meltPay(hold funding.Amount) cashu.Units {
	pay := cashu.Units(max(1, wholeUnits(hold)))
	for {
		need := mint.BlanksNeeded(pay)
		if cashu.BlanksOfReserve(pay-meltAmount) >= need {
			return pay
		}
		pay = cashu.Units(1)<<(need-1) + 1 + meltAmount
	}
}

func (q *meltQuote) expired(at funding.Millis) bool { return int64(q.expiry) <= int64(at)/1000 }

// show is what every answer about a quote begins with.
func (q *meltQuote) show(unit string) cashu.MeltQuote {
	return cashu.MeltQuote{
		Quote: q.id, Request: q.text, Amount: meltAmount, FeeReserve: cashu.Units(q.pay) - meltAmount, Unit: unit,
		State: cashu.MeltUnpaid, Expiry: int64(q.expiry),
	}
}

// jobRefusal puts what is wrong with a job, or its pool, into the protocol's form, with what can be done. What is no
// refusal stays what it was.
func (a *API) jobRefusal(err error) error {
	var refusal *cashu.Error
	if errors.As(err, &refusal) {
		return err
	}
	var ours *machine.Refusal
	if errors.As(err, &ours) && protocolCode(ours.Code) != cashu.CodeMalformed {
		return err
	}
	p := a.problemOf(a.termsProblem(err))
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests {
		return p
	}
	return cashu.Refuse(cashu.CodeJobRefused, "%s (%s)", p.Detail, p.Do)
}
