package api

import (
	"math/big"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

// totalsOf adds up the balances by kind of account. Their sum can exceed what 64 bits hold.
func totalsOf(v *machine.View) client.Totals {
	sums := map[string]*big.Int{}
	v.Balances(func(account funding.Account, amount funding.Amount) bool {
		kind := account.Kind.String()
		if sums[kind] == nil {
			sums[kind] = new(big.Int)
		}
		sums[kind].Add(sums[kind], big.NewInt(int64(amount)))
		return true
	})
	out := client.Totals{Index: v.Index(), Unit: v.Unit(), Accounts: make(map[string]string, len(sums))}
	for kind, sum := range sums {
		out.Accounts[kind] = sum.String()
	}
	return out
}
