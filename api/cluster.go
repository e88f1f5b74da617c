package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func (a *API) clusterRoutes() {
	register(a, operation("nodes", http.MethodGet, "/v1/nodes", "cluster", "Machines"), a.listNodes)
	register(a, operation("node", http.MethodGet, "/v1/nodes/{node}", "cluster", "One machine"), a.getNode)
	register(a, operation("drain", http.MethodPost, "/v1/nodes/{node}/drain", "cluster", "Give a machine no more work"), a.drain)
	register(a, operation("undrain", http.MethodPost, "/v1/nodes/{node}/undrain", "cluster", "Give it work again"), a.undrain)
	register(a, operation("node-remove", http.MethodDelete, "/v1/nodes/{node}", "cluster", "Forget a machine that has no work"), a.removeNode)
	register(a, operation("pools", http.MethodGet, "/v1/pools", "cluster", "Pools and their prices"), a.listPools)
	register(a, operation("prices", http.MethodGet, "/v1/pools/{pool}/prices", "cluster", "A pool's price over time"), a.listPrices)
	register(a, operation("pool-set", http.MethodPut, "/v1/pools/{pool}", "cluster", "Make or change a pool"), a.setPool)
}

type nodesOutput struct{ Body client.NodeList }

type nodesInput struct {
	Verbose bool `query:"verbose" doc:"with what is known of each driver"`
}

func (a *API) listNodes(ctx context.Context, in *nodesInput) (*nodesOutput, error) {
	v := a.recentView(ctx)
	out := &nodesOutput{client.NodeList{Nodes: []client.Node{}}}
	for _, n := range v.Nodes() {
		node := nodeView(v, n)
		if !in.Verbose {
			node.DriverFacts = nil
		}
		out.Body.Nodes = append(out.Body.Nodes, node)
	}
	slices.SortFunc(out.Body.Nodes, func(x, y client.Node) int { return byName(x.Node, y.Node) })
	return out, nil
}

// byName orders names as people do: n2 before n10.
func byName(x, y string) int {
	for x != "" && y != "" {
		restX, restY := strings.TrimLeft(x, "0123456789"), strings.TrimLeft(y, "0123456789")
		digitsX, digitsY := x[:len(x)-len(restX)], y[:len(y)-len(restY)]
		if digitsX != "" && digitsY != "" {
			a, b := strings.TrimLeft(digitsX, "0"), strings.TrimLeft(digitsY, "0")
			if order := cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b), strings.Compare(digitsX, digitsY)); order != 0 {
				return order
			}
			x, y = restX, restY
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Compare(len(x), len(y))
}

type nodeInput struct {
	Node string `path:"node"`
}

type nodeOutput struct{ Body client.Node }

func (a *API) getNode(_ context.Context, in *nodeInput) (*nodeOutput, error) {
	v := a.node.View()
	n, err := findNode(v, in.Node)
	if err != nil {
		return nil, err
	}
	return &nodeOutput{nodeView(v, n)}, nil
}

func findNode(v *machine.View, name string) (*scheduler.Node, error) {
	n, ok := v.NodeByName(name)
	if !ok {
		return nil, fail(string(machine.CodeNodeUnknown), "there is no node %.64q", name)
	}
	return n, nil
}

func nodeView(v *machine.View, n *scheduler.Node) client.Node {
	out := client.Node{
		Node: n.Name, State: n.State.String(), Reason: n.Reason, Deadline: clockOf(n.Deadline),
		CPUMilli: n.Has.CPUMilli, MemoryBytes: n.Has.Memory, DiskBytes: n.Has.Disk, GPUs: n.Has.GPUs,
		CPUUsed: n.Used.CPUMilli, MemoryUsed: n.Used.Memory, DiskUsed: n.Used.Disk, GPUsUsed: n.Used.GPUs,
		Runs: n.Open, Drivers: n.Drivers, Labels: n.Labels, Missing: n.Missing, Joined: clock(n.Joined),
		Version: n.Version, OS: n.OS, Arch: n.Arch, Shares: n.Shares,
	}
	for _, d := range n.DriverFacts {
		out.DriverFacts = append(out.DriverFacts, client.DriverFacts{
			Driver: d.Name, Version: d.Version, Isolation: d.Isolation, Can: d.Can, State: d.State, Reason: d.Reason,
		})
	}
	if out.Cards = cardsView(n); len(n.Cards) > 0 {
		out.GPUsUsed = n.Has.GPUs - n.Free().GPUs
	}
	if p, ok := v.Pool(n.Pool); ok {
		out.Pool = p.Name
	}
	return out
}

