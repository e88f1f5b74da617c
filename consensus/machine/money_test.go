package machine

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// purse is what one person has: coins, and blinded outputs that may become coins.
type purse struct {
	name    string
	coins   []mint.Input
	waiting []cashu.Point // sent as outputs or blanks, not seen signed yet
}

func (w *world) purse(name string) *purse {
	p, ok := w.purses[name]
	if !ok {
		p = &purse{name: name}
		w.purses[name] = p
	}
	return p
}

// draw is what a wallet would draw at random: another one each time, the same in each replay.
func (w *world) draw(what string) [32]byte {
	w.serial++
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", what, w.serial))
}

// point is a blinded output of one person's. The machine checks the form of points only.
func (w *world) point(owner string) cashu.Point {
	drawn := w.draw("point of " + owner)
	return cashu.Point(append([]byte{2}, drawn[:]...))
}

// keyOf is a key's hash, by name: "wrong" is nobody's.
func keyOf(use, name string) [32]byte { return sha256.Sum256([]byte(use + " of " + name)) }

// outputs asks for coins worth an amount.
func (w *world) outputs(p *purse, amount cashu.Units, keyset mint.KeysetNumber) []mint.Allowed {
	var outputs []mint.Allowed
	for _, coin := range cashu.Split(amount) {
		power, _ := coin.Power()
		outputs = append(outputs, mint.Allowed{B_: w.point(p.name), Keyset: keyset, Power: power})
		p.waiting = append(p.waiting, outputs[len(outputs)-1].B_)
	}
	return outputs
}

// collect turns what was signed since into coins, and gives the purse's balance.
func (w *world) collect(p *purse) cashu.Units {
	view := w.m.View()
	var still []cashu.Point
	for _, point := range p.waiting {
		output := view.OutputAt(point)
		if output.Status != mint.OutputSigned {
			still = append(still, point)
			continue
		}
		p.coins = append(p.coins, mint.Input{Key: cashu.SpentKeyOf(point), Keyset: output.Keyset, Power: output.Power})
	}
	p.waiting = still
	var sum cashu.Units
	for _, coin := range p.coins {
		sum += coin.Amount()
	}
	return sum
}

// pick takes coins for an amount and their own fee out of a purse; what is over comes back as outputs.
func (w *world) pick(p *purse, pay cashu.Units) mint.Admitted {
	w.collect(p)
	sort.SliceStable(p.coins, func(i, j int) bool { return p.coins[i].Power > p.coins[j].Power })
	taken := mint.Admitted{Pay: pay}
	var sum cashu.Units
	for _, coin := range p.coins {
		if sum >= pay+taken.Fee && len(taken.Inputs) > 0 {
			break
		}
		taken.Inputs = append(taken.Inputs, coin)
		sum += coin.Amount()
		taken.Fee = w.fee(taken.Inputs)
	}
	p.coins = p.coins[len(taken.Inputs):]
	if rest := int64(sum) - int64(pay) - int64(taken.Fee); rest > 0 {
		taken.Outputs = w.outputs(p, cashu.Units(rest), w.active())
	}
	return taken
}

func (w *world) fee(inputs []mint.Input) cashu.Units {
	var fees []uint32
	for _, input := range inputs {
		keyset, _ := w.m.View().KeysetByNumber(input.Keyset)
		fees = append(fees, keyset.InputFeePPK)
	}
	return mint.Fee(fees)
}

// active is the newest active keyset.
func (w *world) active() mint.KeysetNumber {
	var number mint.KeysetNumber
	for _, keyset := range w.m.View().Keysets() {
		if keyset.State == mint.KeysetActive {
			number = keyset.Number
		}
	}
	return number
}

// payment is coins of a purse for a pot. way: blanks (as many as needed), blanks=N, claim, donate, none.
func (w *world) payment(a args) *Payment {
	p := w.purse(a.text("by", "alice"))
	pay := cashu.Units(a.number("pay", 0))
	payment := &Payment{Coins: w.pick(p, pay)}
	if a.has("claim") {
		payment.Claim = keyOf("claim", p.name)
	}
	payment.Donate = a.has("donate")
	blanks := mint.BlanksNeeded(pay)
	if a.has("claim") || a.has("donate") || a.has("nothing") {
		blanks = 0
	}
	for range a.number("blanks", int64(blanks)) {
		blank := mint.Allowed{B_: w.point(p.name), Keyset: w.active()}
		payment.Coins.Blanks = append(payment.Coins.Blanks, blank)
		p.waiting = append(p.waiting, blank.B_)
	}
	if a.has("over") { // asks for one unit more than there is
		payment.Coins.Outputs = append(payment.Coins.Outputs, w.outputs(p, 1, w.active())...)
	}
	return payment
}

