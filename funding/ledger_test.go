package funding

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type book map[Account]Amount

func (b book) Balance(a Account) Amount { return b[a] }

func (b book) post(ts ...Transfer) error {
	changes, err := Post(b, ts...)
	for _, c := range changes {
		b[c.Account] = c.Balance
	}
	return err
}

func (b book) accounts() []Change {
	var all []Change
	for a, balance := range b {
		all = append(all, Change{a, balance})
	}
	return all
}

var (
	rail  = Account{AssetRail, RailVoucher}
	coins = Account{LiabilityCoins, 1}
	pot7  = Account{LiabilityPot, 7}
	usage = Account{IncomeUsage, 1}
	over  = Account{ExpenseOverrun, 1}
)

func TestAJobsMoneyOnItsWay(t *testing.T) {
	b := book{}
	for _, step := range []struct {
		story string
		Transfer
	}{
		{"the operator issues 1000", Transfer{rail, coins, 1000, CodeIssue}},
		{"a job brings 100", Transfer{coins, pot7, 100, CodePay}},
		{"an input fee of 1", Transfer{coins, Account{IncomeFees, 0}, 1, CodeInputFee}},
		{"it used 70", Transfer{pot7, usage, 70, CodeUsage}},
		{"a late stop cost 3 more", Transfer{over, usage, 3, CodeOverrun}},
		{"29 go back", Transfer{pot7, coins, 29, CodeRefund}},
		{"1 is less than a coin", Transfer{pot7, Account{IncomeRounding, 0}, 1, CodeRounding}},
	} {
		if err := b.post(step.Transfer); err != nil {
			t.Fatalf("%s: %v", step.story, err)
		}
		if err := CheckBalances(b.accounts()); err != nil {
			t.Fatalf("%s: %v", step.story, err)
		}
	}
	want := book{rail: 1000, coins: 928, pot7: 0, usage: 73, over: 3, {IncomeFees, 0}: 1, {IncomeRounding, 0}: 1}
	if !maps.Equal(b, want) {
		t.Errorf("%v; want %v", b, want)
	}
}

func TestPostRefuses(t *testing.T) {
	for story, c := range map[string]struct {
		t    Transfer
		want error
	}{
		"more coins than are out":     {Transfer{coins, pot7, 101, CodePay}, ErrOverdrawn},
		"more out of the rail":        {Transfer{coins, rail, 1000, CodePayout}, ErrOverdrawn},
		"more than may be issued":     {Transfer{rail, coins, IssueMax, CodeIssue}, ErrRange},
		"more than a pot takes":       {Transfer{over, pot7, PotMax + 1, CodeOverrun}, ErrRange},
		"nothing":                     {Transfer{coins, pot7, 0, CodePay}, ErrRange},
		"backwards":                   {Transfer{coins, pot7, -1, CodePay}, ErrRange},
		"to itself":                   {Transfer{coins, coins, 1, CodeSwap}, ErrRange},
		"from no account":             {Transfer{Account{}, coins, 1, CodeSwap}, ErrRange},
		"to an account of no chart":   {Transfer{coins, Account{Kind: 99}, 1, CodeSwap}, ErrRange},
		"from an account of no chart": {Transfer{Account{Kind: 99}, coins, 1, CodeSwap}, ErrRange},
	} {
		b := book{rail: 100, coins: 100}
		before := maps.Clone(b)
		if err := b.post(c.t); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", story, err, c.want)
		}
		if !maps.Equal(b, before) {
			t.Errorf("%s: refused, and yet %v", story, b)
		}
	}
}

func TestPostIsAllOrNothing(t *testing.T) {
	b := book{rail: 100, coins: 100}
	err := b.post(Transfer{coins, pot7, 60, CodePay}, Transfer{coins, pot7, 60, CodePay})
	if !errors.Is(err, ErrOverdrawn) || b[pot7] != 0 {
		t.Errorf("%v, %v", err, b)
	}
	if err := b.post(Transfer{coins, pot7, 60, CodePay}, Transfer{pot7, coins, 60, CodeRefund}); err != nil || b[coins] != 100 {
		t.Errorf("there and back in one entry: %v, %v", err, b)
	}
}

// Whatever is posted, the books balance.
func TestLedgerAlwaysBalances(t *testing.T) {
	accounts := []Account{rail, coins, {LiabilityCoins, 2}, pot7, {LiabilityRefund, 0}, usage, over, {IncomeSubmit, 1}}
	rapid.Check(t, func(t *rapid.T) {
		b := book{}
		t.Repeat(map[string]func(*rapid.T){
			"post": func(t *rapid.T) {
				amount := Amount(rapid.OneOf(rapid.Int64Range(-5, 100), rapid.Int64()).Draw(t, "amount"))
				_ = b.post(Transfer{rapid.SampledFrom(accounts).Draw(t, "debit"), rapid.SampledFrom(accounts).Draw(t, "credit"), amount, CodeSwap})
			},
			"": func(t *rapid.T) {
				if err := CheckBalances(b.accounts()); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

func TestNamesOfAccountsAndCodes(t *testing.T) {
	var names []string
	for k := AssetRail; k <= ExpenseOverrun+1; k++ {
		names = append(names, k.String())
	}
	for c := CodeIssue; c <= CodeLapse+1; c++ {
		names = append(names, c.String())
	}
	for p := FirstIn; p <= Waterfall+1; p++ {
		names = append(names, p.String())
	}
	if i := slices.Index(names, ""); i >= 0 {
		t.Errorf("name %d is missing in %q", i, names)
	}
	for account, want := range map[Account]string{rail: "asset:rail:1", {IncomeFees, 0}: "income:fees", {Kind: 99}: "account kind 99"} {
		if account.String() != want {
			t.Errorf("%q; want %q", account, want)
		}
	}
	ordered := []Account{pot7, coins, {LiabilityCoins, 2}, rail}
	slices.SortFunc(ordered, func(a, b Account) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	if want := []Account{rail, coins, {LiabilityCoins, 2}, pot7}; !slices.Equal(ordered, want) {
		t.Errorf("%v; want %v", ordered, want)
	}
}