type drainInput struct {
	Node string `path:"node"`
	Body client.DrainRequest
}

func (a *API) drain(ctx context.Context, in *drainInput) (*nodeOutput, error) {
	if in.Body.DeadlineMs < 0 {
		return nil, fail(string(machine.CodeInvalid), "deadline_ms: %d is negative", in.Body.DeadlineMs)
	}
	command := machine.NodeState{State: scheduler.NodeDraining, Reason: in.Body.Reason}
	if in.Body.DeadlineMs > 0 {
		command.Deadline = a.clusterNow(a.node.View()) + funding.Millis(in.Body.DeadlineMs)
	}
	return a.setNode(ctx, in.Node, command)
}

func (a *API) undrain(ctx context.Context, in *nodeInput) (*nodeOutput, error) {
	return a.setNode(ctx, in.Node, machine.NodeState{State: scheduler.NodeUp})
}

func (a *API) removeNode(ctx context.Context, in *nodeInput) (*nodeOutput, error) {
	return a.setNode(ctx, in.Node, machine.NodeState{State: scheduler.NodeRemoved})
}

func (a *API) setNode(ctx context.Context, name string, command machine.NodeState) (*nodeOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	token, err := a.operator(ctx, v)
	if err != nil {
		return nil, err
	}
	n, err := findNode(v, name)
	if err != nil {
		return nil, err
	}
	command.Node, command.Token = n.ID, token
	_, result, err := propose[machine.NodeStateAnswer](ctx, a, &command)
	if err != nil {
		return nil, err
	}
	if v, err = a.settled(ctx, result.Index); err != nil {
		return nil, err
	}
	if after, ok := v.Node(n.ID); ok {
		return &nodeOutput{nodeView(v, after)}, nil
	}
	gone := nodeView(v, n)
	gone.State = scheduler.NodeRemoved.String()
	return &nodeOutput{gone}, nil
}

type poolsOutput struct{ Body client.PoolList }

func (a *API) listPools(ctx context.Context, _ *struct{}) (*poolsOutput, error) {
	v := a.recentView(ctx)
	out := &poolsOutput{client.PoolList{Pools: []client.Pool{}}}
	for _, p := range v.Pools() {
		out.Body.Pools = append(out.Body.Pools, poolView(v, p))
	}
	return out, nil
}

func poolView(v *machine.View, p *scheduler.Pool) client.Pool {
	out := client.Pool{
		Pool: p.Name, Admission: p.Admission.String(), Loopback: p.Loopback,
		Weights:    weightsView(p),
		FloorMicro: int64(p.Floor), DefaultBidMicro: int64(p.DefaultBid), PriceMicro: int64(p.Price),
		SubmitFeeMicro: int64(p.SubmitFee), TimeDefaultMs: int64(p.TimeDefault), TimeMaxMs: int64(p.TimeMax),
		KillDelayMs: int64(p.KillDelay), PauseGraceMs: int64(p.PauseGrace), TrancheMs: int64(p.Tranche),
		TickMs: int64(p.Tick), LowFundsMs: int64(p.LowFunds), ArrayMax: p.ArrayMax, Drivers: p.Drivers, User: p.User, Share: p.Share,
	}
	for _, n := range v.Nodes() {
		if n.Pool == p.ID && n.State == scheduler.NodeUp {
			out.Nodes++
			out.CPUMilli += n.Has.CPUMilli
			out.CPUUsed += n.Used.CPUMilli
		}
	}
	return out
}

type pricesInput struct {
	Pool  string    `path:"pool"`
	Since time.Time `query:"since"`
}

type pricesOutput struct{ Body client.Prices }

// listPrices reads the book, and without one what the state still knows: back to the oldest open run.
func (a *API) listPrices(ctx context.Context, in *pricesInput) (*pricesOutput, error) {
	v := a.recentView(ctx)
	p, ok := v.PoolByName(in.Pool)
	if !ok {
		return nil, fail(string(machine.CodePoolUnknown), "there is no pool %.64q; there are: %s", in.Pool, poolNames(v))
	}
	out := &pricesOutput{client.Prices{Pool: p.Name}}
	if a.config.Book != nil {
		prices, err := a.config.Book.Prices(ctx, p.ID, in.Since, a.limits.JobsPage)
		out.Body.Prices = prices
		return out, err
	}
	out.Body.Prices = []client.Price{}
	series, _ := v.Series(p.ID)
	for _, point := range series.Points {
		if at := clock(point.At); !at.Before(in.Since) {
			out.Body.Prices = append(out.Body.Prices, client.Price{At: at, PriceMicro: int64(point.Price)})
		}
	}
	return out, nil
}

