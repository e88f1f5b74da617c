package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

const submitEndpoint = "POST /v1/jobs"

// submit takes a job with its money. It is the one route that must be quick, so it does without huma's reflection;
// the document describes it like the others.
func (a *API) submit(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var in client.SubmitRequest
	if err := decode(body, &in); err != nil {
		return err
	}
	asked := in
	paid, err := a.payByHeader(r, body, &in)
	if err != nil {
		return a.challenged(w, r, body, asked, paid, err)
	}
	answer, index, err := a.submitJob(r.Context(), in)
	if err != nil {
		return a.challenged(w, r, body, asked, paid, err)
	}
	if paid.came {
		if err := a.receipted(w, paid, answer.Job); err != nil {
			return err
		}
	}
	return a.answer(w, http.StatusCreated, index, answer)
}

func (a *API) submitJob(ctx context.Context, in client.SubmitRequest) (client.SubmitAnswer, uint64, error) {
	v := a.viewAt(0)
	if len(in.Inputs) > 0 {
		v = a.node.View() // coins that were made a moment ago must be known
	}
	command, v, err := decided(ctx, a, v, func(v *machine.View) (*machine.Submit, error) { return a.readSubmit(ctx, v, in) })
	if replay := (*replayed)(nil); errors.As(err, &replay) {
		callerOf(ctx).owes(a.limits.AddressWork + len(in.Outputs)) // signed again, and paid once
		return a.submitted(ctx, in, replay.answer, replay.index)
	}
	if err != nil {
		return client.SubmitAnswer{}, 0, a.withQuote(ctx, v, in, err)
	}
	answer, result, err := propose[machine.SubmitAnswer](ctx, a, command)
	if err != nil {
		return client.SubmitAnswer{}, 0, a.withQuote(ctx, v, in, err)
	}
	return a.submitted(ctx, in, answer, result.Index)
}

func (a *API) submitted(ctx context.Context, in client.SubmitRequest, s machine.SubmitAnswer, index uint64) (client.SubmitAnswer, uint64, error) {
	answer := client.SubmitAnswer{
		Job: uint64(s.Job), State: s.State.String(), FundID: hexOf(s.Fund[:]), HeldMicro: int64(s.Held),
		BidMicro: int64(s.Bid), WeightMilli: int64(s.Weight),
	}
	signatures, err := a.sign(ctx, in.Outputs)
	answer.Signatures = signatures
	return answer, index, err
}

// replayed is a request that was carried out before.
type replayed struct {
	answer machine.SubmitAnswer
	index  uint64
}

func (*replayed) Error() string { return "this request was carried out before" }

// readSubmit makes the entry: its form first, then its terms, then its coins.
func (a *API) readSubmit(ctx context.Context, v *machine.View, in client.SubmitRequest) (*machine.Submit, error) {
	pay, err := payAmount(in.Pay)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(in.Keys)
	if err != nil {
		return nil, err
	}
	work, err := readWork(in.Job)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	command := &machine.Submit{
		Request: machine.RequestID{Key: c.request}, Keys: keys, Work: work, Token: c.token, Loopback: c.local,
		OnHold: in.OnHold,
	}
	if command.CapOthers, err = capOf(in.CapOthersMicro); err != nil {
		return nil, err
	}
	if command.Request.Fingerprint, err = fingerprint(v, submitEndpoint, in.Payment, submitRest(in)); err != nil {
		return nil, err
	}
	if len(in.Inputs) > 0 {
		if known, ok := v.Asked(command.Request.Fingerprint); ok {
			return nil, replayOf(known, v)
		}
	}
	if err := a.fillTerms(command, v, in, pay); err != nil {
		return nil, err
	}
	return command, a.fillMoney(ctx, command, v, in, pay)
}

func replayOf(known *machine.Request, v *machine.View) error {
	r := &replayed{index: v.Index()}
	if err := machine.DecodeAnswer(known.Answer, &r.answer); err != nil {
		return err
	}
	return r
}

// fillTerms works out what the job runs under.
func (a *API) fillTerms(command *machine.Submit, v *machine.View, in client.SubmitRequest, pay funding.Amount) error {
	s, err := readSpec(v, in.Job, pay)
	if err != nil {
		return err
	}
	terms, err := scheduler.Terms(s.pool, s.weight, s.ask)
	if err != nil {
		return err
	}
	if err := fits(v, s); err != nil {
		return err
	}
	command.Pool, command.Need, command.GPU, command.Driver, command.Mode = s.pool.ID, s.need, s.gpu, s.driver, s.mode
	command.Share = s.share
	command.Bid, command.TimeLimit = terms.Bid, terms.TimeLimit
	command.Tasks, command.AtOnce, command.MaxTotal = s.tasks, s.atOnce, s.maxTotal
	return nil
}

