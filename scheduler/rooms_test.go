package scheduler

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// plainRooms is the same as rooms, one list sorted on every look.
type plainRooms []spot

func (p plainRooms) find(need Resources, skip []NodeID) *spot {
	slices.SortFunc(p, func(a, b spot) int { return cmp.Or(cmp.Compare(a.worth, b.worth), cmp.Compare(a.node, b.node)) })
	for i := range p {
		if need.Within(p[i].room) && !slices.Contains(skip, p[i].node) {
			return &p[i]
		}
	}
	return nil
}

func TestRoomsFindWhatAPlainListFinds(t *testing.T) {
	w := Weights{CPU: 1000, Memory: 250}
	rapid.Check(t, func(t *rapid.T) {
		num := func(hi int64, what string) int64 { return rapid.Int64Range(0, hi).Draw(t, what) }
		draw := func(top int64) Resources {
			return Resources{CPUMilli: 100 * num(top, "cpu"), Memory: GiB * num(top, "memory"), GPUs: num(2, "gpus")}
		}
		var r rooms
		var plain, kept plainRooms
		var keptRooms rooms
		own := new(owner)
		for i := range num(300, "nodes") {
			room := draw(8)
			s := spot{worth: worthOf(w, room), node: NodeID(i + 1), room: room}
			r.put(own, s)
			plain = append(plain, s)
		}
		for range num(80, "changes") {
			if num(9, "keep") == 0 {
				keptRooms, kept, own = r, slices.Clone(plain), new(owner)
			}
			if len(plain) > 0 {
				i := num(int64(len(plain)-1), "which")
				if !r.drop(own, plain[i].worth, plain[i].node) || r.drop(own, plain[i].worth, plain[i].node) {
					t.Fatal("a node is not there once")
				}
				room := draw(8)
				plain[i] = spot{worth: worthOf(w, room), node: plain[i].node, room: room}
				if num(3, "gone") == 0 {
					plain = slices.Delete(plain, int(i), int(i)+1)
				} else {
					r.put(own, plain[i])
				}
			}
			need, skip := draw(7), []NodeID{NodeID(num(9, "skip"))}
			same(t, r.find(need, worthOf(w, need), skip, nil), plain.find(need, skip))
			same(t, keptRooms.find(need, worthOf(w, need), skip, nil), kept.find(need, skip))
		}
		other := Weights{CPU: 1, Memory: 4000}
		turned := r.weighed(own, other)
		for i := range plain {
			plain[i].worth = worthOf(other, plain[i].room)
		}
		need := draw(3)
		same(t, turned.find(need, worthOf(other, need), nil, nil), plain.find(need, nil))
	})
}

func same(t *rapid.T, a, b *spot) {
	if (a == nil) != (b == nil) || a != nil && *a != *b {
		t.Fatalf("rooms %v, plain %v", a, b)
	}
}

func TestMoreRoomIsNeverWorthLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(what string) int64 { return rapid.Int64Range(0, 1<<50).Draw(t, what) }
		w := Weights{CPU: num("w") % 3000, Memory: num("w") % 3000, Disk: num("w") % 3000, GPU: num("w") % 3000}
		a := Resources{num("cpu"), num("memory"), num("disk"), num("gpus")}
		b := a.Plus(Resources{num("cpu"), num("memory"), num("disk"), num("gpus")}, 1)
		if worthOf(w, a) > worthOf(w, b) {
			t.Fatal(a, b)
		}
	})
}

// TestALargeClusterAgreesWithTheNaiveRules: enough nodes and jobs for every structure to split.
func TestALargeClusterAgreesWithTheNaiveRules(t *testing.T) {
	w, x := benchWorld(400, 1500, 3)
	for round := range 4 {
		ds := Place(x, 0, 500)
		if want := naivePlace(w, 500); !slices.Equal(ds, want) {
			t.Fatalf("round %d: %d decisions, the naive rules make %d others", round, len(ds), len(want))
		}
		w.apply(x, ds)
		if a, b := Price(x, 1), naivePrice(w, 1); a != b {
			t.Fatalf("round %d: price %d, naive %d", round, a, b)
		}
	}
}

func TestClassesGoWithTheirLastNode(t *testing.T) {
	x := NewIndex()
	a := &Node{ID: 1, Pool: 1, Drivers: []string{"vm", "process"}, State: NodeUp, Has: Resources{CPUMilli: 1000}}
	b := &Node{ID: 2, Pool: 1, Drivers: []string{"process", "vm"}, State: NodeUp, Has: Resources{CPUMilli: 2000}}
	x.NodeChanged(nil, a)
	x.NodeChanged(nil, b)
	if n := len(x.fleet.classes); n != 1 {
		t.Fatal("classes for the same drivers in another order: ", n)
	}
	x.NodeChanged(a, nil)
	if len(x.fleet.classes) != 1 || Largest(x, 1).CPUMilli != 2000 {
		t.Fatal("the class went with its first node")
	}
	x.NodeChanged(b, nil)
	if n := len(x.fleet.classes); n != 0 {
		t.Fatal("an empty class stays")
	}
}
