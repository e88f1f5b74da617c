package machine

import (
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// setPool changes the pool, or makes another one of the given name.
func (w *world) setPool(a args) string {
	command := PoolSet{Pool: devPool(), Token: keyOf("token", a.text("token", "operator"))}
	if old, ok := w.m.View().PoolByName(a.word(0)); ok {
		command.Pool = *old
	}
	p := &command.Pool
	p.Name = a.text("name", a.word(0))
	p.Floor = funding.Rate(a.credits("floor", int64(p.Floor)))
	p.DefaultBid = max(funding.Rate(a.credits("bid", int64(p.DefaultBid))), p.Floor)
	p.SubmitFee = funding.Amount(a.credits("fee", int64(p.SubmitFee)))
	p.PauseGrace = a.duration("grace", p.PauseGrace)
	p.Tranche = a.duration("tranche", p.Tranche)
	p.LowFunds = a.duration("low", p.LowFunds)
	p.KillDelay = a.duration("kill", p.KillDelay)
	p.TimeMax = a.duration("longest", p.TimeMax)
	p.Weights.GPU = a.number("gpu", p.Weights.GPU)
	p.Weights.Suspended = a.number("kept", p.Weights.Suspended)
	p.Kinds = a.kinds(p.Kinds)
	p.Loopback = p.Loopback || a.has("loopback")
	if a.has("trusted") {
		p.Admission = scheduler.Trusted
	}
	if a.has("open") {
		p.Admission = scheduler.Open
	}
	p.Share = a.text("share", p.Share)
	if code := w.does(command, &PoolSetAnswer{}); code != "" {
		return code
	}
	pool, _ := w.m.View().PoolByName(p.Name)
	return w.happened("ok price="+money(funding.Amount(pool.Price)), EventEnded)
}

func (w *world) facts(a args) NodeFacts {
	var told []scheduler.DriverFacts
	if isolation := a.text("isolation", ""); isolation != "" {
		told = []scheduler.DriverFacts{{Name: "process", Isolation: isolation, State: "up"}}
	}
	var shares []string
	if share := a.text("share", ""); share != "" {
		shares = []string{share}
		told = append(told, scheduler.DriverFacts{Name: "process", Isolation: "process", State: "up", Can: []string{scheduler.AbilityShare}})
	}
	if moves := a.text("moves", ""); moves != "" {
		told = append(told, scheduler.DriverFacts{Name: "process", Isolation: "vm", State: "up", Moves: moves})
	}
	return NodeFacts{
		DriverFacts: told, Shares: shares,
		Has:     scheduler.Resources{CPUMilli: a.number("cpus", 4) * 1000, Memory: a.number("memory", 64) << 30, GPUs: max(whole(a.cards()), a.number("whole", 0))},
		Drivers: []string{"process"}, OS: "linux", Cards: a.cards(),
	}
}

// join lets a machine in with a token of its own, or with the one named.
func (w *world) join(a args) string {
	token := a.text("token", "")
	if token == "" {
		token = "join " + a.word(0)
		made := Token{Hash: keyOf("token", token), Role: RoleJoinExecutor, Until: w.at + 3_600_000}
		if code := w.does(made, &TokenAnswer{}); code != "" && code != string(CodeRequestConflict) {
			return code
		}
	}
	command := NodeJoin{
		Token: keyOf("token", token), Name: a.word(0), Pool: a.text("pool", "default"),
		Cert: keyOf("cert", a.text("cert", a.word(0))), Facts: w.facts(a),
	}
	var answer NodeJoinAnswer
	if code := w.does(command, &answer); code != "" {
		return code
	}
	w.nodes[a.word(0)] = answer.Node
	return fmt.Sprintf("node %d %s", answer.Node, w.stateOf(a.word(0)))
}

func (w *world) stateOf(node string) string {
	record, ok := w.m.View().Node(w.nodes[node])
	if !ok {
		return "unknown"
	}
	state := [...]string{"", "up", "draining", "lost", "quarantined", "removed"}[record.State]
	return fmt.Sprintf("%s open=%d", state, record.Open) + dealt(record)
}

func (w *world) nodeState(a args, state scheduler.NodeState) string {
	command := NodeState{Node: w.nodes[a.word(0)], State: state, Reason: a.text("reason", ""), Token: keyOf("token", a.text("token", "operator"))}
	if d := a.duration("deadline", 0); d != 0 {
		command.Deadline = w.at + d
	}
	if code := w.does(command, &NodeStateAnswer{}); code != "" {
		return code
	}
	if _, ok := w.m.View().Node(command.Node); !ok {
		return w.happened("removed")
	}
	return w.happened(w.stateOf(a.word(0)), EventQueued, EventEnded)
}

func (w *world) drain(a args) string { return w.nodeState(a, scheduler.NodeDraining) }

func (w *world) lose(a args) string {
	var answer PulseAnswer
	if code := w.does(Pulse{Lost: []scheduler.NodeID{w.nodes[a.word(0)]}}, &answer); code != "" {
		return code
	}
	return w.happened(w.stateOf(a.word(0)), EventQueued, EventEnded)
}

func (w *world) back(a args) string {
	if code := w.does(NodeUpdate{Node: w.nodes[a.word(0)], Facts: w.facts(a)}, &NodeUpdateAnswer{}); code != "" {
		return code
	}
	return w.stateOf(a.word(0))
}
