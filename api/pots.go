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

func (a *API) moneyRoutes() {
	register(a, operation("pot-create", http.MethodPost, "/v1/pots", "money", "Open a pot for many jobs"), a.createPot)
	register(a, operation("pot", http.MethodGet, "/v1/pots/{fund}", "money", "A pot; its money with one of its keys"), a.getPot)
	register(a, operation("pot-close", http.MethodDelete, "/v1/pots/{fund}", "money", "Take no more jobs and money; the rest comes back"), a.closePot)
	register(a, operation("pot-change", http.MethodGet, "/v1/pots/{fund}/change", "money", "Signatures for the blanks of its payments"), a.getPotChange)
	register(a, operation("deposit", http.MethodPost, "/v1/funds/{fund}/deposits", "money", "Pay into a pot; anyone who knows the fund id may"), a.deposit)
	register(a, operation("refunds", http.MethodGet, "/v1/funds/{fund}/refunds", "money", "What the claim key may take"), a.listRefunds)
	register(a, operation("claim", http.MethodPost, "/v1/refunds/{refund}", "money", "Take a refund as coins"), a.claim)
	register(a, operation("totals", http.MethodGet, "/v1/totals", "money", "The cluster's books: assets and expense equal what is owed and income"), a.getTotals)
}

type potCreateInput struct{ Body client.PotRequest }

type potAnswerOutput struct{ Body client.PotAnswer }

func (a *API) createPot(ctx context.Context, in *potCreateInput) (*potAnswerOutput, error) {
	keys, err := parseKeys(in.Body.Keys)
	if err != nil {
		return nil, err
	}
	limit, err := capOf(in.Body.CapOthersMicro)
	if err != nil {
		return nil, err
	}
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	command := &machine.PotCreate{Keys: keys, CapOthers: limit}
	command.Request.Key = callerOf(ctx).request
	rest := in.Body
	rest.Payment = client.Payment{}
	if command.Request.Fingerprint, err = fingerprint(v, "POST /v1/pots", in.Body.Payment, rest); err != nil {
		return nil, err
	}
	if _, err := payAmount(in.Body.Pay); err != nil {
		return nil, err
	}
	if known, ok := v.Asked(command.Request.Fingerprint); ok {
		var answer machine.PotCreateAnswer
		if err := machine.DecodeAnswer(known.Answer, &answer); err != nil {
			return nil, err
		}
		return a.potAnswer(ctx, answer.Fund, answer.Deposit, in.Body.Outputs)
	}
	if len(in.Body.Inputs) > 0 {
		if command.Payment, err = a.payment(ctx, v, in.Body.Payment, keys.Claim, false); err != nil {
			return nil, err
		}
	}
	answer, _, err := propose[machine.PotCreateAnswer](ctx, a, command)
	if err != nil {
		return nil, err
	}
	return a.potAnswer(ctx, answer.Fund, answer.Deposit, in.Body.Outputs)
}

func (a *API) potAnswer(ctx context.Context, fund funding.FundID, deposit funding.DepositID, outputs []cashu.BlindedMessage) (*potAnswerOutput, error) {
	signatures, err := a.sign(ctx, outputs)
	if err != nil {
		return nil, err
	}
	return &potAnswerOutput{client.PotAnswer{FundID: hexOf(fund[:]), Deposit: int64(deposit), Signatures: signatures}}, nil
}

type fundInput struct {
	Fund string `path:"fund" doc:"the fund id"`
}

type potOutput struct{ Body client.Pot }

func findPot(v *machine.View, text string) (*funding.Pot, error) {
	fund, err := parseHash("fund id", text)
	if err != nil {
		return nil, err
	}
	pot, ok := v.PotByFund(fund)
	if !ok {
		return nil, fail(string(machine.CodePotUnknown), "there is no pot with the fund id %s", text)
	}
	return pot, nil
}

