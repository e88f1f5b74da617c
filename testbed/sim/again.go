package sim

import (
	"bytes"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// asked is a request that was carried out, to be sent once more.
type asked struct {
	entry   machine.Command
	request machine.RequestID
	answer  []byte
	until   funding.Millis    // when its memory ends; zero: as long as its keyset
	keyset  mint.KeysetNumber // the newest that it names
}

// remember keeps a request that was carried out.
func (w *world) remember(entry machine.Command, r machine.Result, until funding.Millis, request machine.RequestID) {
	if r.Code != machine.OK || until != 0 && request.Key == ([16]byte{}) {
		return
	}
	a := asked{entry: entry, request: request, answer: r.Answer, until: until, keyset: newestOf(entry)}
	if w.asked = append(w.asked, a); len(w.asked) > 64 {
		w.asked = w.asked[1:]
	}
}

// newestOf is the newest keyset of a request's coins and of those it asks for at once.
func newestOf(c machine.Command) (newest mint.KeysetNumber) {
	var coins mint.Admitted
	switch c := c.(type) {
	case machine.Submit:
		if c.Payment != nil {
			coins = c.Payment.Coins
		}
	case machine.Deposit:
		coins = c.Payment.Coins
	case machine.PotCreate:
		coins = c.Payment.Coins
	case machine.Swap:
		coins = c.Coins
	case machine.Mint:
		coins.Outputs = c.Outputs
	case machine.Claim:
		coins.Outputs = c.Outputs
	}
	for _, input := range coins.Inputs {
		newest = max(newest, input.Keyset)
	}
	for _, output := range coins.Outputs {
		newest = max(newest, output.Keyset)
	}
	return newest
}

// again repeats a request: it has the same answer, and nothing happens. With another body it is
// refused.
func (w *world) again() {
	a, ok := one(w, w.asked)
	if !ok {
		return
	}
	keyset, known := w.view.KeysetByNumber(a.keyset)
	if a.until == 0 && (!known || keyset.StateAt(int64(w.now)) == mint.KeysetClosed) {
		return // who asks for such coins has waited too long
	}
	if a.until != 0 && w.now >= a.until-minute {
		if w.now > a.until+minute && w.view.At() > a.until+minute {
			w.refused(a.entry, machine.CodeRequestOld)
		}
		return
	}
	if a.request.Key != ([16]byte{}) && w.chance(40) {
		other := a.request
		other.Fingerprint = w.secret()
		w.refused(withRequest(a.entry, other), machine.CodeRequestConflict)
		return
	}
	w.expectSame(a.entry, w.propose(a.entry), a.answer)
}

// expectSame fails where a repetition had another answer than the first time, or an effect.
func (w *world) expectSame(c machine.Command, r machine.Result, first ...[]byte) {
	switch {
	case r.Code != machine.OK:
		w.fail("repeat", "a request that was carried out was refused when it came again: %s %s", r.Code, r.Detail)
	case len(r.Events) != 0:
		w.fail("repeat", "a request of kind %d had an effect when it came again: %s", c.Kind(), r.Events[0].Kind)
	case len(first) > 0 && !bytes.Equal(first[0], r.Answer):
		w.fail("repeat", "a request of kind %d had another answer when it came again", c.Kind())
	}
}

// withRequest is the same command under another identity.
func withRequest(c machine.Command, request machine.RequestID) machine.Command {
	switch c := c.(type) {
	case machine.Submit:
		c.Request = request
		return c
	case machine.Deposit:
		c.Request = request
		return c
	case machine.PotCreate:
		c.Request = request
		return c
	case machine.Swap:
		c.Request = request
		return c
	case machine.Mint:
		c.Request = request
		return c
	case machine.Claim:
		c.Request = request
		return c
	}
	return c
}

// refused proposes what must be refused, for one of the reasons.
func (w *world) refused(c machine.Command, codes ...machine.Code) {
	r := w.propose(c)
	for _, code := range codes {
		if r.Code == code {
			return
		}
	}
	w.fail("answer", "%s should have been refused as %v: %s %s", inWords(w.last[len(w.last)-1]), codes, r.Code, r.Detail)
}
