package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// Pot finds a pot.
func (v *View) Pot(id funding.PotID) (*funding.Pot, bool) { return v.pots.get(id) }

// PotByFund finds a pot by its public name.
func (v *View) PotByFund(fund funding.FundID) (*funding.Pot, bool) {
	id, ok := v.potFunds.get(fund)
	if !ok {
		return nil, false
	}
	return v.pots.get(id)
}

// Refund finds a claimable balance.
func (v *View) Refund(id funding.RefundID) (*funding.Refund, bool) { return v.refunds.get(id) }

// RefundsOf visits the claimable balances that came from a pot.
func (v *View) RefundsOf(pot funding.PotID, visit func(*funding.Refund) bool) {
	v.potRefunds.ascend(potRefund{pot: pot}, func(key potRefund, _ none) bool {
		if key.pot != pot {
			return false
		}
		refund, ok := v.refunds.get(key.refund)
		return !ok || visit(refund)
	})
}

// Keysets lists the keysets in the order of their numbers.
func (v *View) Keysets() []*KeysetRecord { return list(v.keysets) }

// KeysetByNumber is part of [mint.View].
func (v *View) KeysetByNumber(number mint.KeysetNumber) (mint.Keyset, bool) {
	record, ok := v.keysets.get(number)
	if !ok {
		return mint.Keyset{}, false
	}
	return record.Keyset, true
}

// KeysetByID is part of [mint.View].
func (v *View) KeysetByID(id cashu.KeysetID) (mint.Keyset, bool) {
	number, ok := v.keysetIDs.get(id)
	if !ok {
		return mint.Keyset{}, false
	}
	return v.KeysetByNumber(number)
}

// IsSpent is part of [mint.View].
func (v *View) IsSpent(key cashu.SpentKey) bool {
	_, ok := v.spent.get(key)
	return ok
}

// OutputAt is part of [mint.View]: a free output is the zero record.
func (v *View) OutputAt(point cashu.Point) mint.Output {
	output, _ := v.outputs.get(point)
	return output
}

// Output finds a blinded output that is pending or signed.
func (v *View) Output(point cashu.Point) (mint.Output, bool) { return v.outputs.get(point) }

// Quote finds a quote of the mint.
func (v *View) Quote(id QuoteID) (*Quote, bool) { return v.quotes.get(id) }

// Token finds a token by its hash; whether it is still good is for the caller to see ([TokenRecord.Good]).
func (v *View) Token(hash TokenHash) (*TokenRecord, bool) { return v.tokens.get(hash) }

// Tokens lists the tokens in the order of their hashes.
func (v *View) Tokens() []*TokenRecord { return list(v.tokens) }

// Servers lists the servers in the order of their ids.
func (v *View) Servers() []*Server { return list(v.servers) }

// Server finds a server.
func (v *View) Server(id string) (*Server, bool) { return v.servers.get(id) }

// Asked finds a request that came with coins by its fingerprint, before its coins are looked at.
func (v *View) Asked(whole [32]byte) (*Request, bool) {
	key, ok := v.asked.get(shorten(whole))
	if !ok {
		return nil, false
	}
	return v.request(key)
}

// AskedOfCoins finds a request that came with these coins by its idempotency key.
func (v *View) AskedOfCoins(coins []cashu.SpentKey, key [16]byte) (*Request, bool) {
	var in mint.Admitted
	for _, coin := range coins {
		in.Inputs = append(in.Inputs, mint.Input{Key: coin})
	}
	return v.request(requestKey{Key: key, Scope: ofCoins(in).number | scopeOfCoins})
}

func (v *View) request(key requestKey) (*Request, bool) {
	kept, ok := v.requests.get(key)
	if !ok {
		return nil, false
	}
	return withCoins(kept), true
}
