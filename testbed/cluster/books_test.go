package cluster

import (
	"testing"

	"github.com/coinop/coinop/consensus/machine"
)

func TestBooksThatDifferAreFound(t *testing.T) {
	good := History{First: map[machine.EventKind]uint64{}}
	chain := func(n int, of machine.Event) machine.Event {
		of.Seq = uint64(n)
		of.Hash, _ = machine.ChainHash(good.Hash, of)
		return of
	}
	for n := 1; n <= 3; n++ {
		if err := good.follow(chain(n, machine.Event{Kind: machine.EventSubmitted, Job: 7})); err != nil {
			t.Fatal(err)
		}
	}
	if good.Last != 3 || len(good.Jobs) != 3 || good.Jobs[2] != 7 || good.First[machine.EventSubmitted] != 1 {
		t.Fatalf("%+v", good)
	}
	missing := chain(5, machine.Event{})
	changed := chain(4, machine.Event{Job: 1})
	changed.Job = 2
	for name, e := range map[string]machine.Event{"one is missing": missing, "one was changed": changed} {
		h := good
		if err := h.follow(e); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	other, shorter := good, good
	other.Hash[0]++
	shorter.Last--
	names := []string{"s1", "s2", "s3"}
	if err := alike(names, []History{good, good, good}); err != nil {
		t.Error(err)
	}
	for name, h := range map[string]History{"another hash": other, "a shorter one": shorter} {
		if err := alike(names, []History{good, good, h}); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestTheSidesOfALedger(t *testing.T) {
	a := Accounts{"asset:rail": 7, "expense:overrun": 2, "income:fees": 4, "coins": 3, "pots": 2}
	if owned, owed, income := a.Sides(); owned != 9 || owed != 5 || income != 4 {
		t.Errorf("%d, %d, %d", owned, owed, income)
	}
}
