package server

import (
	"testing"

	"github.com/coinop/coinop/consensus/machine"
)

func rung(b bell) bool {
	select {
	case <-b:
		return true
	default:
		return false
	}
}

func TestNewsWakesWhomItConcerns(t *testing.T) {
	n := newNews()
	one, two := n.follow(1), n.follow(2)
	n.tell([]machine.Event{{Kind: machine.EventPlaced, Node: 1}})
	if !rung(one.bell) || rung(two.bell) {
		t.Error("a placement on node 1 wakes node 1 and no other")
	}
	if !rung(n.place) || !rung(n.price) || !rung(n.pulse) {
		t.Error("a placement wakes the leader's loops")
	}
	n.tell([]machine.Event{{Kind: machine.EventTransfer, Node: 1}})
	if rung(one.bell) || rung(n.place) {
		t.Error("a transfer between accounts concerns no node and no loop")
	}
	n.tell([]machine.Event{{Kind: machine.EventPrice, Pool: 1}})
	if !rung(one.bell) || !rung(two.bell) {
		t.Error("a price concerns every node: the money lasts for another time")
	}
}

// Ten thousand machines that wait for work are not woken by each price and each deposit.
func TestWhatConcernsManySparesWhoHasNothingToRun(t *testing.T) {
	n := newNews()
	price := []machine.Event{{Kind: machine.EventPrice, Pool: 1}, {Kind: machine.EventDeposit}, {Kind: machine.EventStarted, Run: 7}}
	one, two := n.follow(1), n.follow(2)
	n.idle(1, one, 0)
	n.tell(price)
	if rung(one.bell) || !rung(two.bell) {
		t.Error("a price concerns those that may have something to run, and no other")
	}
	n.tell([]machine.Event{{Kind: machine.EventPlaced, Node: 1}})
	rung(one.bell)
	n.idle(1, one, 0) // as of a view from before the placement
	n.tell(price)
	if !rung(one.bell) {
		t.Error("a node that had nothing to run in an old view was spared a price of its new run")
	}
	n.idle(1, one, 1)
	n.everything()
	rung(one.bell)
	n.tell(price)
	if !rung(one.bell) {
		t.Error("what was lost may have given it something to run")
	}
	n.unfollow(2, two)
	if len(n.busy) != 1 || len(n.nodes) != 1 {
		t.Errorf("%d busy ones and %d streams are kept of one that is there", len(n.busy), len(n.nodes))
	}
}

func TestAnOldStreamDoesNotSilenceItsSuccessor(t *testing.T) {
	n := newNews()
	old := n.follow(1)
	fresh := n.follow(1)
	n.unfollow(1, old)
	n.tell([]machine.Event{{Kind: machine.EventPlaced, Node: 1}})
	if !rung(fresh.bell) {
		t.Error("the new stream of the node heard nothing")
	}
}
