package mint

import (
	"math"

	"github.com/coinop/coinop/funding/cashu"
)

// Verifier checks a coin's signature with the mint's private key, see [Keyring].
type Verifier interface {
	Verify(proof cashu.Proof, y cashu.Point) error
}

// Admit checks a whole request in the order of cost: sizes, duplicates, forms,
// keysets, amounts and sums, what is spent or used already, and last the curve,
// where it stops at the first forged coin. Nothing is changed by it; the order
// keeps a flood of forged coins from costing more than it must. `at` is cluster
// time in milliseconds.
func Admit(view View, curve Verifier, limits Limits, at int64, request Request) (Admitted, error) {
	var none Admitted
	if err := checkForm(limits, request); err != nil {
		return none, err
	}
	admitted, err := resolve(view, at, request)
	if err != nil {
		return none, err
	}
	ys := make([]cashu.Point, len(request.Inputs))
	for i, proof := range request.Inputs {
		ys[i] = proof.Y()
		admitted.Inputs[i].Key = cashu.SpentKeyOf(ys[i])
	}
	if err := admitted.Recheck(view, at); err != nil {
		return none, err
	}
	for i, proof := range request.Inputs {
		if err := curve.Verify(proof, ys[i]); err != nil {
			return none, err
		}
	}
	return admitted, nil
}

// checkForm looks at the request alone.
func checkForm(limits Limits, request Request) error {
	if n := len(request.Inputs); n > limits.Inputs {
		return cashu.Refuse(cashu.CodeInputsMax,
			"%d coins in one request, the limit is %d; swap small coins for larger ones first", n, limits.Inputs)
	}
	if n := len(request.Outputs); n > limits.Outputs {
		return cashu.Refuse(cashu.CodeOutputsMax, "%d outputs in one request, the limit is %d; ask for fewer", n, limits.Outputs)
	}
	if n := len(request.Blanks); n > limits.Blanks {
		return cashu.Refuse(cashu.CodeOutputsMax,
			"%d blanks in one request, the limit is %d; %d are always enough", n, limits.Blanks, BlanksMax)
	}
	if request.Pay > PayMax {
		return cashu.Refuse(cashu.CodeAmountRange, "pay is %d, one payment may bring %d; pay in parts", request.Pay, PayMax)
	}
	if n := len(request.Blanks); n < request.NeedBlanks {
		return cashu.Refuse(cashu.CodeBlanksTooFew,
			"%d blanks, but what can come back needs %d; send at least %d", n, request.NeedBlanks, request.NeedBlanks)
	}
	if err := checkInputForms(limits, request.Inputs); err != nil {
		return err
	}
	return checkOutputForms(request.Outputs, request.Blanks)
}

func checkInputForms(limits Limits, inputs []cashu.Proof) error {
	secrets := make(map[string]struct{}, len(inputs))
	for i, proof := range inputs {
		n := i + 1
		if proof.Secret == "" || len(proof.Secret) > limits.SecretBytes {
			return cashu.Refuse(cashu.CodeSecretLength,
				"coin %d has a secret of %d bytes, allowed are 1 to %d", n, len(proof.Secret), limits.SecretBytes)
		}
		if _, twice := secrets[proof.Secret]; twice {
			return cashu.Refuse(cashu.CodeInputsTwice, "coin %d is in the request twice; send each coin once", n)
		}
		secrets[proof.Secret] = struct{}{}
		if !proof.Amount.IsCoin() {
			return cashu.Refuse(cashu.CodeAmountRange,
				"coin %d is worth %d; coins are powers of two from 1 to %d", n, proof.Amount, cashu.CoinMax)
		}
		if proof.C.IsZero() {
			return cashu.Refuse(cashu.CodeMalformed, "coin %d has no signature C", n)
		}
		if proof.DLEQ != nil && proof.DLEQ.R != nil {
			return cashu.Refuse(cashu.CodeBlindingFactorKnown,
				"coin %d carries its blinding factor (dleq.r), which would tell the mint whom it came from; leave dleq out", n)
		}
		if cashu.IsCondition(proof.Secret) {
			return cashu.Refuse(cashu.CodeConditionRefused,
				"coin %d has a spending condition (NUT-10), which this mint does not enforce and so does not take", n)
		}
	}
	return nil
}

