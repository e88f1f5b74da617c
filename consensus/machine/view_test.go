package machine

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coinop/coinop/funding"
)

// Without an entry between them two views are one; with one, the older goes on showing what was.
func TestViewsStay(t *testing.T) {
	w := begun(t)
	one := w.m.View()
	if w.m.View() != one {
		t.Error("a view was made again of the same state")
	}
	before := viewBytes(t, one)
	for i := range 200 {
		w.play(strings.Fields(fmt.Sprintf("pot p%d by=alice pay=2", i)))
	}
	if !bytes.Equal(before, viewBytes(t, one)) {
		t.Error("a view has changed")
	}
	if _, ok := one.Pot(1); ok {
		t.Error("an older view shows a newer pot")
	}
	if _, ok := w.m.View().Pot(200); !ok {
		t.Error("a newer view lacks a pot")
	}
}

// Readers and snapshots go on while entries are applied, each with its own view: what a view says
// of the ledger adds up, whenever it was taken.
func TestViewsAreSafeForReaders(t *testing.T) {
	w := begun(t)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				v := w.m.View()
				if err := v.Check(); err != nil {
					t.Error(err)
					return
				}
				var sum funding.Amount
				v.Balances(func(_ funding.Account, amount funding.Amount) bool { sum += amount; return true })
				if sum != 2*1000*funding.UnitMicro {
					t.Errorf("accounts add up to %d", sum)
					return
				}
				m, err := Restore(bytes.NewReader(viewBytes(t, v)))
				if err != nil || m.View().Sum() != v.Sum() {
					t.Errorf("snapshot: %v", err)
					return
				}
			}
		})
	}
	for i := range 150 {
		if got := w.play(strings.Fields(fmt.Sprintf("pot p%d by=alice pay=3", i))); !strings.HasPrefix(got, "pot") {
			t.Fatal(got)
		}
		w.play(strings.Fields(fmt.Sprintf("close p%d", i)))
	}
	close(done)
	readers.Wait()
}

// Each accessor finds what is there and says so where nothing is.
func TestViewAccessors(t *testing.T) {
	w := newWorld(t)
	for _, line := range []string{"init server", "issue alice 100", "pot p by=alice pay=10 claim", "close p", "quote q amount=5"} {
		w.play(strings.Fields(line))
	}
	v := w.m.View()
	if v.Format() != 1 || v.Unit() != "credit" || v.Cluster() != (ClusterID{1}) || v.At() != dayOne || v.Index() != w.index {
		t.Errorf("single values: %+v", v.meta)
	}
	found := map[string]bool{}
	_, found["refund"] = v.Refund(1)
	_, found["quote"] = v.Quote(quoteID("q"))
	_, found["token"] = v.Token(keyOf("token", "operator"))
	_, found["server"] = v.Server("s1")
	_, found["pool"] = v.Pool(1)
	_, found["series"] = v.Series(1)
	_, found["keyset"] = v.KeysetByID(v.Keysets()[0].ID)
	_, found["output"] = v.Output(w.usedPoint())
	found["servers"], found["tokens"], found["pools"] = len(v.Servers()) == 1, len(v.Tokens()) == 1, len(v.Pools()) == 1
	found["refunds of"] = false
	v.RefundsOf(1, func(r *funding.Refund) bool { found["refunds of"] = r.ID == 1; return true })
	for what, ok := range found {
		if !ok {
			t.Errorf("%s is not found", what)
		}
	}
	missing := map[string]bool{}
	_, missing["refund"] = v.Refund(2)
	_, missing["quote"] = v.Quote(QuoteID{1})
	_, missing["token"] = v.Token(TokenHash{})
	_, missing["pot by fund"] = v.PotByFund(funding.FundID{})
	_, missing["pool by name"] = v.PoolByName("other")
	_, missing["node by name"] = v.NodeByName("other")
	_, missing["keyset by id"] = v.KeysetByID("00")
	_, missing["keyset"] = v.KeysetByNumber(7)
	_, missing["asked"] = v.Asked([32]byte{})
	v.RefundsOf(2, func(*funding.Refund) bool { missing["refunds of"] = true; return true })
	for what, ok := range missing {
		if ok {
			t.Errorf("%s is found, and is not there", what)
		}
	}
}
