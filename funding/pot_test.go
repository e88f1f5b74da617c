package funding

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func deposit(units uint64, way Way) Deposit {
	return Deposit{Amount: Amount(units) * UnitMicro, Way: way, Owner: true}
}

func pot(t interface{ Fatal(...any) }, deposits ...Deposit) Pot {
	p := Pot{ID: 7, State: PotOpen, Keys: Keys{Claim: KeyHash{9}}}
	for _, d := range deposits {
		var err error
		if p, err = p.Deposit(d); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A job brings 100 units, a friend adds 50: the job's own money goes first, the friend's comes back.
func TestFirstInGoesFirst(t *testing.T) {
	p := pot(t, deposit(100, ByBlanks), deposit(50, ByClaim))
	p = must(p.Hold(120 * UnitMicro))
	s, err := p.Settle(110*UnitMicro, 120*UnitMicro)
	if err != nil {
		t.Fatal(err)
	}
	if s.Posted != 110*UnitMicro || s.Overrun != 0 || s.Pot.Held != 10*UnitMicro {
		t.Errorf("posted %d, overrun %d, held %d", s.Posted, s.Overrun, s.Pot.Held)
	}
	if want := []Draw{{1, 100 * UnitMicro}, {2, 10 * UnitMicro}}; !slices.Equal(s.Draws, want) {
		t.Errorf("draws %v; want %v", s.Draws, want)
	}
	if p.Deposits[0].Charged != 0 {
		t.Error("the pot before it changed")
	}
	p = must(s.Pot.Release(10 * UnitMicro))
	p, backs, err := p.Close(5)
	if err != nil || len(backs) != 1 || backs[0].Amount != 40*UnitMicro || backs[0].Deposit.ID != 2 {
		t.Fatalf("back: %v, %v", backs, err)
	}
	if p.Balance() != 0 || p.State != PotClosed || p.Ended != 5 {
		t.Errorf("after closing: %+v", p)
	}
}

func TestOverrunIsTheOperators(t *testing.T) {
	p := pot(t, deposit(10, ByBlanks))
	p = must(p.Hold(4 * UnitMicro))
	s, err := p.Settle(5*UnitMicro, 4*UnitMicro)
	if err != nil || s.Posted != 4*UnitMicro || s.Overrun != UnitMicro || s.Pot.Balance() != 6*UnitMicro || s.Pot.Held != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestLessThanOneCoinIsCharged(t *testing.T) {
	p := pot(t, deposit(10, ByBlanks))
	p, _, err := p.Charge(2_500_001)
	if err != nil {
		t.Fatal(err)
	}
	p, backs, err := p.Close(1)
	if err != nil || len(backs) != 1 || backs[0].Amount != 7*UnitMicro || backs[0].Rounding != 499_999 {
		t.Fatalf("%+v, %v", backs, err)
	}
	deposited, charged, refunded := p.Totals()
	if deposited != 10*UnitMicro || charged != 3*UnitMicro || refunded != 7*UnitMicro {
		t.Errorf("%d = %d + %d", deposited, charged, refunded)
	}
}

func TestEachDepositHasItsOwnWayBack(t *testing.T) {
	own := deposit(1, ByBlanks)
	friend := deposit(2, ByClaim)
	friend.Claim = KeyHash{5}
	gift := deposit(3, Donated)
	gift.Claim = KeyHash{6} // a donor who names a key has given it away all the same
	_, backs, err := pot(t, own, friend, gift).Close(1)
	if err != nil || len(backs) != 3 {
		t.Fatal(backs, err)
	}
	for i, want := range []KeyHash{{9}, {5}, {9}} {
		if backs[i].Claim != want {
			t.Errorf("deposit %d goes back to %x; want %x", i+1, backs[i].Claim[:1], want[:1])
		}
	}
}

func TestPotRefuses(t *testing.T) {
	limit := Amount(5 * UnitMicro)
	capped := pot(t)
	capped.Cap = &limit
	full := pot(t)
	for range DepositsMax {
		full.Deposits = append(full.Deposits, Deposit{Amount: 1})
	}
	closed := pot(t)
	closed.State = PotClosed
	closing := pot(t)
	closing.State = PotClosing
	fair := pot(t, deposit(1, ByClaim))
	fair.Policy = ProRata
	busy := pot(t, deposit(1, ByClaim))
	busy.Jobs = 1
	held := pot(t, deposit(1, ByClaim))
	held.Held = 1
	others := Deposit{Amount: 6 * UnitMicro, Way: ByClaim}
	for story, c := range map[string]struct {
		f    func() error
		want error
	}{
		"nothing is no deposit": {func() error { _, err := pot(t).Deposit(deposit(0, ByClaim)); return err }, ErrRange},
		"a debt is no deposit":  {func() error { _, err := pot(t).Deposit(Deposit{Amount: -1, Way: ByClaim}); return err }, ErrRange},
		"no way back":           {func() error { _, err := pot(t).Deposit(deposit(1, 0)); return err }, ErrRange},
		"an unknown way back":   {func() error { _, err := pot(t).Deposit(deposit(1, 9)); return err }, ErrRange},
		"more than a pot holds": {func() error {
			_, err := pot(t, deposit(9_000_000_000, ByClaim)).Deposit(deposit(1, ByClaim))
			return err
		}, ErrRange},
		"more than the owner lets":         {func() error { _, err := capped.Deposit(others); return err }, ErrCap},
		"too many deposits":                {func() error { _, err := full.Deposit(deposit(1, ByClaim)); return err }, ErrFull},
		"deposit into a closed pot":        {func() error { _, err := closed.Deposit(deposit(1, ByClaim)); return err }, ErrClosed},
		"deposit into a closing pot":       {func() error { _, err := closing.Deposit(deposit(1, ByClaim)); return err }, ErrClosed},
		"a policy of later":                {func() error { _, err := fair.Deposit(deposit(1, ByClaim)); return err }, ErrPolicy},
		"charging by a policy of later":    {func() error { _, _, err := fair.Charge(1); return err }, ErrPolicy},
		"holding more than is free":        {func() error { _, err := held.Hold(UnitMicro); return err }, ErrShort},
		"holding a debt":                   {func() error { _, err := held.Hold(-1); return err }, ErrRange},
		"holding of a closed pot":          {func() error { _, err := closed.Hold(0); return err }, ErrClosed},
		"releasing more than is held":      {func() error { _, err := held.Release(2); return err }, ErrRange},
		"releasing a debt":                 {func() error { _, err := held.Release(-1); return err }, ErrRange},
		"charging what others hold":        {func() error { _, _, err := held.Charge(UnitMicro); return err }, ErrShort},
		"charging a debt":                  {func() error { _, _, err := held.Charge(-1); return err }, ErrRange},
		"settling a debt":                  {func() error { _, err := held.Settle(-1, 1); return err }, ErrRange},
		"settling more than the pot holds": {func() error { _, err := held.Settle(2, 2); return err }, ErrRange},
		"closing while jobs are open":      {func() error { _, _, err := busy.Close(1); return err }, ErrRange},
		"closing while money is held":      {func() error { _, _, err := held.Close(1); return err }, ErrRange},
		"closing twice":                    {func() error { _, _, err := closed.Close(1); return err }, ErrClosed},
	} {
		if err := c.f(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", story, err, c.want)
		}
	}
	if p, err := capped.Deposit(deposit(6, ByClaim)); err != nil || len(p.Deposits) != 1 {
		t.Errorf("the owner's own money is not capped: %v", err)
	}
	others.Amount = limit
	if _, err := capped.Deposit(others); err != nil {
		t.Errorf("others may add up to the cap: %v", err)
	}
}

// Whatever is deposited, held, settled, released and closed in whatever order: deposits are used
// first in first out, nothing is lost, and draws are exact (I2, I5, I6, I7, I10).
func TestPotConservesMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pot(t)
		var account, held, work Amount // the ledger's side, kept apart
		t.Repeat(map[string]func(*rapid.T){
			"deposit": func(t *rapid.T) {
				d := deposit(rapid.Uint64Range(1, 1000).Draw(t, "units"), Way(rapid.IntRange(1, 3).Draw(t, "way")))
				if next, err := p.Deposit(d); err == nil {
					p, account = next, account+d.Amount
				}
			},
			"hold": func(t *rapid.T) {
				amount := Amount(rapid.Int64Range(0, 1e9).Draw(t, "amount"))
				if next, err := p.Hold(amount); err == nil {
					p, held = next, held+amount
				} else if amount <= account-held {
					t.Fatalf("%d of %d free was refused: %v", amount, account-held, err)
				}
			},
			"settle": func(t *rapid.T) {
				part := Amount(rapid.Int64Range(0, int64(held)).Draw(t, "held"))
				owed := Amount(rapid.Int64Range(0, 1e9).Draw(t, "owed"))
				s, err := p.Settle(owed, part)
				if err != nil {
					t.Fatal(err)
				}
				if err := CheckDraws(s.Posted, s.Draws); err != nil {
					t.Fatal(err)
				}
				if s.Posted+s.Overrun != owed || s.Posted > part {
					t.Fatalf("owed %d, held %d: posted %d, overrun %d", owed, part, s.Posted, s.Overrun)
				}
				p, account, held, work = s.Pot, account-s.Posted, held-s.Posted, work+s.Posted
			},
			"release": func(t *rapid.T) {
				part := Amount(rapid.Int64Range(0, int64(held)).Draw(t, "held"))
				var err error
				if p, err = p.Release(part); err != nil {
					t.Fatal(err)
				}
				held -= part
			},
			"": func(t *rapid.T) {
				if err := errors.Join(CheckPot(p, account, held), CheckPolicy(p)); err != nil {
					t.Fatal(err)
				}
			},
		})
		p, err := p.Release(held)
		if err != nil {
			t.Fatal(err)
		}
		closed, backs, err := p.Close(1)
		if err != nil {
			t.Fatal(err)
		}
		var back, rounding Amount
		for _, b := range backs {
			back, rounding = back+b.Amount, rounding+b.Rounding
			if b.Amount%UnitMicro != 0 || b.Rounding >= UnitMicro {
				t.Fatalf("%+v is not whole coins and less than one", b)
			}
		}
		if back+rounding != account {
			t.Fatalf("%d was left, %d and %d came out", account, back, rounding)
		}
		receipt := OwnReceipt(1, closed, Bill{Usage: work, Rounding: rounding})
		if err := errors.Join(CheckPot(closed, 0, 0), receipt.Check()); err != nil {
			t.Fatal(err)
		}
	})
}
