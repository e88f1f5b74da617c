package sim

import (
	"fmt"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// keysetsMade is how many keysets all lives share: making one takes as long as many entries.
const keysetsMade = 6

// Keysets makes the keysets that all lives begin with: the second and later ones charge a fee, some expire.
func Keysets() ([]machine.KeysetSpec, error) {
	var specs []machine.KeysetSpec
	for number := mint.KeysetNumber(1); number <= keysetsMade; number++ {
		expiry := int64(0)
		if number%3 == 2 {
			expiry = int64(dayOne+funding.Millis(number)*20*day) / 1000
		}
		spec, err := define(number, expiry)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

func define(number mint.KeysetNumber, expiry int64) (machine.KeysetSpec, error) {
	epoch := mint.Epoch{Number: 1, Secret: mint.Secret(keyOf("secret", "epoch"))}
	fee := uint32(number-1) % 3 * 100
	keyset, err := mint.Define(epoch, number, "credit", fee, expiry)
	if err != nil {
		return machine.KeysetSpec{}, fmt.Errorf("make keyset %d: %w", number, err)
	}
	spec := machine.KeysetSpec{ID: keyset.ID, Epoch: 1, InputFeePPK: fee, FinalExpiry: expiry, Number: number}
	for _, key := range keyset.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	return spec, nil
}

// found makes the cluster: pools, people, machines.
func (w *world) found() {
	w.keysets = 1
	w.mayRefuse(w.propose(machine.Init{
		Cluster: machine.ClusterID{1}, Unit: "credit", Format: 1, Keyset: w.Keysets[0], Operator: operator(),
		Pools: []scheduler.Pool{
			somePool("default"),
			func() scheduler.Pool {
				p := somePool("quick")
				p.SubmitFee, p.Tranche, p.PauseGrace, p.LowFunds, p.KillDelay = 123_456, 30*second, 20*second, 10*second, 2*second
				return p
			}(),
			func() scheduler.Pool {
				p := somePool("idle")
				p.Floor, p.DefaultBid, p.PauseGrace, p.Tick = 0, 1, 0, 0
				return p
			}(),
		},
	}))
	for i := range 4 {
		name := fmt.Sprintf("person %d", i)
		p := &purse{name: name, claim: keyOf("claim", name)}
		w.purses = append(w.purses, p)
		w.issue(p, 100_000)
	}
	for range 4 {
		w.join()
	}
}

func somePool(name string) scheduler.Pool {
	return scheduler.Pool{
		Name: name, Admission: scheduler.Open, Weights: scheduler.Weights{CPU: 1000, Memory: 250, GPU: 400, Suspended: 10}, Kinds: kinds(),
		Floor: 1_000_000, DefaultBid: 2_000_000, TimeDefault: hour, TimeMax: 7 * day,
		KillDelay: 30 * second, PauseGrace: 10 * minute, Tranche: 10 * minute, Tick: 10 * second, ArrayMax: 100,
		Drivers: []string{"process"}, LowFunds: 2 * minute,
	}
}

// operators is what those do who run the cluster.
func (w *world) operators() {
	switch w.dice.IntN(9) {
	case 0:
		w.poolSet()
	case 1:
		w.rotate()
	case 2:
		if len(w.nodes) < 9 {
			w.join()
		}
	case 3, 4:
		w.drain()
	case 5:
		w.tokens()
	case 6:
		w.mayRefuse(w.propose(machine.Format{Format: 1}))
	case 7:
		w.forget()
	case 8:
		w.mayRefuse(w.propose(machine.Keyset{Sweep: between[int32](w, 1, 400)}))
	}
}

func (w *world) poolSet() {
	pools := w.view.Pools()
	entry := machine.PoolSet{Pool: *pools[w.dice.IntN(len(pools))], Token: operator()}
	p := &entry.Pool
	switch w.dice.IntN(5) {
	case 0, 1:
		p.Floor = between[funding.Rate](w, 0, 2_500_000)
		p.DefaultBid = max(p.DefaultBid, p.Floor, 1)
	case 2:
		p.SubmitFee = funding.Amount(w.dice.IntN(2_000_000))
	case 3:
		p.Tranche, p.PauseGrace = between(w, second, 20*minute), between(w, 0, 15*minute)
	case 4:
		p.LowFunds, p.KillDelay, p.Tick = between(w, 0, 5*minute), between(w, 0, minute), between(w, 0, minute)
	}
	w.mayRefuse(w.propose(entry))
	for _, r := range w.runs {
		if r.nap != nil && r.pool == p.ID {
			r.nap.grace = min(r.nap.grace, p.PauseGrace)
		}
	}
}

// rotate makes a keyset, or moves an old one on. The newest stays active. A cluster has 256 keysets in all, so after the
// first ones they come seldom.
func (w *world) rotate() {
	all := w.view.Keysets()
	newest := all[len(all)-1]
	if newest.Stopped {
		return
	}
	due := w.keysets < len(w.Keysets) || w.now > newest.Made+40*day
	if expires := newest.FinalExpiry * 1000; due && w.chance(30) || expires != 0 && int64(w.now+15*day) > expires {
		w.nextKeyset()
		return
	}
	var olds []mint.KeysetNumber
	for _, k := range all[:len(all)-1] {
		if k.StateAt(int64(w.now)) != mint.KeysetClosed {
			olds = append(olds, k.Number)
		}
	}
	if old, ok := one(w, olds); ok {
		to := mint.KeysetRetiring
		if w.chance(50) {
			to = mint.KeysetClosed
		}
		w.mayRefuse(w.propose(machine.Keyset{Number: old, State: to}), machine.CodeInvalid)
	}
}

// nextKeyset makes a keyset: one of those that all lives share, or one of this life's own.
func (w *world) nextKeyset() {
	w.keysets++
	if w.keysets <= len(w.Keysets) {
		spec := w.Keysets[w.keysets-1]
		if spec.FinalExpiry == 0 || spec.FinalExpiry*1000 > int64(w.now+20*day) {
			w.mayRefuse(w.propose(machine.Keyset{New: &spec, Token: operator()}))
			return
		}
	}
	expiry := int64(w.now+between(w, 60*day, 100*day)) / 1000
	if w.keysets%4 == 0 {
		expiry = 0
	}
	spec, err := define(mint.KeysetNumber(w.keysets), expiry)
	if err != nil {
		w.fail("world", "%v", err)
		return
	}
	w.mayRefuse(w.propose(machine.Keyset{New: &spec, Token: operator()}))
}

// replaceExpired makes a keyset where the last one has come to its end: without one nobody could be paid.
func (w *world) replaceExpired() {
	if w.active() == 0 {
		w.nextKeyset()
	}
}

func (w *world) join() {
	name := fmt.Sprintf("node %x", w.secret())[:16]
	hash := machine.TokenHash(w.secret())
	w.mayRefuse(w.propose(machine.Token{Hash: hash, Role: machine.RoleJoinExecutor, Until: max(w.now, w.view.At()) + hour, By: operator()}))
	pools := w.view.Pools()
	n := &node{name: name, pool: pools[w.dice.IntN(len(pools))].Name, facts: machine.NodeFacts{
		Has:     scheduler.Resources{CPUMilli: between[int64](w, 2, 12) * 1000, Memory: between[int64](w, 8, 64) << 30, Disk: between[int64](w, 4, 64) << 30},
		Drivers: []string{"process"}, DriverFacts: []scheduler.DriverFacts{{Name: "process", Isolation: "vm", State: "up", Moves: w.kindOfMachine()}},
	}}
	if w.chance(60) {
		n.facts.Cards, n.facts.Has.GPUs = w.someCards()
	}
	entry := machine.NodeJoin{Token: hash, Name: name, Pool: n.pool, Cert: keyOf("cert", name), Facts: n.facts}
	r := w.propose(entry)
	w.mayRefuse(r)
	if a, ok := answer[machine.NodeJoinAnswer](w, r); ok {
		n.id = a.Node
		w.nodes = append(w.nodes, n)
	}
	if w.chance(30) { // the token is spent; the machine itself may come again
		w.mayRefuse(w.propose(entry))
		entry.Name += "b"
		w.refused(entry, machine.CodeTokenUsed)
	}
}

func (w *world) drain() {
	n, ok := one(w, w.nodes)
	if !ok || n.gone {
		return
	}
	entry := machine.NodeState{Node: n.id, State: scheduler.NodeUp, Token: operator()}
	switch k := w.dice.IntN(20); {
	case k < 12:
	case k < 18:
		entry.State, entry.Reason = scheduler.NodeDraining, "kernel"
		if w.chance(60) {
			entry.Deadline = max(w.now, w.view.At()) + between(w, 0, 10*minute)
		}
	default:
		entry.State = scheduler.NodeRemoved
	}
	r := w.propose(entry)
	w.mayRefuse(r, machine.CodeJobOpen)
	if r.Code != machine.OK || entry.State != scheduler.NodeRemoved {
		return
	}
	n.gone = true
	for i := range w.nodes {
		if w.nodes[i] == n {
			w.nodes = append(w.nodes[:i], w.nodes[i+1:]...)
			break
		}
	}
}

func (w *world) tokens() {
	hash := machine.TokenHash(w.secret())
	entry := machine.Token{Hash: hash, Role: machine.RoleSubmit, Name: "site", By: operator()}
	w.mayRefuse(w.propose(entry))
	w.expectSame(entry, w.propose(entry))
	entry.Revoked = true
	w.mayRefuse(w.propose(entry))
	w.refused(entry, machine.CodeTokenUnknown)
	w.refused(machine.Token{Hash: operator(), Revoked: true}, machine.CodeLimit)
}