// keep puts the coins of a refused payment back into the purse they came from.
func (w *world) keep(a args, payment *Payment) {
	if payment != nil {
		p := w.purse(a.text("by", "alice"))
		p.coins = append(p.coins, payment.Coins.Inputs...)
	}
}

// request is a new request's identity; key=NAME gives it an idempotency key of that name.
func (w *world) request(a args) RequestID {
	r := RequestID{Fingerprint: w.draw("request")}
	if name := a.text("key", ""); name != "" {
		r.Key = ulidOf(w.at-a.duration("old", 0), name)
	}
	return r
}

// ulidOf is an idempotency key made at a time.
func ulidOf(at funding.Millis, name string) [16]byte {
	sum := sha256.Sum256([]byte(name))
	key := [16]byte(sum[:16])
	for i := range 6 {
		key[i] = byte(at >> (8 * (5 - i)))
	}
	return key
}

func keysOf(name string) funding.Keys {
	return funding.Keys{
		Control: keyOf("control", name), View: keyOf("view", name), Spend: keyOf("spend", name),
		Claim: keyOf("claim", name), Fund: keyOf("fund", name),
	}
}

// secretOf is the secret that a story's cluster derives keysets from.
func epochOf(number mint.EpochNumber) mint.Epoch {
	return mint.Epoch{Number: number, Secret: sha256.Sum256(fmt.Appendf(nil, "epoch %d", number))}
}

func keysetSpec(t interface{ Fatal(...any) }, number mint.KeysetNumber, fee uint32, expiry int64) KeysetSpec {
	keyset, err := mint.Define(epochOf(1), number, "credit", fee, expiry)
	if err != nil {
		t.Fatal(err)
	}
	spec := KeysetSpec{ID: keyset.ID, Epoch: 1, InputFeePPK: fee, FinalExpiry: expiry, Number: number}
	for _, key := range keyset.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	return spec
}

// devPool is a pool like the one that `coinop dev` makes.
func devPool() scheduler.Pool {
	return scheduler.Pool{
		Name: "default", Admission: scheduler.Open, Weights: scheduler.Weights{CPU: 1000, Memory: 250},
		Floor: 1_000_000, DefaultBid: 2_000_000, TimeDefault: 3_600_000, TimeMax: 7 * 86_400_000,
		KillDelay: 30_000, PauseGrace: 600_000, Tranche: 600_000, Tick: 10_000, ArrayMax: 100_000,
		Drivers: []string{"process"}, LowFunds: 120_000,
	}
}

func moneyVerbs() map[string]verb {
	return map[string]verb{
		"issue":   (*world).issue,
		"quote":   (*world).quote,
		"mint":    (*world).mint,
		"swap":    (*world).swap,
		"pot":     (*world).pot,
		"deposit": (*world).deposit,
		"close":   (*world).close,
		"claim":   (*world).claim,
		"collect": func(w *world, a args) string { return fmt.Sprint(w.collect(w.purse(a.word(0)))) },
		"forge":   (*world).forge,
		"copy": func(w *world, a args) string { // someone has a copy of another's coins
			p := w.purse(a.word(0))
			w.collect(p)
			w.purse(a.word(1)).coins = append(w.purse(a.word(1)).coins, p.coins...)
			return fmt.Sprint(len(p.coins), " coins")
		},
		"ledger": func(w *world, _ args) string {
			var lines []string
			w.m.View().Balances(func(account funding.Account, amount funding.Amount) bool {
				if amount != 0 {
					lines = append(lines, fmt.Sprintf("%v=%d", account, amount))
				}
				return true
			})
			return strings.Join(lines, " ")
		},
	}
}

func quoteID(name string) QuoteID { q := sha256.Sum256([]byte(name)); return QuoteID(q[:16]) }

// issue gives a person coins: a paid quote and its minting.
func (w *world) issue(a args) string {
	p, amount := w.purse(a.word(0)), cashu.Units(number(w.t, a.word(1)))
	id := QuoteID(func() []byte { d := w.draw("quote"); return d[:16] }())
	quote := MintQuote{Quote: id, Rail: RailVoucher, Amount: amount, Paid: true, Token: keyOf("token", "operator")}
	if code := w.does(quote, &MintQuoteAnswer{}); code != "" {
		return code
	}
	outputs := w.outputs(p, amount, w.active())
	if code := w.does(Mint{Request: w.request(a), Quote: id, Outputs: outputs}, &MintAnswer{}); code != "" {
		return code
	}
	return fmt.Sprint("balance=", w.collect(p))
}

