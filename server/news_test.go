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
	if !rung(one) || rung(two) {
		t.Error("a placement on node 1 wakes node 1 and no other")
	}
	if !rung(n.place) || !rung(n.price) || !rung(n.pulse) {
		t.Error("a placement wakes the leader's loops")
	}
	n.tell([]machine.Event{{Kind: machine.EventTransfer, Node: 1}})
	if rung(one) || rung(n.place) {
		t.Error("a transfer between accounts concerns no node and no loop")
	}
	n.tell([]machine.Event{{Kind: machine.EventPrice, Pool: 1}})
	if !rung(one) || !rung(two) {
		t.Error("a price concerns every node: the money lasts for another time")
	}
}

func TestAnOldStreamDoesNotSilenceItsSuccessor(t *testing.T) {
	n := newNews()
	old := n.follow(1)
	fresh := n.follow(1)
	n.unfollow(1, old)
	n.tell([]machine.Event{{Kind: machine.EventPlaced, Node: 1}})
	if !rung(fresh) {
		t.Error("the new stream of the node heard nothing")
	}
}
