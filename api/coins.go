package api

import (
	"context"
	"errors"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

func (a *API) ring() (*mint.Keyring, error) {
	if a.config.Keyring != nil {
		if ring := a.config.Keyring(); ring != nil {
			return ring, nil
		}
	}
	return nil, fail(codeNoKeys, "this server does not have the mint's keys, or not yet")
}

// admit checks coins and outputs, the curve last.
func (a *API) admit(ctx context.Context, v *machine.View, r mint.Request) (mint.Admitted, error) {
	var admitted mint.Admitted
	c := callerOf(ctx)
	c.owes(a.limits.AddressWork + len(r.Inputs)) // a hash to the curve each, whatever comes of it
	ring, err := a.ring()
	if err != nil {
		return admitted, err
	}
	err = a.curve.check(ctx, c.addr, func() error {
		var err error
		admitted, err = mint.Admit(v, ring, a.limits.Coins, int64(v.At()), r)
		return err
	})
	if err == nil && r.Pay > 0 {
		c.paid()
	}
	return admitted, err
}

// payment turns the coins of a request into those of an entry. What comes back goes to the blanks, or where there
// are none to the claim key.
func (a *API) payment(ctx context.Context, v *machine.View, p client.Payment, claim funding.KeyHash, donate bool) (*machine.Payment, error) {
	r := mintRequest(v, p)
	if len(p.Blanks) > 0 {
		r.NeedBlanks = mint.BlanksNeeded(r.Pay)
	} else if claim == (funding.KeyHash{}) && !donate {
		r.NeedBlanks = mint.BlanksNeeded(r.Pay)
	}
	admitted, err := a.admit(ctx, v, r)
	if err != nil {
		return nil, sameKey(ctx, v, p.Inputs, needBlanks(err, r.NeedBlanks))
	}
	return &machine.Payment{Coins: admitted, Claim: claim, Donate: donate}, nil
}

// sameKey tells a new request under an old idempotency key from one whose coins are merely gone: the first request
// has spent them, and that is what its sender has to hear.
func sameKey(ctx context.Context, v *machine.View, inputs []cashu.Proof, err error) error {
	var refusal *cashu.Error
	gone := errors.As(err, &refusal) && (refusal.Code == cashu.CodeSpent || refusal.Code == cashu.CodeOutputsSigned || refusal.Code == cashu.CodeOutputsPending)
	key := callerOf(ctx).request
	if !gone || key == ([16]byte{}) {
		return err
	}
	coins := make([]cashu.SpentKey, len(inputs))
	for i, p := range inputs {
		coins[i] = cashu.SpentKeyOf(p.Y())
	}
	if _, known := v.AskedOfCoins(coins, key); !known {
		return err
	}
	return fail(string(machine.CodeRequestConflict), "this Idempotency-Key came before with these coins and another body")
}

func needBlanks(err error, need int) error {
	var refusal *cashu.Error
	if errors.As(err, &refusal) && refusal.Code == cashu.CodeBlanksTooFew {
		p := fail(string(machine.CodeBlanksFew), "%s", refusal.Detail)
		p.Need = int64(need)
		return p
	}
	return err
}

func mintRequest(v *machine.View, p client.Payment) mint.Request {
	return mint.Request{
		Inputs: p.Inputs, Pay: cashu.Units(max(0, p.Pay)), Outputs: p.Outputs, Blanks: p.Blanks, Unit: v.Unit(),
	}
}

// payAmount is a request's pay as money; what could not be one is refused by name.
func payAmount(units int64) (funding.Amount, error) {
	switch {
	case units < 0:
		return 0, fail(codeAmount, "pay: %d is negative", units)
	case units > int64(mint.PayMax):
		return 0, fail(codeAmount, "pay: %d is more than the %d that one payment may bring", units, mint.PayMax)
	}
	return funding.Amount(units) * funding.UnitMicro, nil
}

// sign computes the signatures of outputs that an entry has allowed. It is a pure function: the same request has the
// same answer on any server.
func (a *API) sign(ctx context.Context, outputs []cashu.BlindedMessage) ([]cashu.BlindSignature, error) {
	if len(outputs) == 0 {
		return nil, nil
	}
	ring, err := a.ring()
	if err != nil {
		// The entry was carried out: whoever asks a server with keys again gets the signatures.
		return nil, consensus.ErrUnknown
	}
	signatures := make([]cashu.BlindSignature, len(outputs))
	err = a.curve.run(ctx, callerOf(ctx).addr, func() error {
		for i, o := range outputs {
			s, err := ring.Sign(o.ID, o.Amount, o.B_)
			if err != nil {
				return err
			}
			signatures[i] = s
		}
		return nil
	})
	return signatures, err
}

// signedOf gives the signatures of those outputs that the state allows, and which they are.
func (a *API) signedOf(ctx context.Context, v *machine.View, points []cashu.Point) ([]cashu.BlindedMessage, []cashu.BlindSignature, error) {
	var outputs []cashu.BlindedMessage
	for _, p := range points {
		o, ok := v.Output(p)
		if !ok || o.Status != mint.OutputSigned {
			continue
		}
		keyset, ok := v.KeysetByNumber(o.Keyset)
		if !ok || keyset.StateAt(int64(v.At())) == mint.KeysetClosed {
			continue
		}
		outputs = append(outputs, cashu.BlindedMessage{Amount: o.Amount(), ID: keyset.ID, B_: p})
	}
	signatures, err := a.sign(ctx, outputs)
	return outputs, signatures, err
}