func (w *world) quote(a args) string {
	var answer MintQuoteAnswer
	quote := MintQuote{
		Quote: quoteID(a.word(0)), Rail: a.text("rail", RailVoucher), Ext: a.text("ext", ""),
		Amount: cashu.Units(a.number("amount", 0)), Paid: a.has("paid"), Token: keyOf("token", a.text("token", "operator")),
	}
	if d := a.duration("until", 0); d != 0 {
		quote.Until = w.at + d
	}
	if code := w.does(quote, &answer); code != "" {
		return code
	}
	return [...]string{"", "unpaid", "paid", "issued"}[answer.State]
}

func (w *world) mint(a args) string {
	p := w.purse(a.text("by", "alice"))
	outputs := w.outputs(p, cashu.Units(a.number("amount", 0)), mint.KeysetNumber(a.number("keyset", int64(w.active()))))
	var answer MintAnswer
	if code := w.does(Mint{Request: w.request(a), Quote: quoteID(a.word(0)), Outputs: outputs}, &answer); code != "" {
		return code
	}
	return fmt.Sprint("balance=", w.collect(p))
}

// swap turns all coins of a purse into few; twice, used and keyset=N make mistakes on purpose.
func (w *world) swap(a args) string {
	p := w.purse(a.word(0))
	total := w.collect(p)
	coins := mint.Admitted{Inputs: p.coins, Fee: w.fee(p.coins)}
	keyset := mint.KeysetNumber(a.number("keyset", int64(w.active())))
	want := total - coins.Fee + cashu.Units(a.number("plus", 0))
	coins.Outputs = w.outputs(p, want, keyset)
	if a.has("twice") {
		coins.Inputs = append(coins.Inputs, coins.Inputs[0])
	}
	if a.has("used") {
		coins.Outputs[0].B_ = w.usedPoint()
	}
	code := w.does(Swap{Request: w.request(a), Coins: coins}, &SwapAnswer{})
	if code != "" {
		return code
	}
	p.coins = nil
	return fmt.Sprint("balance=", w.collect(p))
}

// usedPoint is some output that was signed before.
func (w *world) usedPoint() (used cashu.Point) {
	w.m.View().outputs.ascend(cashu.Point{}, func(point cashu.Point, o mint.Output) bool {
		used = point
		return o.Status != mint.OutputSigned
	})
	return used
}

func (w *world) pot(a args) string {
	name := a.word(0)
	create := PotCreate{Request: w.request(a), Keys: keysOf(a.text("keys", name)), Policy: funding.Policy(a.number("policy", 0))}
	if _, ok := a.named["pay"]; ok {
		create.Payment = w.payment(a)
	}
	if _, ok := a.named["cap"]; ok {
		most := funding.Amount(a.number("cap", 0)) * funding.UnitMicro
		create.CapOthers = &most
	}
	var answer PotCreateAnswer
	if code := w.does(create, &answer); code != "" {
		w.keep(a, create.Payment)
		return code
	}
	w.pots[name] = answer.Pot
	return fmt.Sprintf("pot %d", answer.Pot)
}

func (w *world) deposit(a args) string {
	var answer DepositAnswer
	command := Deposit{Request: w.request(a), Fund: keyOf("fund", a.word(0)), Payment: *w.payment(a)}
	if code := w.does(command, &answer); code != "" {
		w.keep(a, &command.Payment)
		return code
	}
	return fmt.Sprintf("deposit %d paid=%d", answer.Deposit, answer.Paid/funding.UnitMicro)
}

func (w *world) close(a args) string {
	var answer PotCloseAnswer
	command := PotClose{Pot: w.pots[a.word(0)], Control: keyOf("control", a.text("key", a.word(0)))}
	if code := w.does(command, &answer); code != "" {
		return code
	}
	if !answer.Closed {
		return "closing"
	}
	return fmt.Sprintf("closed refunded=%d", answer.Refunded)
}

func (w *world) claim(a args) string {
	id := funding.RefundID(number(w.t, a.word(0)))
	p := w.purse(a.text("by", "alice"))
	var amount cashu.Units
	if refund, ok := w.m.View().Refund(id); ok {
		amount = cashu.Units(refund.Amount / funding.UnitMicro)
	}
	command := Claim{
		Request: w.request(a), Refund: id, Claim: keyOf("claim", a.text("key", p.name)),
		Outputs: w.outputs(p, amount+cashu.Units(a.number("plus", 0)), w.active()),
	}
	if code := w.does(command, &ClaimAnswer{}); code != "" {
		return code
	}
	return fmt.Sprint("balance=", w.collect(p))
}

// forge gives a person coins that were never issued, as if the mint's key were known.
func (w *world) forge(a args) string {
	p := w.purse(a.word(0))
	for _, coin := range cashu.Split(cashu.Units(number(w.t, a.word(1)))) {
		power, _ := coin.Power()
		p.coins = append(p.coins, mint.Input{Key: w.draw("forged"), Keyset: w.active(), Power: power})
	}
	return "forged"
}
