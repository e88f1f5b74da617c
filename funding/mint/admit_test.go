package mint

import (
	"errors"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

func code(err error) cashu.Code {
	var refusal *cashu.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return 0
}

func TestAPaymentWithChangeNowAndBlanksForLater(t *testing.T) {
	b := newBench(t)
	a, err := b.admit(Request{
		Inputs: b.coins(t, 0, 1, 2, 4, 8, 16), Pay: 20, Outputs: b.outputs2(t, 0, 1, 2, 8),
		Blanks: b.blanks(t, 0, 5), NeedBlanks: BlanksNeeded(20),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Fee != 0 || len(a.Inputs) != 5 || len(a.Outputs) != 3 || len(a.Blanks) != 5 || b.curve != 5 {
		t.Errorf("admitted %+v, %d on the curve", a, b.curve)
	}
	if a.Inputs[4].Amount() != 16 || a.Outputs[2].Amount() != 8 {
		t.Errorf("amounts %d %d", a.Inputs[4].Amount(), a.Outputs[2].Amount())
	}
	b.spend(t, a, 12)
	if got := code(a.Recheck(b, at)); got != cashu.CodeOutputsSigned {
		t.Errorf("the same entry again: %d", got)
	}
}

// A coin costs a tenth here; five cost half a unit, rounded up to one.
func TestInputFeesAreRoundedUpOnce(t *testing.T) {
	b := newBench(t)
	request := Request{Inputs: b.coins(t, 2, 1, 2, 4, 8, 16), Pay: 30}
	a, err := b.admit(request)
	if err != nil || a.Fee != 1 {
		t.Errorf("fee %d %v", a.Fee, err)
	}
	request.Pay = 31
	if _, err := b.admit(request); code(err) != cashu.CodeUnbalanced || !strings.Contains(err.Error(), "make 32") {
		t.Errorf("without the fee: %v", err)
	}
	a.Fee = 0
	if code(a.Recheck(b, at)) != cashu.CodeUnbalanced {
		t.Error("an entry with another fee passes")
	}
	for _, c := range []struct {
		fees []uint32
		want cashu.Units
	}{{nil, 0}, {[]uint32{1}, 1}, {[]uint32{999, 1}, 1}, {[]uint32{1000, 1}, 2}, {[]uint32{100, 100, 100}, 1}} {
		if got := Fee(c.fees); got != c.want {
			t.Errorf("%v cost %d, want %d", c.fees, got, c.want)
		}
	}
}

// Each of these is refused with its code, nothing is changed, and what is
// cheaper to see is seen before the curve is touched.
func TestWhatIsRefused(t *testing.T) {
	b := newBench(t)
	good := func() Request {
		return Request{Inputs: b.coins(t, 0, 4, 8), Pay: 8, Outputs: b.outputs2(t, 0, 4), Blanks: b.blanks(t, 0, 4), NeedBlanks: 4}
	}
	spentCoin := b.coin(t, 0, 8)
	b.spent[cashu.SpentKeyOf(spentCoin.Y())] = true
	pending, signed := b.blanks(t, 0, 1)[0], b.outputs2(t, 0, 4)[0]
	b.state.outputs[pending.B_] = Output{Keyset: 1, Status: OutputPending, Job: 4}
	b.state.outputs[signed.B_] = Output{Keyset: 1, Status: OutputSigned, Power: 2}
	sats := define(t, 9, "sat", 0)
	closed := define(t, 10, "credit", 0)
	closed.State = KeysetClosed
	b.keysets = append(b.keysets, sats, closed)
	alien := cashu.KeysetID("01" + strings.Repeat("ab", 32))

	cases := coinCases(sats, closed, alien, spentCoin)
	for name, c := range outputCases(b, alien, pending, signed) {
		cases[name] = c
	}
	for name, c := range cases {
		request := good()
		c.change(&request)
		b.curve = 0
		_, err := b.admit(request)
		if code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %d with %q", name, err, c.code, c.says)
		}
		if (b.curve > 0) != c.curve {
			t.Errorf("%s: %d coins on the curve", name, b.curve)
		}
	}
	if _, err := b.admit(good()); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// refused is a change to a good request, and what it is told.
type refused struct {
	change func(*Request)
	code   cashu.Code
	says   string
	curve  bool // refused on the curve only
}

func coinCases(sats, closed Keyset, alien cashu.KeysetID, spentCoin cashu.Proof) map[string]refused {
	r := cashu.Scalar{31: 1}
	return map[string]refused{
		"too many coins":       {func(q *Request) { q.Inputs = make([]cashu.Proof, 257) }, cashu.CodeInputsMax, "256", false},
		"too many outputs":     {func(q *Request) { q.Outputs = make([]cashu.BlindedMessage, 129) }, cashu.CodeOutputsMax, "128", false},
		"too many blanks":      {func(q *Request) { q.Blanks = make([]cashu.BlindedMessage, 65) }, cashu.CodeOutputsMax, "34", false},
		"pay above all":        {func(q *Request) { q.Pay = PayMax + 1 }, cashu.CodeAmountRange, "9000000000", false},
		"pay above 2^63":       {func(q *Request) { q.Pay = 1<<64 - 4 }, cashu.CodeAmountRange, "parts", false},
		"blanks too few":       {func(q *Request) { q.Blanks = q.Blanks[:3] }, cashu.CodeBlanksTooFew, "at least 4", false},
		"no secret":            {func(q *Request) { q.Inputs[0].Secret = "" }, cashu.CodeSecretLength, "coin 1", false},
		"a long secret":        {func(q *Request) { q.Inputs[1].Secret = strings.Repeat("s", 129) }, cashu.CodeSecretLength, "128", false},
		"a coin twice":         {func(q *Request) { q.Inputs[0] = q.Inputs[1] }, cashu.CodeInputsTwice, "once", false},
		"worth nothing":        {func(q *Request) { q.Inputs[0].Amount = 0 }, cashu.CodeAmountRange, "powers of two", false},
		"worth three":          {func(q *Request) { q.Inputs[0].Amount = 3 }, cashu.CodeAmountRange, "powers of two", false},
		"above the largest":    {func(q *Request) { q.Inputs[0].Amount = 1 << 32 }, cashu.CodeAmountRange, "2147483648", false},
		"no signature":         {func(q *Request) { q.Inputs[0].C = cashu.Point{} }, cashu.CodeMalformed, "no signature", false},
		"blinding factor":      {func(q *Request) { q.Inputs[0].DLEQ = &cashu.DLEQ{R: &r} }, cashu.CodeBlindingFactorKnown, "leave dleq out", false},
		"a condition":          {func(q *Request) { q.Inputs[0].Secret = `["P2PK",{"data":"02"}]` }, cashu.CodeConditionRefused, "NUT-10", false},
		"coin of another mint": {func(q *Request) { q.Inputs[0].ID = alien }, cashu.CodeKeysetUnknown, "another mint", false},
		"coin in sat":          {func(q *Request) { q.Inputs[0].ID = sats.ID }, cashu.CodeUnitsDiffer, "sat", false},
		"closed keyset":        {func(q *Request) { q.Inputs[0].ID = closed.ID }, cashu.CodeKeysetExpired, "closed", false},
		"too little":           {func(q *Request) { q.Pay = 9 }, cashu.CodeUnbalanced, "make both sides equal", false},
		"too much":             {func(q *Request) { q.Pay = 7 }, cashu.CodeUnbalanced, "make both sides equal", false},
		"spent":                {func(q *Request) { q.Inputs[1] = spentCoin }, cashu.CodeSpent, "coin 2", false},
		"forged":               {func(q *Request) { q.Inputs[0].C = q.Inputs[1].C }, cashu.CodeProofInvalid, "not signed by this mint", true},
		"wrong secret":         {func(q *Request) { q.Inputs[1].Secret = "x" }, cashu.CodeProofInvalid, "altered", true},
	}
}

func outputCases(b *bench, alien cashu.KeysetID, pending, signed cashu.BlindedMessage) map[string]refused {
	return map[string]refused{
		"output of three":   {func(q *Request) { q.Outputs[0].Amount = 3 }, cashu.CodeAmountRange, "output 1", false},
		"output of nothing": {func(q *Request) { q.Outputs[0].B_ = cashu.Point{} }, cashu.CodeMalformed, "output 1", false},
		"blank of nothing":  {func(q *Request) { q.Blanks[2].B_ = cashu.Point{} }, cashu.CodeMalformed, "blank 3", false},
		"an output twice": {func(q *Request) {
			q.Outputs = append(q.Outputs, q.Outputs[0])
		}, cashu.CodeOutputsTwice, "output 2", false},
		"a blank twice":      {func(q *Request) { q.Blanks[1] = q.Blanks[0] }, cashu.CodeOutputsTwice, "blank 2", false},
		"blank is output":    {func(q *Request) { q.Blanks[0] = q.Outputs[0] }, cashu.CodeOutputsTwice, "blank 1", false},
		"blanks of two sets": {func(q *Request) { q.Blanks[1].ID = b.keysets[2].ID }, cashu.CodeBlanksInvalid, "one active", false},
		"output of another":  {func(q *Request) { q.Outputs[0].ID = alien }, cashu.CodeKeysetUnknown, "output 1", false},
		"blanks of another": {func(q *Request) {
			for i := range q.Blanks {
				q.Blanks[i].ID = alien
			}
		}, cashu.CodeKeysetUnknown, "blank 1", false},
		"retiring outputs": {func(q *Request) { q.Outputs[0].ID = b.keysets[1].ID }, cashu.CodeKeysetInactive, "retiring", false},
		"retiring blanks": {func(q *Request) {
			for i := range q.Blanks {
				q.Blanks[i].ID = b.keysets[1].ID
			}
		}, cashu.CodeKeysetInactive, "retiring", false},
		"output was signed": {func(q *Request) { q.Outputs[0] = signed }, cashu.CodeOutputsSigned, "restore", false},
		"blank is pending":  {func(q *Request) { q.Blanks[0] = pending }, cashu.CodeOutputsPending, "another payment", false},
		"blank was signed":  {func(q *Request) { q.Blanks[0] = cashu.BlindedMessage{ID: signed.ID, B_: signed.B_} }, cashu.CodeOutputsSigned, "blank 1", false},
	}
}

func TestTheFirstForgedCoinEndsTheCheck(t *testing.T) {
	b := newBench(t)
	coins := b.coins(t, 0, 1, 1, 1, 1)
	coins[1].C = coins[0].C
	if _, err := b.admit(Request{Inputs: coins, Pay: 4}); code(err) != cashu.CodeProofInvalid || b.curve != 2 {
		t.Errorf("%d coins checked: %v", b.curve, err)
	}
}

func TestCoinsOfARetiringKeysetCanBeSpent(t *testing.T) {
	b := newBench(t)
	if _, err := b.admit(Request{Inputs: b.coins(t, 1, 4), Outputs: b.outputs2(t, 0, 4)}); err != nil {
		t.Error(err)
	}
	late := expiry * 1000
	_, err := Admit(b, b, DefaultLimits(), late, Request{Unit: "credit", Inputs: b.coins(t, 1, 4), Pay: 4})
	if code(err) != cashu.CodeKeysetExpired {
		t.Errorf("after the final expiry: %v", err)
	}
}

// What was good when it was admitted may not be when it is applied.
func TestApplyLooksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench, *Admitted)
		code   cashu.Code
	}{
		"spent meanwhile":   {func(b *bench, a *Admitted) { b.spent[a.Inputs[0].Key] = true }, cashu.CodeSpent},
		"blank taken":       {func(b *bench, a *Admitted) { b.state.outputs[a.Blanks[0].B_] = Output{Status: OutputPending} }, cashu.CodeOutputsPending},
		"keyset retired":    {func(b *bench, _ *Admitted) { b.keysets[0].State = KeysetRetiring }, cashu.CodeKeysetInactive},
		"keyset gone":       {func(b *bench, _ *Admitted) { b.keysets = nil }, cashu.CodeKeysetUnknown},
		"coin twice":        {func(_ *bench, a *Admitted) { a.Inputs[1].Key = a.Inputs[0].Key }, cashu.CodeInputsTwice},
		"output twice":      {func(_ *bench, a *Admitted) { a.Blanks[0].B_ = a.Outputs[0].B_ }, cashu.CodeOutputsTwice},
		"sums touched":      {func(_ *bench, a *Admitted) { a.Pay++ }, cashu.CodeUnbalanced},
		"power touched":     {func(_ *bench, a *Admitted) { a.Inputs[0].Power = 64 }, cashu.CodeKeysetUnknown},
		"output touched":    {func(_ *bench, a *Admitted) { a.Outputs[0].Power = 32 }, cashu.CodeAmountRange},
		"blanks cut":        {func(_ *bench, a *Admitted) { a.Blanks = a.Blanks[1:] }, cashu.CodeBlanksTooFew},
		"blanks mixed":      {func(_ *bench, a *Admitted) { a.Blanks[1].Keyset = 3 }, cashu.CodeBlanksInvalid},
		"keyset of nothing": {func(_ *bench, a *Admitted) { a.Outputs[0].Keyset = 99 }, cashu.CodeKeysetUnknown},
		"pay above all":     {func(_ *bench, a *Admitted) { a.Pay = PayMax + 1 }, cashu.CodeAmountRange},
	} {
		b := newBench(t)
		a, err := b.admit(Request{Inputs: b.coins(t, 0, 4, 8), Pay: 8, Outputs: b.outputs2(t, 0, 4), Blanks: b.blanks(t, 0, 4), NeedBlanks: 4})
		if err != nil {
			t.Fatal(err)
		}
		c.change(b, &a)
		if got := code(a.Recheck(b, at)); got != c.code {
			t.Errorf("%s: %d, want %d", name, got, c.code)
		}
	}
}

