package machine

import (
	"bytes"
	"cmp"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// meta is the state's single values.
type meta struct {
	Cluster ClusterID      `cbor:"1,keyasint"`
	Unit    string         `cbor:"2,keyasint"`
	Format  uint32         `cbor:"3,keyasint"`
	Index   uint64         `cbor:"4,keyasint"` // of the last entry
	At      funding.Millis `cbor:"5,keyasint"` // of the last entry; never goes back
	Seq     uint64         `cbor:"6,keyasint"` // of the last event
	Chain   [32]byte       `cbor:"7,keyasint"` // the last event's hash
	Sum     [32]byte       `cbor:"8,keyasint"` // over all results

	// The last numbers given.
	Job    scheduler.JobID   `cbor:"9,keyasint"`
	Run    scheduler.RunID   `cbor:"10,keyasint"`
	Node   scheduler.NodeID  `cbor:"11,keyasint"`
	Pool   scheduler.PoolID  `cbor:"12,keyasint"`
	Shape  scheduler.ShapeID `cbor:"13,keyasint"`
	Pot    funding.PotID     `cbor:"14,keyasint"`
	Refund funding.RefundID  `cbor:"15,keyasint"`
	Keyset mint.KeysetNumber `cbor:"16,keyasint"`

	Quoted funding.Amount `cbor:"17,keyasint"`           // paid quotes that are not coins yet
	Swept  *Sweep         `cbor:"18,keyasint,omitempty"` // how far the sweep of closed keysets has come

	MintURL string `cbor:"19,keyasint,omitempty"` // the one public URL of the mint; empty: each server's own
}

// state is all that entries change, and what is derived from it. Records that other records name
// come first: merges and snapshots go in this order.
type state struct {
	meta meta

	pools    *table[scheduler.PoolID, *scheduler.Pool]
	series   *table[scheduler.PoolID, funding.Series]
	shapes   *table[scheduler.ShapeID, *scheduler.Shape]
	nodes    *table[scheduler.NodeID, *scheduler.Node]
	pots     *table[funding.PotID, *funding.Pot]
	jobs     *table[scheduler.JobID, *scheduler.Job]
	bills    *table[scheduler.JobID, *funding.Bill]
	runs     *table[scheduler.RunID, *scheduler.Run]
	files    *table[scheduler.RunID, *RunFiles]
	streams  *table[StreamID, *funding.StreamHold]
	refunds  *table[funding.RefundID, *funding.Refund]
	balances *table[funding.Account, funding.Amount]
	keysets  *table[mint.KeysetNumber, *KeysetRecord]
	spent    *table[cashu.SpentKey, mint.KeysetNumber]
	outputs  *table[cashu.Point, mint.Output]
	requests *table[requestKey, keptRequest]
	quotes   *table[QuoteID, *Quote]
	tokens   *table[TokenHash, *TokenRecord]
	servers  *table[string, *Server]
	faults   *table[jobTask, []scheduler.NodeID]          // where a task that goes on has met a fault of ours
	caps     *table[scheduler.JobID, *funding.StreamHold] // stream jobs with a most that they may cost

	derivedJobs

	scheduler   *scheduler.Index
	poolNames   *index[string, scheduler.PoolID]
	nodeNames   *index[string, scheduler.NodeID]
	shapeForms  *index[shapeForm, scheduler.ShapeID]
	shapeJobs   *index[scheduler.ShapeID, int64] // how many jobs in memory are of it
	potFunds    *index[funding.FundID, funding.PotID]
	potJobs     *index[potJob, none]
	jobRuns     *index[jobRun, none]
	nodeRuns    *index[nodeRun, none] // open runs only
	jobFiles    *index[jobRun, none]
	potRefunds  *index[potRefund, none]
	refundEnds  *index[refundEnd, none] // claimable balances by the end of their term
	potEnds     *index[potEnd, none]
	keysetIDs   *index[cashu.KeysetID, mint.KeysetNumber]
	keysetRows  *index[mint.KeysetNumber, int64] // how many records go when it is closed
	asked       *index[fingerprint, requestKey]  // requests that came with coins, by fingerprint
	externals   *index[external, QuoteID]
	quoteEnds   *index[quoteEnd, none] // unpaid quotes by their end
	tokenEnds   *index[tokenEnd, none]
	streamLines *index[streamLine, none] // running stream holds by the index at which something happens
}

// anyTable is what the kernel does with every table alike.
type anyTable interface {
	merge()
	drop()
	decode(raw []byte, n int) (load func() error)
	dumper() func(*dumper)
	id() uint8
}

// tables lists them in their order, which is that of merges and snapshots.
func (s *state) tables() []anyTable {
	return []anyTable{
		s.pools, s.series, s.shapes, s.nodes, s.pots, s.jobs, s.bills, s.runs, s.files, s.streams,
		s.refunds, s.balances, s.keysets, s.spent, s.outputs, s.requests, s.quotes, s.tokens, s.servers,
		s.faults, s.caps,
	}
}

func byNumber[K cmp.Ordered](a, b K) int { return cmp.Compare(a, b) }

func newState() *state {
	s := &state{
		pools:    newTable[scheduler.PoolID, *scheduler.Pool](1, byNumber),
		series:   newTable[scheduler.PoolID, funding.Series](2, byNumber),
		shapes:   newTable[scheduler.ShapeID, *scheduler.Shape](3, byNumber),
		nodes:    newTable[scheduler.NodeID, *scheduler.Node](4, byNumber),
		pots:     newTable[funding.PotID, *funding.Pot](5, byNumber),
		jobs:     newTable[scheduler.JobID, *scheduler.Job](6, byNumber),
		bills:    newTable[scheduler.JobID, *funding.Bill](7, byNumber),
		runs:     newTable[scheduler.RunID, *scheduler.Run](8, byNumber),
		files:    newTable[scheduler.RunID, *RunFiles](9, byNumber),
		streams:  newTable[StreamID, *funding.StreamHold](10, compareStreams),
		refunds:  newTable[funding.RefundID, *funding.Refund](11, byNumber),
		balances: newTable[funding.Account, funding.Amount](12, compareAccounts),
		keysets:  newTable[mint.KeysetNumber, *KeysetRecord](13, byNumber),
		spent: newTable[cashu.SpentKey, mint.KeysetNumber](14, func(a, b cashu.SpentKey) int {
			return bytes.Compare(a[:], b[:])
		}),
		outputs:  newTable[cashu.Point, mint.Output](15, func(a, b cashu.Point) int { return bytes.Compare(a[:], b[:]) }),
		requests: newTable[requestKey, keptRequest](16, compareRequests),
		quotes:   newTable[QuoteID, *Quote](17, func(a, b QuoteID) int { return bytes.Compare(a[:], b[:]) }),
		tokens:   newTable[TokenHash, *TokenRecord](18, func(a, b TokenHash) int { return bytes.Compare(a[:], b[:]) }),
		servers:  newTable[string, *Server](19, byNumber),
		faults:   newTable[jobTask, []scheduler.NodeID](20, compareTasks),
		caps:     newTable[scheduler.JobID, *funding.StreamHold](21, byNumber),
	}
	s.derive()
	return s
}

func compareAccounts(a, b funding.Account) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

func compareStreams(a, b StreamID) int {
	return cmp.Or(cmp.Compare(a.Pot, b.Pot), cmp.Compare(a.Pool, b.Pool))
}