func checkOutputForms(outputs, blanks []cashu.BlindedMessage) error {
	seen := make(map[cashu.Point]struct{}, len(outputs)+len(blanks))
	for i, output := range outputs {
		if !output.Amount.IsCoin() {
			return cashu.Refuse(cashu.CodeAmountRange,
				"output %d asks for %d; coins are powers of two from 1 to %d", i+1, output.Amount, cashu.CoinMax)
		}
		if output.B_.IsZero() {
			return cashu.Refuse(cashu.CodeMalformed, "output %d has no point B_", i+1)
		}
		if _, twice := seen[output.B_]; twice {
			return cashu.Refuse(cashu.CodeOutputsTwice, "output %d is in the request twice; make each output once", i+1)
		}
		seen[output.B_] = struct{}{}
	}
	for i, blank := range blanks {
		if blank.B_.IsZero() {
			return cashu.Refuse(cashu.CodeMalformed, "blank %d has no point B_", i+1)
		}
		if _, twice := seen[blank.B_]; twice {
			return cashu.Refuse(cashu.CodeOutputsTwice, "blank %d is in the request twice; make each blank once", i+1)
		}
		seen[blank.B_] = struct{}{}
		if blank.ID != blanks[0].ID {
			return cashu.Refuse(cashu.CodeBlanksInvalid, "the blanks are of two keysets; make them of one active keyset")
		}
	}
	return nil
}

// resolve finds the keysets, in the order of the request, and writes the
// request in the form of the log. The inputs' keys are filled in later.
func resolve(view View, at int64, request Request) (Admitted, error) {
	admitted := Admitted{
		Inputs: make([]Input, len(request.Inputs)), Pay: request.Pay, NeedBlanks: request.NeedBlanks,
		Outputs: make([]Allowed, len(request.Outputs)), Blanks: make([]Allowed, len(request.Blanks)),
	}
	find := func(id cashu.KeysetID, what string, n int) (KeysetNumber, error) {
		keyset, ok := view.KeysetByID(id)
		if !ok {
			return 0, cashu.Refuse(cashu.CodeKeysetUnknown,
				"%s %d is of keyset %.20s, which this mint does not have; is it of another mint?", what, n, id)
		}
		if keyset.Unit != request.Unit {
			return 0, cashu.Refuse(cashu.CodeUnitsDiffer, "%s %d is in %s; this needs %s", what, n, keyset.Unit, request.Unit)
		}
		return keyset.Number, nil
	}
	var err error
	for i, proof := range request.Inputs {
		if admitted.Inputs[i].Keyset, err = find(proof.ID, "coin", i+1); err != nil {
			return Admitted{}, err
		}
		admitted.Inputs[i].Power, _ = proof.Amount.Power()
	}
	for i, output := range request.Outputs {
		admitted.Outputs[i].B_ = output.B_
		if admitted.Outputs[i].Keyset, err = find(output.ID, "output", i+1); err != nil {
			return Admitted{}, err
		}
		admitted.Outputs[i].Power, _ = output.Amount.Power()
	}
	for i, blank := range request.Blanks {
		admitted.Blanks[i].B_ = blank.B_
		if admitted.Blanks[i].Keyset, err = find(blank.ID, "blank", i+1); err != nil {
			return Admitted{}, err
		}
	}
	if admitted.Fee, err = inputFee(view, admitted.Inputs); err != nil {
		return Admitted{}, err
	}
	return admitted, admitted.checkStates(view, at)
}

// Fee is what inputs cost: the fees of each, in thousandths, rounded up once.
func Fee(feesPPK []uint32) cashu.Units {
	var thousandths uint64
	for _, ppk := range feesPPK {
		thousandths += uint64(ppk)
	}
	return cashu.Units((thousandths + 999) / 1000)
}

func inputFee(view View, inputs []Input) (cashu.Units, error) {
	fees := make([]uint32, len(inputs))
	for i, input := range inputs {
		keyset, ok := view.KeysetByNumber(input.Keyset)
		if !ok {
			return 0, cashu.Refuse(cashu.CodeKeysetUnknown, "coin %d is of keyset number %d, which this mint does not have", i+1, input.Keyset)
		}
		fees[i] = keyset.InputFeePPK
	}
	return Fee(fees), nil
}

