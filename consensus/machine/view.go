package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// View is the state at one moment. It shares its pages with the machine and with other views, and
// never changes. Records that it hands out must not be changed either.
type View struct {
	meta  meta
	dumps []func(*dumper) // writes the tables, in the order in which a restore needs them

	pools    rows[scheduler.PoolID, *scheduler.Pool]
	series   rows[scheduler.PoolID, funding.Series]
	shapes   rows[scheduler.ShapeID, *scheduler.Shape]
	nodes    rows[scheduler.NodeID, *scheduler.Node]
	pots     rows[funding.PotID, *funding.Pot]
	jobs     rows[scheduler.JobID, *scheduler.Job]
	bills    rows[scheduler.JobID, *funding.Bill]
	runs     rows[scheduler.RunID, *scheduler.Run]
	files    rows[scheduler.RunID, *RunFiles]
	streams  rows[StreamID, *funding.StreamHold]
	refunds  rows[funding.RefundID, *funding.Refund]
	balances rows[funding.Account, funding.Amount]
	keysets  rows[mint.KeysetNumber, *KeysetRecord]
	spent    rows[cashu.SpentKey, mint.KeysetNumber]
	outputs  rows[cashu.Point, mint.Output]
	requests rows[requestKey, keptRequest]
	quotes   rows[QuoteID, *Quote]
	tokens   rows[TokenHash, *TokenRecord]
	servers  rows[string, *Server]
	caps     rows[scheduler.JobID, *funding.StreamHold]

	dueRows

	scheduler   *scheduler.Index
	poolNames   rows[string, scheduler.PoolID]
	nodeNames   rows[string, scheduler.NodeID]
	shapeForms  rows[shapeForm, scheduler.ShapeID]
	potFunds    rows[funding.FundID, funding.PotID]
	potJobs     rows[potJob, none]
	jobRuns     rows[jobRun, none]
	nodeRuns    rows[nodeRun, none]
	jobFiles    rows[jobRun, none]
	potRefunds  rows[potRefund, none]
	potEnds     rows[potEnd, none]
	refundEnds  rows[refundEnd, none]
	keysetIDs   rows[cashu.KeysetID, mint.KeysetNumber]
	keysetRows  rows[mint.KeysetNumber, int64]
	asked       rows[fingerprint, requestKey]
	quoteEnds   rows[quoteEnd, none]
	tokenEnds   rows[tokenEnd, none]
	streamLines rows[streamLine, none]
}

// freeze copies the state: a page of headers, whatever it holds.
func (s *state) freeze() *View {
	tables := s.tables()
	dumps := make([]func(*dumper), len(tables))
	for i, t := range tables {
		dumps[i] = t.dumper()
	}
	return &View{
		meta: s.meta, dumps: dumps,
		pools: s.pools.freeze(), series: s.series.freeze(), shapes: s.shapes.freeze(), nodes: s.nodes.freeze(),
		pots: s.pots.freeze(), jobs: s.jobs.freeze(), bills: s.bills.freeze(), runs: s.runs.freeze(),
		files: s.files.freeze(), streams: s.streams.freeze(), refunds: s.refunds.freeze(),
		balances: s.balances.freeze(), keysets: s.keysets.freeze(), spent: s.spent.freeze(),
		outputs: s.outputs.freeze(), requests: s.requests.freeze(), quotes: s.quotes.freeze(),
		tokens: s.tokens.freeze(), servers: s.servers.freeze(),
		scheduler: s.scheduler.Copy(), poolNames: s.poolNames.freeze(), nodeNames: s.nodeNames.freeze(),
		shapeForms: s.shapeForms.freeze(), potFunds: s.potFunds.freeze(), potJobs: s.potJobs.freeze(),
		jobRuns: s.jobRuns.freeze(), nodeRuns: s.nodeRuns.freeze(), jobFiles: s.jobFiles.freeze(),
		potRefunds: s.potRefunds.freeze(), potEnds: s.potEnds.freeze(), refundEnds: s.refundEnds.freeze(), keysetIDs: s.keysetIDs.freeze(), keysetRows: s.keysetRows.freeze(),
		asked: s.asked.freeze(), quoteEnds: s.quoteEnds.freeze(), tokenEnds: s.tokenEnds.freeze(),
		streamLines: s.streamLines.freeze(), caps: s.caps.freeze(), dueRows: s.derivedJobs.freeze(),
	}
}

// Index is the log index of the last entry in the view.
func (v *View) Index() uint64 { return v.meta.Index }

// At is cluster time of that entry.
func (v *View) At() funding.Millis { return v.meta.At }

// Format is the format of the state; zero before the first entry.
func (v *View) Format() uint32 { return v.meta.Format }

// Cluster is the cluster's id.
func (v *View) Cluster() ClusterID { return v.meta.Cluster }

// Unit is the cluster's unit of account.
func (v *View) Unit() string { return v.meta.Unit }

// MintURL is the one public URL of the mint; empty where each server names its own.
func (v *View) MintURL() string { return v.meta.MintURL }

// Seq and Chain are the number and the hash of the last event.
func (v *View) Seq() uint64 { return v.meta.Seq }

// Chain is the last event's hash.
func (v *View) Chain() [32]byte { return v.meta.Chain }

// Sum is the checksum over all results up to the view.
func (v *View) Sum() [32]byte { return v.meta.Sum }

// Scheduler is what placing and pricing look at.
func (v *View) Scheduler() *scheduler.Index { return v.scheduler }

// Balance is part of [funding.Balances].
func (v *View) Balance(a funding.Account) funding.Amount {
	amount, _ := v.balances.get(a)
	return amount
}

// Balances visits every account that ever moved.
func (v *View) Balances(visit func(funding.Account, funding.Amount) bool) {
	v.balances.ascend(funding.Account{}, visit)
}