func TestTheFingerprintNamesWhatIsAsked(t *testing.T) {
	b := newBench(t)
	base := Request{Inputs: b.coins(t, 0, 4, 8), Pay: 8, Outputs: b.outputs2(t, 0, 2, 2), Blanks: b.blanks(t, 0, 4)}
	print := Fingerprint("/v1/jobs", base, [32]byte{1})
	turned := base
	turned.Inputs = []cashu.Proof{base.Inputs[1], base.Inputs[0]}
	if Fingerprint("/v1/jobs", turned, [32]byte{1}) != print {
		t.Error("the order of coins matters")
	}
	seen := map[[32]byte]string{print: "base"}
	check := func(name string, sum [32]byte) {
		if other, same := seen[sum]; same {
			t.Errorf("%s is the same as %s", name, other)
		}
		seen[sum] = name
	}
	check("endpoint", Fingerprint("/v1/pots", base, [32]byte{1}))
	check("rest", Fingerprint("/v1/jobs", base, [32]byte{2}))
	next := base
	next.Pay = 7
	check("pay", Fingerprint("/v1/jobs", next, [32]byte{1}))
	next = base
	next.Outputs = []cashu.BlindedMessage{base.Outputs[1], base.Outputs[0]}
	check("order of outputs", Fingerprint("/v1/jobs", next, [32]byte{1}))
	next = base
	next.Outputs, next.Blanks = base.Blanks, base.Outputs
	check("outputs and blanks changed", Fingerprint("/v1/jobs", next, [32]byte{1}))
	next = base
	next.Inputs = base.Inputs[:1]
	check("fewer coins", Fingerprint("/v1/jobs", next, [32]byte{1}))
}
