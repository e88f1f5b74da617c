package api

import (
	"context"
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// meltRoutes let any wallet pay for a job as it pays for anything else: by melting coins (NUT-05), with the change by
// NUT-08. What is melted becomes the same entry as POST /v1/jobs.
func (a *API) meltRoutes() {
	a.mintCall("POST /mint/v1/melt/quote/{method}", a.mintMeltQuote)
	a.mintCall("GET /mint/v1/melt/quote/{method}/{quote}", a.mintMeltState)
	a.mintCall("POST /mint/v1/melt/{method}", a.mintMelt)
}

// meltAnswer is a quote with what its payer wants to know of the job.
type meltAnswer struct {
	cashu.MeltQuote
	Job    uint64          `json:"job,omitempty"`
	Keys   *meltKeys       `json:"job_keys,omitempty"` // where they follow from the quote's id
	Claims []client.Refund `json:"claims,omitempty"`   // change without usable blanks: POST /v1/refunds/{refund}
}

// meltKeys are the keys themselves, to be shown as bearer.
type meltKeys struct {
	Control string `json:"control"`
	View    string `json:"view"`
	Claim   string `json:"claim"`
	Fund    string `json:"fund"`
}

func checkMeltMethod(r *http.Request) error {
	if method := r.PathValue("method"); method != meltMethod {
		return cashu.Refuse(cashu.CodeMalformed, "this mint melts coins by the method %q alone, not by %.40q: see /mint/v1/info", meltMethod, method)
	}
	return nil
}

// mintMeltQuote says what a job needs. It creates nothing.
func (a *API) mintMeltQuote(r *http.Request) (any, error) {
	if err := checkMeltMethod(r); err != nil {
		return nil, err
	}
	callerOf(r.Context()).owes(a.limits.AddressWork)
	var in cashu.MeltQuoteRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	v := a.recentView(r.Context())
	if in.Unit != v.Unit() {
		return nil, cashu.Refuse(cashu.CodeUnitUnsupported, "jobs are paid in %s, not in %.40q", v.Unit(), in.Unit)
	}
	q, err := a.newMeltQuote(v, in.Request)
	if err != nil {
		return nil, a.jobRefusal(err)
	}
	return a.meltState(r.Context(), v, q, nil)
}

func findMeltQuote(id string) (*meltQuote, error) {
	q, err := readMeltQuote(id)
	if err != nil {
		return nil, cashu.Refuse(cashu.CodeQuoteUnknown, "there is no quote %.64q: %v", id, err)
	}
	return q, nil
}

func (a *API) mintMeltState(r *http.Request) (any, error) {
	if err := checkMeltMethod(r); err != nil {
		return nil, err
	}
	q, err := findMeltQuote(r.PathValue("quote"))
	if err != nil {
		return nil, err
	}
	v, err := a.linear(r.Context())
	if err != nil {
		return nil, err
	}
	return a.meltState(r.Context(), v, q, nil)
}

// mintMelt pays for a quote's job. It never waits for the job: the answer is PENDING.
func (a *API) mintMelt(r *http.Request) (any, error) {
	if err := checkMeltMethod(r); err != nil {
		return nil, err
	}
	ctx := r.Context()
	var in cashu.MeltRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	q, err := findMeltQuote(in.Quote)
	if err != nil {
		return nil, err
	}
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	job, _, err := q.submission()
	if err != nil {
		return nil, a.jobRefusal(err)
	}
	job.Inputs, job.Blanks = in.Inputs, in.Outputs
	if job.Pay, err = a.depositOf(v, in.Inputs, 0); err != nil {
		return nil, err
	}
	print, err := fingerprint(v, submitEndpoint, job.Payment, submitRest(job))
	if err != nil {
		return nil, err
	}
	if _, known := v.Asked(print); !known {
		if err := checkMelt(v, a.clusterNow(v), q, job); err != nil {
			return nil, err
		}
		_, index, err := a.submitJob(ctx, job)
		if err != nil {
			return nil, a.jobRefusal(err)
		}
		if v, err = a.settled(ctx, index); err != nil {
			return nil, err
		}
	}
	return a.meltState(ctx, v, q, &in)
}

// depositOf is what coins bring in: their worth less the input fee and what is asked back at once.
func (a *API) depositOf(v *machine.View, inputs []cashu.Proof, back cashu.Units) (int64, error) {
	if len(inputs) == 0 {
		return 0, cashu.Refuse(cashu.CodeMalformed, "there is no coin in the request")
	}
	if len(inputs) > a.limits.Coins.Inputs {
		return 0, cashu.Refuse(cashu.CodeInputsMax, "%d coins in one request, the limit is %d; swap small coins for larger ones first",
			len(inputs), a.limits.Coins.Inputs)
	}
	fees := make([]uint32, len(inputs))
	for i, p := range inputs {
		keyset, ok := v.KeysetByID(p.ID)
		if !ok {
			return 0, cashu.Refuse(cashu.CodeKeysetUnknown, "coin %d is of keyset %.20s, which this mint does not have; is it of another mint?", i+1, p.ID)
		}
		fees[i] = keyset.InputFeePPK
	}
	worth, err := cashu.SumProofs(inputs)
	fee := mint.Fee(fees)
	switch {
	case err != nil || worth > cashu.CoinMax*cashu.Units(len(inputs)):
		return 0, cashu.Refuse(cashu.CodeAmountRange, "a coin is worth more than %d", cashu.CoinMax)
	case worth <= fee || worth-fee <= back:
		return 0, cashu.Refuse(cashu.CodeUnbalanced, "coins worth %d leave nothing after the input fee of %d", worth, fee)
	}
	return int64(worth - fee - back), nil
}

// checkMelt refuses what a stock wallet is to hear in the protocol's words. All else is checked as for any job.
func checkMelt(v *machine.View, at funding.Millis, q *meltQuote, job client.SubmitRequest) error {
	keys, err := parseKeys(job.Keys)
	if err != nil {
		return err
	}
	if pot, ok := v.PotByFund(keys.Fund); ok && pot.Keys == keys {
		if pot.State == funding.PotClosed {
			return cashu.Refuse(cashu.CodeQuoteSettled, "this quote was paid by another request, and its job has ended; these coins were not taken, ask for a new quote to run it again")
		}
		return cashu.Refuse(cashu.CodeQuotePending, "this quote was paid by another request, and its job goes on; these coins were not taken")
	}
	need, blanks := mint.BlanksNeeded(cashu.Units(job.Pay)), len(job.Blanks)
	switch {
	case q.expired(at):
		return cashu.Refuse(cashu.CodeQuoteExpired, "this quote has expired; nothing was taken, ask for a new one")
	case job.Pay < int64(q.pay):
		return cashu.Refuse(cashu.CodeUnbalanced, "after the input fee the coins are worth %d, the quote is for %d; nothing was taken", job.Pay, q.pay)
	case blanks > 0 && blanks < need:
		return cashu.Refuse(cashu.CodeBlanksTooFew,
			"%d blanks for a change of up to %d, which needs %d; send %d blanks, or pay %d exactly (and the input fee), for which a wallet's own count is enough",
			blanks, job.Pay, need, need, q.pay)
	}
	return nil
}

// meltState tells how far a quote is. Paid is a payment that is known to have been carried out: with its blanks the
// change is found even when the job is forgotten.
func (a *API) meltState(ctx context.Context, v *machine.View, q *meltQuote, paid *cashu.MeltRequest) (meltAnswer, error) {
	out := meltAnswer{MeltQuote: q.show(v.Unit())}
	job, derived, err := q.submission()
	if err != nil {
		return out, a.jobRefusal(err)
	}
	keys, err := parseKeys(job.Keys)
	if err != nil {
		return out, a.jobRefusal(err)
	}
	if derived {
		s := q.secret()
		out.Keys = &meltKeys{Control: s.Key("control"), View: s.Key("view"), Claim: s.Key("claim"), Fund: s.Key("fund")}
	}
	// A fund id is public: only who knows the other keys' hashes too has made this pot by this quote.
	pot, ok := v.PotByFund(keys.Fund)
	switch {
	case ok && pot.Keys == keys:
		out.State, out.Job = cashu.MeltPending, pot.Own
		if pot.State == funding.PotClosed {
			return a.meltPaid(ctx, v, out, pot)
		}
	case paid != nil:
		out.State = cashu.MeltPaid
		points := make([]cashu.Point, len(paid.Outputs))
		for i, b := range paid.Outputs {
			points[i] = b.B_
		}
		_, out.Change, err = a.signedOf(ctx, v, points)
	case q.expired(a.clusterNow(v)):
		err = cashu.Refuse(cashu.CodeQuoteExpired,
			"this quote has expired, and there is no job of it: either it was never paid, or the job is forgotten; POST /v1/restore with the blanks, or the payment sent again, finds its change")
	}
	return out, err
}

// meltPaid adds the change of a quote whose money is settled, which is when it counts as paid, whatever the job's exit
// code. What others put into the pot is theirs.
func (a *API) meltPaid(ctx context.Context, v *machine.View, out meltAnswer, pot *funding.Pot) (meltAnswer, error) {
	out.State = cashu.MeltPaid
	if len(pot.Deposits) == 0 {
		return out, nil
	}
	first := &pot.Deposits[0]
	points := make([]cashu.Point, len(first.Blanks))
	for i, b := range first.Blanks {
		points[i] = cashu.Point(b)
	}
	v.RefundsOf(pot.ID, func(r *funding.Refund) bool {
		if r.Deposit == first.ID {
			out.Claims = append(out.Claims, refundLine(v, r))
		}
		return true
	})
	var err error
	_, out.Change, err = a.signedOf(ctx, v, points)
	return out, err
}