type poolSetInput struct {
	Pool string `path:"pool"`
	Body client.PoolSet
}

type poolOutput struct{ Body client.Pool }

func (a *API) setPool(ctx context.Context, in *poolSetInput) (*poolOutput, error) {
	v, err := a.linear(ctx) // what is left out stays as it is now, not as it was
	if err != nil {
		return nil, err
	}
	token, err := a.operator(ctx, v)
	if err != nil {
		return nil, err
	}
	pool := scheduler.DefaultPool(in.Pool)
	if known, ok := v.PoolByName(in.Pool); ok {
		pool = *known
	}
	if err := changePool(&pool, in.Body); err != nil {
		return nil, err
	}
	if pool.Admission == scheduler.Open && slices.Contains(pool.Drivers, processDriver) {
		return nil, fail(string(machine.CodeInvalid), "drivers: an open pool runs strangers' work, and %s does not keep that from the machine; name others: --drivers container", processDriver)
	}
	answer, result, err := propose[machine.PoolSetAnswer](ctx, a, &machine.PoolSet{Pool: pool, Token: token})
	if err != nil {
		return nil, err
	}
	if v, err = a.settled(ctx, result.Index); err != nil {
		return nil, err
	}
	set, ok := v.Pool(answer.Pool)
	if !ok {
		return nil, fail(string(machine.CodePoolUnknown), "there is no pool %.64q", in.Pool)
	}
	return &poolOutput{poolView(v, set)}, nil
}

func changePool(p *scheduler.Pool, s client.PoolSet) error {
	if s.Admission != nil {
		switch *s.Admission {
		case "open":
			p.Admission = scheduler.Open
		case "trusted":
			p.Admission = scheduler.Trusted
		}
	}
	if s.Weights != nil {
		p.Weights = scheduler.Weights{CPU: s.Weights.CPU, Memory: s.Weights.Memory, Disk: s.Weights.Disk, GPU: s.Weights.GPU, Suspended: s.Weights.Suspended}
		kinds, err := kindWeights(s.Weights.GPUKinds)
		if err != nil {
			return err
		}
		p.Kinds = kinds
	}
	if s.Drivers != nil {
		p.Drivers = s.Drivers
	}
	set(&p.Loopback, s.Loopback)
	set(&p.User, s.User)
	set(&p.Share, s.Share)
	set(&p.ArrayMax, s.ArrayMax)
	for _, f := range []struct {
		to   *funding.Millis
		from *int64
		name string
	}{
		{&p.TimeDefault, s.TimeDefaultMs, "time_default_ms"}, {&p.TimeMax, s.TimeMaxMs, "time_max_ms"},
		{&p.KillDelay, s.KillDelayMs, "kill_delay_ms"}, {&p.PauseGrace, s.PauseGraceMs, "pause_grace_ms"},
		{&p.Tranche, s.TrancheMs, "tranche_ms"}, {&p.Tick, s.TickMs, "tick_ms"}, {&p.LowFunds, s.LowFundsMs, "low_funds_ms"},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 {
			return fail(string(machine.CodeInvalid), "%s: %d is negative", f.name, *f.from)
		}
		*f.to = funding.Millis(*f.from)
	}
	return changePrices(p, s)
}

func changePrices(p *scheduler.Pool, s client.PoolSet) error {
	for _, f := range []struct {
		from *int64
		name string
		most int64
		to   func(int64)
	}{
		{s.FloorMicro, "floor_micro", int64(funding.RateMax), func(n int64) { p.Floor = funding.Rate(n) }},
		{s.DefaultBidMicro, "default_bid_micro", int64(funding.RateMax), func(n int64) { p.DefaultBid = funding.Rate(n) }},
		{s.SubmitFeeMicro, "submit_fee_micro", int64(funding.PotMax), func(n int64) { p.SubmitFee = funding.Amount(n) }},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 || *f.from > f.most {
			return fail(codeAmount, "%s: %d is not from 0 to %d", f.name, *f.from, f.most)
		}
		f.to(*f.from)
	}
	return nil
}

// set changes a field that was given.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