// getPot shows what a fund id tells anyone: whether it still takes money; the rest with one of the pot's keys.
func (a *API) getPot(ctx context.Context, in *fundInput) (*potOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	pot, err := findPot(v, in.Fund)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	if a.maySee(c, v, pot.Keys.View, pot.Keys.Control, pot.Keys.Spend) {
		return &potOutput{potView(pot)}, nil
	}
	if c.key != (funding.KeyHash{}) {
		return nil, fail(string(machine.CodeKeyWrong), "this is no key of this pot")
	}
	return &potOutput{client.Pot{FundID: in.Fund, State: potState(pot.State)}}, nil
}

func (a *API) closePot(ctx context.Context, in *fundInput) (*potOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	pot, err := findPot(v, in.Fund)
	if err != nil {
		return nil, err
	}
	_, result, err := propose[machine.PotCloseAnswer](ctx, a, &machine.PotClose{Pot: pot.ID, Control: callerOf(ctx).key})
	if err != nil {
		return nil, err
	}
	if v, err = a.settled(ctx, result.Index); err != nil {
		return nil, err
	}
	if pot, err = findPot(v, in.Fund); err != nil {
		return nil, err
	}
	return &potOutput{potView(pot)}, nil
}

func (a *API) getPotChange(ctx context.Context, in *fundInput) (*changeOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	pot, err := findPot(v, in.Fund)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	switch {
	case a.maySee(c, v, pot.Keys.View, pot.Keys.Control):
		return a.changeOf(ctx, v, pot)
	case c.key == (funding.KeyHash{}):
		return nil, fail(codeKeyMissing, "the change of a pot needs its view key")
	}
	return nil, fail(string(machine.CodeKeyWrong), "this is not the view key of this pot")
}

type depositInput struct {
	Fund string `path:"fund" doc:"the fund id"`
	Body client.DepositRequest
}

func (a *API) deposit(ctx context.Context, in *depositInput) (*potAnswerOutput, error) {
	fund, err := parseHash("fund id", in.Fund)
	if err != nil {
		return nil, err
	}
	pay, err := payAmount(in.Body.Pay)
	if err != nil {
		return nil, err
	}
	if pay == 0 || len(in.Body.Inputs) == 0 {
		return nil, fail(codeAmount, "a deposit brings coins as inputs, and says how many units of them to pay")
	}
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	command := &machine.Deposit{Fund: fund}
	command.Request.Key = callerOf(ctx).request
	rest := in.Body
	rest.Payment = client.Payment{}
	if command.Request.Fingerprint, err = fingerprint(v, "POST /v1/funds/"+hexOf(fund[:])+"/deposits", in.Body.Payment, rest); err != nil {
		return nil, err
	}
	if known, ok := v.Asked(command.Request.Fingerprint); ok {
		var answer machine.DepositAnswer
		if err := machine.DecodeAnswer(known.Answer, &answer); err != nil {
			return nil, err
		}
		return a.potAnswer(ctx, fund, answer.Deposit, in.Body.Outputs)
	}
	claim, err := depositClaim(ctx, v, fund, in.Body)
	if err != nil {
		return nil, err
	}
	payment, err := a.payment(ctx, v, in.Body.Payment, claim, in.Body.Donate)
	if err != nil {
		return nil, err
	}
	command.Payment = *payment
	answer, _, err := propose[machine.DepositAnswer](ctx, a, command)
	if err != nil {
		return nil, err
	}
	return a.potAnswer(ctx, fund, answer.Deposit, in.Body.Outputs)
}

// depositClaim is who may take what is left of a deposit where blanks do not: whom the request names, or the
// pot's owner where one of its keys came along.
func depositClaim(ctx context.Context, v *machine.View, fund funding.FundID, in client.DepositRequest) (funding.KeyHash, error) {
	if in.Claim != "" {
		return parseHash("claim", in.Claim)
	}
	pot, ok := v.PotByFund(fund)
	c := callerOf(ctx)
	if ok && c.key != (funding.KeyHash{}) {
		switch c.key {
		case pot.Keys.Control, pot.Keys.View, pot.Keys.Spend:
			return pot.Keys.Claim, nil
		}
		return funding.KeyHash{}, fail(string(machine.CodeKeyWrong), "this is no key of this pot")
	}
	return funding.KeyHash{}, nil
}

type refundsOutput struct{ Body client.RefundList }

