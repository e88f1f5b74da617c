package sim

import (
	"crypto/sha256"
	"fmt"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// purse is one person's coins and keys.
type purse struct {
	name  string
	claim funding.KeyHash
	coins []mint.Input
}

// promise is the blanks that wait for what comes back of a deposit.
type promise struct {
	owner  *purse
	blanks []mint.Allowed
}

// claimable is a balance that somebody may claim.
type claimable struct {
	id     funding.RefundID
	amount funding.Amount
	key    funding.KeyHash
	until  funding.Millis
}

// gain puts a signed coin into a purse.
func (w *world) gain(p *purse, signed ...mint.Allowed) {
	for _, a := range signed {
		p.coins = append(p.coins, mint.Input{Key: cashu.SpentKeyOf(a.B_), Keyset: a.Keyset, Power: a.Power})
		w.out[uint64(a.Keyset)] += units(a.Amount())
	}
}

// spent notes that coins that were taken out of a purse are gone.
func (w *world) spent(coins []mint.Input) {
	for _, coin := range coins {
		w.out[uint64(coin.Keyset)] -= units(coin.Amount())
		w.used = append(w.used, coin)
	}
	if len(w.used) > 256 {
		w.used = w.used[len(w.used)-256:]
	}
}

// point is a blinded output: the machine looks at its form only.
func (w *world) point() cashu.Point {
	drawn := w.secret()
	return cashu.Point(append([]byte{2 + byte(w.dice.IntN(2))}, drawn[:]...))
}

// active is the newest keyset that takes outputs.
func (w *world) active() (number mint.KeysetNumber) {
	for _, keyset := range w.view.Keysets() {
		if keyset.StateAt(int64(w.now)) == mint.KeysetActive {
			number = keyset.Number
		}
	}
	return number
}

// outputs asks for coins worth an amount.
func (w *world) outputs(amount cashu.Units) []mint.Allowed {
	var outputs []mint.Allowed
	for _, coin := range cashu.Split(amount) {
		power, _ := coin.Power()
		outputs = append(outputs, mint.Allowed{B_: w.point(), Keyset: w.active(), Power: power})
	}
	return outputs
}

// worth is a coin's value while its keyset lives.
func (w *world) worth(coin mint.Input) (value cashu.Units, fee uint32) {
	keyset, ok := w.view.KeysetByNumber(coin.Keyset)
	if !ok || keyset.StateAt(int64(w.now)) == mint.KeysetClosed {
		return 0, 0
	}
	return coin.Amount(), keyset.InputFeePPK
}

// pick takes coins for an amount and their own fee out of a purse; what is over is to come back at
// once. It says no where there is too little.
func (w *world) pick(p *purse, pay cashu.Units) (mint.Admitted, bool) {
	taken := mint.Admitted{Pay: pay}
	var sum cashu.Units
	var fees []uint32
	var kept []mint.Input
	for _, coin := range p.coins {
		value, fee := w.worth(coin)
		if value == 0 {
			continue // its keyset is closed: it is worth nothing for ever
		}
		if sum >= pay+taken.Fee && len(taken.Inputs) > 0 || len(taken.Inputs) == 200 {
			kept = append(kept, coin)
			continue
		}
		taken.Inputs = append(taken.Inputs, coin)
		fees = append(fees, fee)
		sum += value
		taken.Fee = mint.Fee(fees)
	}
	if sum < pay+taken.Fee || len(taken.Inputs) == 0 {
		return taken, false
	}
	p.coins = kept
	taken.Outputs = w.outputs(sum - pay - taken.Fee)
	return taken, true
}

// request is a new request's identity; some bring an idempotency key.
func (w *world) request(keyed bool) machine.RequestID {
	r := machine.RequestID{Fingerprint: w.secret()}
	if keyed {
		r.Key = w.ulid(w.now)
	}
	return r
}

func (w *world) ulid(at funding.Millis) [16]byte {
	drawn := w.secret()
	key := [16]byte(drawn[:16])
	for i := range 6 {
		key[i] = byte(at >> (8 * (5 - i)))
	}
	return key
}

// payment takes coins out of a purse for a pot, with one of the ways back.
func (w *world) payment(p *purse, pay cashu.Units) (*machine.Payment, bool) {
	coins, ok := w.pick(p, pay)
	if !ok {
		return nil, false
	}
	payment := &machine.Payment{Coins: coins}
	switch n := w.dice.IntN(10); {
	case n < 6:
		for range mint.BlanksNeeded(pay) + w.dice.IntN(3) {
			payment.Coins.Blanks = append(payment.Coins.Blanks, mint.Allowed{B_: w.point(), Keyset: w.active()})
		}
		payment.Coins.NeedBlanks = mint.BlanksNeeded(pay)
		if n < 3 {
			payment.Claim = p.claim
		}
	case n < 9:
		payment.Claim = p.claim
	default:
		payment.Donate = true
	}
	return payment, true
}

// paid settles a payment between a purse and a pot once its entry has an answer.
func (w *world) paid(p *purse, payment *machine.Payment, r machine.Result, pot funding.PotID, deposit funding.DepositID) {
	if payment == nil {
		return
	}
	if !w.turned(p, payment.Coins, r) {
		return
	}
	key := depositKey{pot, deposit}
	if w.paidIn[key] != 0 {
		w.fail("I3", "deposit %d of pot %d came twice", deposit, pot)
	}
	w.paidIn[key] = units(payment.Coins.Pay)
	if len(payment.Coins.Blanks) > 0 {
		w.promised[key] = &promise{owner: p, blanks: payment.Coins.Blanks}
	}
}

// turned takes in what became of coins: others of the same worth, or the same again after a refusal.
func (w *world) turned(p *purse, coins mint.Admitted, r machine.Result) bool {
	if r.Code != machine.OK {
		p.coins = append(p.coins, coins.Inputs...)
		return false
	}
	w.spent(coins.Inputs)
	w.gain(p, coins.Outputs...)
	return true
}

// keyOf is a key's hash, by name.
func keyOf(use, name string) [32]byte { return sha256.Sum256([]byte(use + " of " + name)) }

// operator is the token of the cluster's operator.
func operator() machine.TokenHash { return keyOf("token", "operator") }

// issue gives a purse new coins: a paid quote and its minting.
func (w *world) issue(p *purse, amount cashu.Units) {
	id := machine.QuoteID(w.ulid(w.now))
	quote := machine.MintQuote{Quote: id, Rail: machine.RailVoucher, Amount: amount, Paid: true, Token: operator()}
	if w.chance(30) {
		quote.Ext = fmt.Sprintf("receipt %x", id)
	}
	if r := w.propose(quote); r.Code != machine.OK {
		w.fail("answer", "an issue of %d was refused: %s %s", amount, r.Code, r.Detail)
		return
	}
	if w.chance(20) {
		w.expectSame(quote, w.propose(quote))
	}
	w.minting = units(amount)
	entry := machine.Mint{Request: w.request(w.chance(30)), Quote: id, Outputs: w.outputs(amount)}
	r := w.propose(entry, func(r machine.Result) {
		if r.Code == machine.OK {
			w.gain(p, entry.Outputs...)
		}
	})
	if r.Code != machine.OK {
		w.fail("answer", "a paid quote was not minted: %s %s", r.Code, r.Detail)
	}
	if w.minting != 0 {
		w.fail("I3", "%d of a quote was not minted", w.minting)
	}
	w.remember(entry, r, 0, entry.Request)
	if w.chance(10) { // once is enough
		entry.Request, entry.Outputs = w.request(false), w.outputs(amount)
		w.refused(entry, machine.CodeQuoteIssued)
	}
}