// fillMoney finds the pot that pays, or checks the coins that do.
func (a *API) fillMoney(ctx context.Context, command *machine.Submit, v *machine.View, in client.SubmitRequest, pay funding.Amount) error {
	if in.Pot != "" {
		if err := a.fillPot(ctx, command, v, in); err != nil {
			return err
		}
	}
	if len(in.Inputs) == 0 {
		if in.Pot == "" {
			return fail(client.CodePaymentRequired, "this job came without money")
		}
		if len(in.Outputs) > 0 || len(in.Blanks) > 0 {
			return fail(string(machine.CodeInvalid), "outputs or blanks came without inputs")
		}
		return nil
	}
	if pay == 0 {
		return fail(codeAmount, "pay: is zero, and there are inputs")
	}
	payment, err := a.payment(ctx, v, in.Payment, command.Keys.Claim, false)
	command.Payment = payment
	return err
}

func (a *API) fillPot(ctx context.Context, command *machine.Submit, v *machine.View, in client.SubmitRequest) error {
	fund, err := parseHash("pot", in.Pot)
	if err != nil {
		return err
	}
	pot, ok := v.PotByFund(fund)
	if !ok {
		return fail(string(machine.CodePotUnknown), "there is no pot with the fund id %s", in.Pot)
	}
	c := callerOf(ctx)
	if c.key == (funding.KeyHash{}) {
		return fail(codeKeyMissing, "a job that is paid from a pot needs the pot's spend key")
	}
	if len(in.Inputs) == 0 && c.request == ([16]byte{}) {
		// Coins can be spent once only; a pot would pay for the repetition too.
		return fail(codeBody, "a job that is paid from a pot needs an Idempotency-Key, so that it is not submitted twice")
	}
	command.Pot, command.Spend = pot.ID, c.key
	return nil
}

// submitRest is what the fingerprint of a submission covers beside its coins: what was asked for, not what the pools'
// defaults made of it.
func submitRest(in client.SubmitRequest) any {
	in.Payment = client.Payment{}
	return in
}

// fingerprint names a request by what it asks for. Encoded again from what was read, the same request has the
// same one however its JSON was written.
func fingerprint(v *machine.View, endpoint string, p client.Payment, rest any) ([32]byte, error) {
	raw, err := json.Marshal(rest)
	if err != nil {
		return [32]byte{}, err
	}
	return mint.Fingerprint(endpoint, mintRequest(v, p), sha256.Sum256(raw)), nil
}

// withQuote adds to a refusal for want of money what the job would cost, and makes it a payment request.
func (a *API) withQuote(ctx context.Context, v *machine.View, in client.SubmitRequest, err error) error {
	p := a.problemOf(a.termsProblem(err))
	if p.Status != http.StatusPaymentRequired {
		return err
	}
	job := in.Job
	pay := in.Pay
	if p.Code != client.CodePaymentRequired {
		pay = 0 // what is needed, rather than what too little would buy
	}
	if q, err := a.quote(ctx, v, client.QuoteRequest{Job: job, Pay: pay}); err == nil {
		p.Quote, p.Need = &q, max(q.PayUnits, pay)
	}
	return p
}

// termsProblem puts the scheduler's refusals, and the ways out that it knows, into the interface's words.
func (a *API) termsProblem(err error) error {
	var floor *scheduler.BelowFloor
	var short *scheduler.MoneyShort
	switch {
	case errors.As(err, &floor):
		p := fail(string(machine.CodePoolFloor), "%v", floor)
		p.Do = strings.Join(floor.Do(), "; or ")
		return p
	case errors.As(err, &short):
		p := fail(string(machine.CodeMoneyShort), "%v", short)
		p.Do = "nothing was taken; " + strings.Join(short.Do(), "; or ")
		p.Need = wholeUnits(short.Need)
		return p
	}
	return err
}

// paymentRequest is a 402's header (NUT-24): a wallet that knows nothing of us can read what is asked.
func (a *API) paymentRequest(r *http.Request, p *client.Problem) string {
	if p.Quote == nil {
		return ""
	}
	once := true
	text, err := cashu.PaymentRequest{
		Amount: cashu.Units(p.Need), Unit: a.node.View().Unit(), Mints: []string{a.mintURL(r)}, SingleUse: &once,
		Description: "a job on pool " + p.Quote.Pool,
	}.Encode()
	if err != nil {
		a.log.Error("encode payment request", "error", err)
		return ""
	}
	return text
}

// wholeUnits rounds up to what can be paid as coins.
func wholeUnits(a funding.Amount) int64 {
	return int64((a + funding.UnitMicro - 1) / funding.UnitMicro)
}