// Recheck looks again at all that may have changed since a request was
// admitted, and at its sums; what it leaves out is the coins' signatures, which
// do not change. It is what Apply runs: an entry may be refused by it, never
// improved.
func (a Admitted) Recheck(view View, at int64) error {
	if a.Pay > PayMax {
		return cashu.Refuse(cashu.CodeAmountRange, "pay is %d, one payment may bring %d", a.Pay, PayMax)
	}
	if len(a.Blanks) < a.NeedBlanks {
		return cashu.Refuse(cashu.CodeBlanksTooFew, "%d blanks, but what can come back needs %d", len(a.Blanks), a.NeedBlanks)
	}
	if err := a.checkStates(view, at); err != nil {
		return err
	}
	if err := a.checkUnused(view); err != nil {
		return err
	}
	keys := make(map[cashu.SpentKey]struct{}, len(a.Inputs))
	for i, input := range a.Inputs {
		if _, twice := keys[input.Key]; twice {
			return cashu.Refuse(cashu.CodeInputsTwice, "coin %d is in the request twice; send each coin once", i+1)
		}
		keys[input.Key] = struct{}{}
		if view.IsSpent(input.Key) {
			return cashu.Refuse(cashu.CodeSpent, "coin %d was spent already; nothing was taken, send other coins", i+1)
		}
	}
	return nil
}

// checkStates holds keysets and sums against each other; all of it is cheap.
func (a Admitted) checkStates(view View, at int64) error {
	for i, input := range a.Inputs {
		keyset, ok := view.KeysetByNumber(input.Keyset)
		if !ok || input.Power > cashu.CoinPowerMax {
			return cashu.Refuse(cashu.CodeKeysetUnknown, "coin %d is of no keyset or amount of this mint", i+1)
		}
		if keyset.StateAt(at) == KeysetClosed {
			return cashu.Refuse(cashu.CodeKeysetExpired, "coin %d is of keyset %s, which is closed: its coins are worth nothing any more", i+1, keyset.ID)
		}
	}
	for i, output := range a.Outputs {
		if output.Power > cashu.CoinPowerMax {
			return cashu.Refuse(cashu.CodeAmountRange, "output %d asks for more than the largest coin", i+1)
		}
		if err := checkActive(view, at, output.Keyset, "output", i+1); err != nil {
			return err
		}
	}
	for i, blank := range a.Blanks {
		if blank.Keyset != a.Blanks[0].Keyset {
			return cashu.Refuse(cashu.CodeBlanksInvalid, "the blanks are of two keysets; make them of one active keyset")
		}
		if err := checkActive(view, at, blank.Keyset, "blank", i+1); err != nil {
			return err
		}
	}
	return a.checkSums(view)
}

func checkActive(view View, at int64, number KeysetNumber, what string, n int) error {
	keyset, ok := view.KeysetByNumber(number)
	if !ok {
		return cashu.Refuse(cashu.CodeKeysetUnknown, "%s %d is of no keyset of this mint", what, n)
	}
	if state := keyset.StateAt(at); state != KeysetActive {
		return cashu.Refuse(cashu.CodeKeysetInactive,
			"%s %d is of keyset %s, which is %s; fetch the mint's keysets again and use an active one", what, n, keyset.ID, state)
	}
	return nil
}

func (a Admitted) checkSums(view View) error {
	fee, err := inputFee(view, a.Inputs)
	if err != nil {
		return err
	}
	if fee != a.Fee {
		return cashu.Refuse(cashu.CodeUnbalanced, "the input fee is %d, not %d", fee, a.Fee)
	}
	// At most a few thousand coins of 2^31 each: neither sum can overflow.
	var in, out uint64
	for _, input := range a.Inputs {
		in += uint64(input.Amount())
	}
	for _, output := range a.Outputs {
		out += uint64(output.Amount())
	}
	want := out + uint64(a.Pay) + uint64(fee)
	if in > math.MaxInt64 || want > math.MaxInt64 || in != want {
		return cashu.Refuse(cashu.CodeUnbalanced,
			"coins are worth %d, but pay %d, outputs %d and the input fee %d make %d; make both sides equal", in, a.Pay, out, fee, want)
	}
	return nil
}

func (a Admitted) checkUnused(view View) error {
	seen := make(map[cashu.Point]struct{}, len(a.Outputs)+len(a.Blanks))
	look := func(item Allowed, what string, n int) error {
		if _, twice := seen[item.B_]; twice {
			return cashu.Refuse(cashu.CodeOutputsTwice, "%s %d is in the request twice; make each once", what, n)
		}
		seen[item.B_] = struct{}{}
		switch view.OutputAt(item.B_).Status {
		case OutputFree:
			return nil
		case OutputPending:
			return cashu.Refuse(cashu.CodeOutputsPending, "%s %d waits for the change of another payment; make new ones", what, n)
		}
		return cashu.Refuse(cashu.CodeOutputsSigned, "%s %d was signed before; make new ones, or restore to get its signature", what, n)
	}
	for i, output := range a.Outputs {
		if err := look(output, "output", i+1); err != nil {
			return err
		}
	}
	for i, blank := range a.Blanks {
		if err := look(blank, "blank", i+1); err != nil {
			return err
		}
	}
	return nil
}