func (a *API) listRefunds(ctx context.Context, in *fundInput) (*refundsOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	pot, err := findPot(v, in.Fund)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	if c.key == (funding.KeyHash{}) {
		return nil, fail(codeKeyMissing, "refunds are shown to the claim key")
	}
	out := &refundsOutput{client.RefundList{Refunds: []client.Refund{}}}
	v.RefundsOf(pot.ID, func(r *funding.Refund) bool {
		if r.Claim == c.key {
			out.Body.Refunds = append(out.Body.Refunds, refundLine(v, r))
		}
		return true
	})
	return out, nil
}

func refundLine(v *machine.View, r *funding.Refund) client.Refund {
	out := client.Refund{
		Refund: uint64(r.ID), AmountMicro: int64(r.Amount), AmountUnits: int64(r.Amount / funding.UnitMicro),
		State: "claimable", Expires: clockOf(r.Expires),
	}
	if pot, ok := v.Pot(r.Pot); ok {
		out.FundID = hexOf(pot.Keys.Fund[:])
	}
	switch {
	case r.Paid != 0:
		out.State = "claimed"
	case r.Expires != 0 && v.At() >= r.Expires:
		out.State = "expired"
	}
	return out
}

type claimInput struct {
	Refund uint64 `path:"refund"`
	Body   client.ClaimRequest
}

type signaturesOutput struct{ Body client.Signatures }

func (a *API) claim(ctx context.Context, in *claimInput) (*signaturesOutput, error) {
	c := callerOf(ctx)
	if c.key == (funding.KeyHash{}) {
		return nil, fail(codeKeyMissing, "a refund is taken with its claim key")
	}
	command := &machine.Claim{Refund: funding.RefundID(in.Refund), Claim: c.key}
	command.Request.Key = c.request
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	if command.Request.Fingerprint, err = fingerprint(v, "POST /v1/refunds", client.Payment{Outputs: in.Body.Outputs}, in.Refund); err != nil {
		return nil, err
	}
	if _, known := v.Asked(command.Request.Fingerprint); !known {
		if command.Outputs, err = allowed(v, a.limits.Coins, in.Body.Outputs); err != nil {
			return nil, err
		}
		if _, _, err := propose[machine.ClaimAnswer](ctx, a, command); err != nil {
			return nil, err
		}
	}
	signatures, err := a.sign(ctx, in.Body.Outputs)
	if err != nil {
		return nil, err
	}
	return &signaturesOutput{client.Signatures{Signatures: signatures}}, nil
}

// allowed puts outputs that no coins came with into an entry's form. Whether they may be signed is checked where the
// entry is applied; what is checked here is that they can be written down.
func allowed(v *machine.View, l mint.Limits, outputs []cashu.BlindedMessage) ([]mint.Allowed, error) {
	if len(outputs) == 0 || len(outputs) > l.Outputs {
		return nil, cashu.Refuse(cashu.CodeOutputsMax, "%d outputs in one request, allowed are 1 to %d", len(outputs), l.Outputs)
	}
	out := make([]mint.Allowed, len(outputs))
	for i, o := range outputs {
		keyset, ok := v.KeysetByID(o.ID)
		if !ok {
			return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "output %d is of keyset %.20s, which this mint does not have", i+1, o.ID)
		}
		power, ok := o.Amount.Power()
		if !ok {
			return nil, cashu.Refuse(cashu.CodeAmountRange, "output %d asks for %d; coins are powers of two from 1 to %d", i+1, o.Amount, cashu.CoinMax)
		}
		if o.B_.IsZero() {
			return nil, cashu.Refuse(cashu.CodeMalformed, "output %d has no point B_", i+1)
		}
		out[i] = mint.Allowed{B_: o.B_, Keyset: keyset.Number, Power: power}
	}
	return out, nil
}

type totalsOutput struct{ Body client.Totals }

func (a *API) getTotals(ctx context.Context, _ *struct{}) (*totalsOutput, error) {
	callerOf(ctx).owes(a.limits.AddressWork)
	v := a.recentView(ctx)
	return &totalsOutput{totalsOf(v)}, nil
}
