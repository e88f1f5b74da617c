package machine

import (
	"slices"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// populated is a world with a little of everything: a job that runs, one that waits in a shared
// pot, a closed pot, a machine, tokens, a quote and a second pool.
func populated(t *testing.T) *world {
	t.Helper()
	w := begun(t)
	for _, line := range []string{
		"node n1", "pool other trusted", "pot p by=alice pay=200", "pot gone by=alice pay=5 claim", "close gone",
		"submit j1 by=alice pay=100 time=50s bid=2", "submit j2 pot=p time=10s bid=2 array=0-9",
		"place j1 n1", "start j1", "quote q amount=7", "token sub role=submit",
	} {
		w.play(splitWords(line))
	}
	return w
}

// refusals sends each command to a world of its own and wants its code; nothing may come of it.
func refusals(t *testing.T, cases map[string]struct {
	make func(w *world) Command
	want Code
}) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := populated(t)
			command := c.make(w)
			before := w.m.View()
			r := w.apply(command)
			after := w.m.View()
			if r.Code != c.want {
				t.Errorf("%s %s; want %s", r.Code, r.Detail, c.want)
			}
			if len(r.Events) != 0 || after.Seq() != before.Seq() || after.JobCount() != before.JobCount() || after.meta.Pot != before.meta.Pot {
				t.Error("something came of it")
			}
			if err := after.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

type refusedCase = struct {
	make func(w *world) Command
	want Code
}

func is(c Command) func(*world) Command { return func(*world) Command { return c } }

// asJob is a good submission of a job with its money, changed so that it is not.
func asJob(change func(*Submit)) func(*world) Command {
	return func(w *world) Command {
		c := Submit{
			Request: w.request(args{}), Keys: keysOf("new"), Pool: 1, Driver: "process", Need: scheduler.Resources{CPUMilli: 1000},
			Mode: funding.Safe, Bid: 2_000_000, TimeLimit: 10_000, Work: []byte{0xa0},
			Payment: w.payment(parseArgs(w.t, []string{"by=alice", "pay=50"})),
		}
		change(&c)
		return c
	}
}

func TestJobsThatAreRefused(t *testing.T) {
	refusals(t, map[string]refusedCase{
		"no such pool":            {asJob(func(c *Submit) { c.Pool = 9 }), CodePoolUnknown},
		"a driver it has not":     {asJob(func(c *Submit) { c.Driver = "vm" }), CodeDriverRefused},
		"no token where needed":   {asJob(func(c *Submit) { c.Pool = 2 }), CodeTokenUnknown},
		"asks for nothing":        {asJob(func(c *Submit) { c.Need = scheduler.Resources{} }), CodeLimit},
		"nothing to run":          {asJob(func(c *Submit) { c.Work = nil }), CodeLimit},
		"too much to run":         {asJob(func(c *Submit) { c.Work = make([]byte, scheduler.SpecMax+1) }), CodeLimit},
		"no control key":          {asJob(func(c *Submit) { c.Keys.Control = funding.KeyHash{} }), CodeInvalid},
		"no view key":             {asJob(func(c *Submit) { c.Keys.View = funding.KeyHash{} }), CodeInvalid},
		"neither safe nor stream": {asJob(func(c *Submit) { c.Mode = 7 }), CodeInvalid},
		"two nodes":               {asJob(func(c *Submit) { c.Nodes = 2 }), CodeInvalid},
		"firm":                    {asJob(func(c *Submit) { c.Firm = true }), CodeInvalid},
		"below the floor":         {asJob(func(c *Submit) { c.Bid = 999_999 }), CodePoolFloor},
		"a bid without bounds":    {asJob(func(c *Submit) { c.Bid = funding.RateMax + 1 }), CodeLimit},
		"no time":                 {asJob(func(c *Submit) { c.TimeLimit = 0 }), CodeLimit},
		"less than a second":      {asJob(func(c *Submit) { c.TimeLimit = scheduler.TimeMin - 1 }), CodeLimit},
		"longer than the pool":    {asJob(func(c *Submit) { c.TimeLimit = 7*86_400_000 + 1 }), CodeLimit},
		"a stream too long":       {asJob(func(c *Submit) { c.Mode, c.TimeLimit = funding.Stream, 7*86_400_000+1 }), CodeLimit},
		"a negative most":         {asJob(func(c *Submit) { c.MaxTotal = -1 }), CodeInvalid},
		"a most below one task":   {asJob(func(c *Submit) { c.MaxTotal = 19_999_999 }), CodeLimit},
		"tasks backwards":         {asJob(func(c *Submit) { c.Tasks = scheduler.TaskRange{First: 3, Last: 2} }), CodeLimit},
		"a negative cap":          {asJob(func(c *Submit) { none := funding.Amount(-1); c.CapOthers = &none }), CodeInvalid},
		"too little money":        {asJob(func(c *Submit) { c.TimeLimit = 25_001 }), CodeMoneyShort},
		"neither money nor pot":   {asJob(func(c *Submit) { c.Payment = nil }), CodeMoneyShort},
		"a pot of nobody":         {asJob(func(c *Submit) { c.Payment, c.Pot = nil, 99 }), CodePotUnknown},
		"another job's pot":       {asJob(func(c *Submit) { c.Payment, c.Pot = nil, 3 }), CodeInvalid},
		"a closed pot":            {asJob(func(c *Submit) { c.Payment, c.Pot = nil, 2 }), CodePotClosed},
		"a wrong spend key":       {asJob(func(c *Submit) { c.Payment, c.Pot, c.Spend = nil, 1, keyOf("spend", "wrong") }), CodeKeyWrong},
		"no spend key":            {asJob(func(c *Submit) { c.Payment, c.Pot = nil, 1 }), CodeKeyWrong},
		"a fund id that is taken": {asJob(func(c *Submit) { c.Keys.Fund = keyOf("fund", "p") }), CodeFundTaken},
		"no fund id":              {asJob(func(c *Submit) { c.Keys.Fund = funding.FundID{} }), CodeInvalid},
	})
}

// paying changes a payment into a pot so that it must be refused.
func paying(change func(w *world, p *Payment)) func(*world) Command {
	return func(w *world) Command {
		payment := w.payment(parseArgs(w.t, []string{"by=alice", "pay=50"}))
		change(w, payment)
		return Deposit{Request: w.request(args{}), Fund: keyOf("fund", "p"), Payment: *payment}
	}
}

func many(one mint.Allowed, n int) []mint.Allowed { return slices.Repeat([]mint.Allowed{one}, n) }

func TestMoneyThatIsRefused(t *testing.T) {
	limits := mint.DefaultLimits()
	refusals(t, map[string]refusedCase{
		"no coin": {paying(func(_ *world, p *Payment) { p.Coins.Inputs = nil }), CodeUnbalanced},
		"a coin twice": {paying(func(_ *world, p *Payment) {
			p.Coins.Inputs = append(p.Coins.Inputs, p.Coins.Inputs[0])
			p.Coins.Pay += p.Coins.Inputs[0].Amount()
			p.Coins.Blanks, p.Claim = nil, keyOf("claim", "alice")
		}), CodeCoinsTwice},
		"coins of no keyset":     {paying(func(_ *world, p *Payment) { p.Coins.Inputs[0].Keyset = 9 }), CodeKeysetUnknown},
		"too little":             {paying(func(_ *world, p *Payment) { p.Coins.Pay++ }), CodeUnbalanced},
		"nothing":                {paying(func(_ *world, p *Payment) { p.Coins.Pay = 0 }), CodeLimit},
		"too many coins":         {paying(func(_ *world, p *Payment) { p.Coins.Inputs = make([]mint.Input, limits.Inputs+1) }), CodeLimit},
		"too many blanks":        {paying(func(_ *world, p *Payment) { p.Coins.Blanks = many(p.Coins.Blanks[0], limits.Blanks+1) }), CodeLimit},
		"too few blanks":         {paying(func(_ *world, p *Payment) { p.Coins.Blanks = p.Coins.Blanks[1:] }), CodeBlanksFew},
		"no way back":            {paying(func(_ *world, p *Payment) { p.Coins.Blanks = nil }), CodeWayBack},
		"a donation with blanks": {paying(func(_ *world, p *Payment) { p.Donate = true }), CodeBlanksInvalid},
		"a blank twice":          {paying(func(_ *world, p *Payment) { p.Coins.Blanks[1] = p.Coins.Blanks[0] }), CodeOutputsTwice},
		"a blank that waits elsewhere": {paying(func(w *world, p *Payment) {
			pot, _ := w.m.View().Pot(1)
			p.Coins.Blanks[0].B_ = cashu.Point(pot.Deposits[0].Blanks[0])
		}), CodeOutputUsed},
	})
	// A closed pot takes no money, nor does one that nobody knows.
	for name, want := range map[string]Code{"gone": CodePotClosed, "nobody's": CodePotUnknown} {
		w := populated(t)
		payment := w.payment(parseArgs(t, []string{"by=alice", "pay=5"}))
		if r := w.apply(Deposit{Request: w.request(args{}), Fund: keyOf("fund", name), Payment: *payment}); r.Code != want {
			t.Errorf("pot %s: %s %s", name, r.Code, r.Detail)
		}
	}
}

// Outputs are looked at again when the entry is applied, whoever proposed it.
func TestOutputsThatAreRefused(t *testing.T) {
	paid := func(change func(w *world, o []mint.Allowed) []mint.Allowed) func(*world) Command {
		return func(w *world) Command {
			w.play(splitWords("quote r amount=5 paid"))
			return Mint{Request: w.request(args{}), Quote: quoteID("r"), Outputs: change(w, w.outputs(w.purse("alice"), 5, 1))}
		}
	}
	refusals(t, map[string]refusedCase{
		"of no keyset": {paid(func(_ *world, o []mint.Allowed) []mint.Allowed { o[0].Keyset = 9; return o }), CodeKeysetUnknown},
		"twice":        {paid(func(_ *world, o []mint.Allowed) []mint.Allowed { o[1].B_ = o[0].B_; return o }), CodeOutputsTwice},
		"no such coin": {paid(func(_ *world, o []mint.Allowed) []mint.Allowed { o[0].Power = cashu.CoinPowerMax + 1; return o }), CodeLimit},
		"too few":      {paid(func(_ *world, o []mint.Allowed) []mint.Allowed { return o[1:] }), CodeUnbalanced},
		"used before": {paid(func(w *world, o []mint.Allowed) []mint.Allowed {
			pot, _ := w.m.View().Pot(1)
			o[0].B_ = cashu.Point(pot.Deposits[0].Blanks[0])
			return o
		}), CodeOutputUsed},
		"more than a request may": {paid(func(_ *world, o []mint.Allowed) []mint.Allowed { return many(o[0], mint.DefaultLimits().Outputs+1) }), CodeLimit},
	})
}

func TestOwnersWordsThatAreRefused(t *testing.T) {
	control, none, lots := keyOf("control", "j1"), funding.Amount(-1), funding.Amount(1)
	two := keyOf("control", "j2")
	refusals(t, map[string]refusedCase{
		"cancel with no such signal": {is(Cancel{Job: 1, Control: control, Signal: 65}), CodeInvalid},
		"cancel with signal -1":      {is(Cancel{Job: 1, Control: control, Signal: -1}), CodeInvalid},
		"cancel nobody's job":        {is(Cancel{Job: 9, Control: control}), CodeJobUnknown},
		"cancel with another's key":  {is(Cancel{Job: 1, Control: two}), CodeKeyWrong},
		"cancel with no key":         {is(Cancel{Job: 1}), CodeKeyWrong},
		"cancel with a weak token":   {is(Cancel{Job: 1, Token: keyOf("token", "sub")}), CodeRole},
		"cancel tasks backwards":     {is(Cancel{Job: 2, Control: two, Tasks: &scheduler.TaskRange{First: 3, Last: 2}}), CodeInvalid},
		"a negative cap":             {is(JobCap{Job: 1, Control: control, CapOthers: &none}), CodeInvalid},
		"a cap on a shared pot":      {is(JobCap{Job: 2, Control: two, CapOthers: &lots}), CodeInvalid},
		"a negative most":            {is(JobCap{Job: 1, Control: control, MaxTotal: &none}), CodeLimit},
		"a most below what runs":     {is(JobCap{Job: 1, Control: control, MaxTotal: &lots}), CodeLimit},
		"hold nobody's job":          {is(OnHold{Job: 9, Control: control, On: true}), CodeJobUnknown},
		"hold another's job":         {is(OnHold{Job: 1, Control: two, On: true}), CodeKeyWrong},
		"close a job's own pot":      {is(PotClose{Pot: 3, Control: control}), CodeInvalid},
		"close another's pot":        {is(PotClose{Pot: 1, Control: control}), CodeKeyWrong},
		"close nobody's pot":         {is(PotClose{Pot: 9, Control: control}), CodePotUnknown},
		"claim nothing":              {is(Claim{Refund: 9, Claim: keyOf("claim", "alice")}), CodeRefundUnknown},
		"claim another's":            {is(Claim{Refund: 1, Claim: keyOf("claim", "bob")}), CodeKeyWrong},
	})
}

func TestOperatorsWordsThatAreRefused(t *testing.T) {
	pool := func(change func(*scheduler.Pool)) Command {
		p := devPool()
		p.Name = "third"
		change(&p)
		return PoolSet{Pool: p}
	}
	quote := func(change func(*MintQuote)) Command {
		q := MintQuote{Quote: quoteID("new"), Rail: RailVoucher, Amount: 5, Token: keyOf("token", "operator")}
		change(&q)
		return q
	}
	token := func(change func(*Token)) Command {
		c := Token{Hash: keyOf("token", "new"), Role: RoleSubmit}
		change(&c)
		return c
	}
	long := strings.Repeat("x", 257)
	refusals(t, map[string]refusedCase{
		"a pool's name twice":        {is(pool(func(p *scheduler.Pool) { p.Name = "default" })), CodeNameTaken},
		"a pool under another's":     {is(pool(func(p *scheduler.Pool) { p.ID, p.Name = 2, "default" })), CodeNameTaken},
		"a pool that makes no sense": {is(pool(func(p *scheduler.Pool) { p.Tick = -1 })), CodeInvalid},
		"a change that makes none":   {is(pool(func(p *scheduler.Pool) { p.ID, p.Floor = 1, -1 })), CodeInvalid},
		"a pool that is not there":   {is(pool(func(p *scheduler.Pool) { p.ID = 9 })), CodePoolUnknown},
		"a price of no pool":         {is(Price{Pool: 9, Price: 1}), CodePoolUnknown},
		"a quote without id":         {is(quote(func(q *MintQuote) { q.Quote = QuoteID{} })), CodeInvalid},
		"a quote of no rail":         {is(quote(func(q *MintQuote) { q.Rail = "gold" })), CodeInvalid},
		"a quote for nothing":        {is(quote(func(q *MintQuote) { q.Amount = 0 })), CodeLimit},
		"a quote beyond all money":   {is(quote(func(q *MintQuote) { q.Amount = cashu.Units(funding.IssueMax/funding.UnitMicro) + 1 })), CodeLimit},
		"a quote with a long name":   {is(quote(func(q *MintQuote) { q.Ext = long })), CodeLimit},
		"a quote that ended":         {is(quote(func(q *MintQuote) { q.Until = -1 })), CodeInvalid},
		"a quote without operator":   {is(quote(func(q *MintQuote) { q.Token = keyOf("token", "sub") })), CodeRole},
		"a token without a hash":     {is(token(func(c *Token) { c.Hash = TokenHash{} })), CodeInvalid},
		"a token of no role":         {is(token(func(c *Token) { c.Role = RoleJoinExecutor + 1 })), CodeInvalid},
		"a token that has ended":     {is(token(func(c *Token) { c.Until = dayOne })), CodeInvalid},
		"a join token for good":      {is(token(func(c *Token) { c.Role = RoleJoinServer })), CodeLimit},
		"a join token for two days":  {is(token(func(c *Token) { c.Role, c.Until = RoleJoinServer, dayOne+JoinTermMax+1 })), CodeLimit},
		"a token with a long name":   {is(token(func(c *Token) { c.Name = long })), CodeLimit},
		"the last operator's":        {is(Token{Hash: keyOf("token", "operator"), Revoked: true}), CodeLimit},
		"a node without certificate": {is(NodeJoin{Name: "n2", Pool: "default"}), CodeInvalid},
		"a node of no pool":          {is(NodeJoin{Name: "n2", Pool: "none", Cert: [32]byte{1}}), CodePoolUnknown},
		"a node with a bad name":     {is(NodeJoin{Name: "n 2\n", Pool: "default", Cert: [32]byte{1}}), CodeInvalid},
		"a node of many facts":       {is(NodeJoin{Name: "n2", Pool: "default", Cert: [32]byte{1}, Facts: NodeFacts{Drivers: make([]string, factsMax+1)}}), CodeLimit},
		"a node of long facts":       {is(NodeJoin{Name: "n2", Pool: "default", Cert: [32]byte{1}, Facts: NodeFacts{Labels: map[string]string{"a": long}}}), CodeLimit},
		"a node's name again":        {is(NodeJoin{Name: "n1", Pool: "default", Cert: [32]byte{1}}), CodeNameTaken},
		"news of no node":            {is(NodeUpdate{Node: 9}), CodeNodeUnknown},
		"a node in no state":         {is(NodeState{Node: 1, State: scheduler.NodeLost}), CodeInvalid},
		"a node with a long reason":  {is(NodeState{Node: 1, State: scheduler.NodeDraining, Reason: long}), CodeLimit},
		"a node's endless deadline":  {is(NodeState{Node: 1, State: scheduler.NodeDraining, Deadline: funding.MillisMax + 1}), CodeLimit},
		"a node that is not there":   {is(NodeState{Node: 9, State: scheduler.NodeUp}), CodeNodeUnknown},
		"a node with work":           {is(NodeState{Node: 1, State: scheduler.NodeRemoved}), CodeJobOpen},
		"a server without id":        {is(Server{Cert: [32]byte{1}}), CodeLimit},
		"a server without cert":      {is(Server{ID: "s", Reads: FormatMax}), CodeInvalid},
		"nobody's server removed":    {is(Server{ID: "s", Removed: true, Token: keyOf("token", "operator")}), CodeServerUnknown},
		"a format of tomorrow":       {is(Format{Format: FormatMax + 1}), CodeStale},
		"a format of yesterday":      {is(Format{}), CodeStale},
		"a cluster again":            {is(Init{Cluster: ClusterID{1}, Unit: "credit", Format: 1, Operator: TokenHash{1}}), CodeNotFirst},
		"a keyset and a sweep":       {is(Keyset{Number: 1, State: mint.KeysetRetiring, Sweep: 1}), CodeInvalid},
		"nothing of a keyset":        {is(Keyset{}), CodeInvalid},
		"a sweep of everything":      {is(Keyset{Sweep: SweepMax + 1}), CodeLimit},
		"too much at once":           {is(Forget{Jobs: make([]scheduler.JobID, ExpireMax), Pots: make([]funding.PotID, 1)}), CodeLimit},
		"too large a report":         {is(Report{Runs: make([]RunReport, ReportMax+1)}), CodeLimit},
		"too large a pulse":          {is(Pulse{Lost: make([]scheduler.NodeID, PulseMax), Prune: make([]scheduler.PoolID, 1)}), CodeLimit},
		"too large a batch":          {is(Place{Decisions: []Placement{{Job: 2, Count: PlaceMax + 1, Nodes: []scheduler.NodeID{1}}}}), CodeLimit},
	})
}

// A cluster's first entry says what cannot be changed later, so it must make sense.
func TestFirstEntriesThatAreRefused(t *testing.T) {
	good := Init{Cluster: ClusterID{1}, Unit: "credit", Format: 1, Pools: []scheduler.Pool{devPool()}, Keyset: keysetSpec(t, 1, 0, 0), Operator: TokenHash{1}}
	for name, c := range map[string]struct {
		change func(*Init)
		want   Code
	}{
		"good":                {func(*Init) {}, OK},
		"no id":               {func(c *Init) { c.Cluster = ClusterID{} }, CodeInvalid},
		"no operator":         {func(c *Init) { c.Operator = TokenHash{} }, CodeInvalid},
		"no unit":             {func(c *Init) { c.Unit = "" }, CodeInvalid},
		"a long unit":         {func(c *Init) { c.Unit = "a-very-long-unit-" }, CodeInvalid},
		"no format":           {func(c *Init) { c.Format = 0 }, CodeFormat},
		"tomorrow's format":   {func(c *Init) { c.Format = FormatMax + 1 }, CodeFormat},
		"no pool":             {func(c *Init) { c.Pools = nil }, CodeInvalid},
		"two pools, one name": {func(c *Init) { c.Pools = append(c.Pools, devPool()) }, CodeNameTaken},
		"a keyset cut short":  {func(c *Init) { c.Keyset.Keys = c.Keyset.Keys[:31] }, CodeInvalid},
	} {
		w, entry := newWorld(t), good
		c.change(&entry)
		if r := w.apply(entry); r.Code != c.want {
			t.Errorf("%s: %s %s; want %s", name, r.Code, r.Detail, c.want)
		}
	}
}
