package cashu

import (
	"encoding/json"
	"testing"
)

func TestWalletsCountBlanksByTheLogarithmRoundedUp(t *testing.T) {
	for reserve, want := range map[Units]int{
		0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 900: 10, 1000: 10, 1024: 10, 1025: 11, 1 << 32: 32, 1<<32 + 1: 33,
	} {
		if got := BlanksOfReserve(reserve); got != want {
			t.Errorf("%d blanks for a reserve of %d, want %d", got, reserve, want)
		}
	}
}

func TestNoChangeIsMoreCoinsThanTheReserveHasBlanks(t *testing.T) {
	most := 0 // coins that any amount up to the reserve is
	for reserve := Units(1); reserve < 1<<14; reserve++ {
		if most = max(most, SplitCount(reserve)); most > BlanksOfReserve(reserve) {
			t.Fatalf("%d coins of a reserve of %d, %d blanks", most, reserve, BlanksOfReserve(reserve))
		}
	}
}

func TestAMeltRequestOfAStockWalletIsRead(t *testing.T) {
	var r MeltRequest
	err := json.Unmarshal([]byte(`{"quote":"q","inputs":[{"amount":2,"id":"009a1f293253e41e","secret":"s",
		"C":"02bc9097997d81afb2cc7346b5e4345a9346bd2a506eb7958598a72f0cf85163ea"}],
		"outputs":[{"amount":0,"id":"009a1f293253e41e","B_":"02bc9097997d81afb2cc7346b5e4345a9346bd2a506eb7958598a72f0cf85163ea"}],
		"prefer_async":true}`), &r)
	if err != nil || len(r.Inputs) != 1 || len(r.Outputs) != 1 || !r.PreferAsync || r.Quote != "q" {
		t.Fatalf("%+v, %v", r, err)
	}
	raw, err := json.Marshal(MeltQuote{Quote: "q", State: MeltPending})
	want := `{"quote":"q","request":"","amount":0,"fee_reserve":0,"unit":"","state":"PENDING","expiry":0}`
	if err != nil || string(raw) != want {
		t.Fatalf("%s, %v", raw, err)
	}
}
