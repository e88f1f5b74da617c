package scheduler

import (
	"math"
	"testing"
)

func TestFreeRoomIsWhatIsNotUsed(t *testing.T) {
	n := &Node{Has: Resources{4000, 8 * GiB, 10 * GiB, 2}, Used: Resources{1000, 3 * GiB, 4 * GiB, 1}}
	if got := n.Free(); got != (Resources{3000, 5 * GiB, 6 * GiB, 1}) {
		t.Error(got)
	}
	n.Used.GPUs = 3 // the node came back with a device less than its tasks have
	if got := n.Free(); got != (Resources{3000, 5 * GiB, 6 * GiB, 0}) {
		t.Error(got)
	}
}

func TestEachResourceIsLookedAt(t *testing.T) {
	need := Resources{2, 3, 4, 5}
	if room := (Resources{2, 3, 4, 5}); !need.Within(room) || need.times(room) != 1 {
		t.Error("what is just enough is refused")
	}
	for _, room := range []Resources{{1, 9, 9, 9}, {9, 2, 9, 9}, {9, 9, 3, 9}, {9, 9, 9, 4}} {
		if need.Within(room) || need.times(room) != 0 {
			t.Error(room, "is enough")
		}
	}
	for _, room := range []Resources{{7, 99, 99, 99}, {99, 11, 99, 99}, {99, 99, 15, 99}, {99, 99, 99, 19}} {
		if got := need.times(room); got != 3 {
			t.Error(room, "holds", got)
		}
	}
	if got := (Resources{}).times(Resources{}); got != math.MaxInt64 {
		t.Error("nothing fits", got, "times")
	}
}
