package machine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// The keys of derived indexes, each in the order in which it is read.
type (
	potJob struct {
		pot funding.PotID
		job scheduler.JobID
	}
	jobRun struct {
		job scheduler.JobID
		run scheduler.RunID
	}
	nodeRun struct {
		node scheduler.NodeID
		run  scheduler.RunID
	}
	potRefund struct {
		pot    funding.PotID
		refund funding.RefundID
	}
	// potEnd is a shared pot that is closed and settled, at the time at which it was closed.
	potEnd struct {
		at  funding.Millis
		pot funding.PotID
	}
	refundEnd struct {
		at     funding.Millis
		refund funding.RefundID
	}
	external struct {
		rail, ext string
	}
	quoteEnd struct {
		at    funding.Millis
		quote QuoteID
	}
	tokenEnd struct {
		at    funding.Millis
		token TokenHash
	}
	// shapeForm is a shape without its number.
	shapeForm struct {
		pool   scheduler.PoolID
		need   scheduler.Resources
		driver string
		nodes  int32
		gpu    scheduler.GPURequest
		share  string
	}
	// streamLine is a stream hold at the index of its pool at which its money runs out.
	streamLine struct {
		pool  scheduler.PoolID
		index funding.Index
		pot   funding.PotID
	}
)

func formOf(s *scheduler.Shape) shapeForm {
	return shapeForm{s.Pool, s.Need, s.Driver, s.Nodes, s.GPU, s.Share}
}

func compareForms(a, b shapeForm) int {
	return cmp.Or(cmp.Compare(a.pool, b.pool), cmp.Compare(a.need.CPUMilli, b.need.CPUMilli),
		cmp.Compare(a.need.Memory, b.need.Memory), cmp.Compare(a.need.Disk, b.need.Disk),
		cmp.Compare(a.need.GPUs, b.need.GPUs), cmp.Compare(a.nodes, b.nodes), cmp.Compare(a.driver, b.driver),
		cmp.Compare(a.gpu.Kind, b.gpu.Kind), cmp.Compare(a.gpu.Model, b.gpu.Model), cmp.Compare(a.gpu.Profile, b.gpu.Profile),
		cmp.Compare(a.gpu.Memory, b.gpu.Memory), cmp.Compare(bit(a.gpu.NVLink), bit(b.gpu.NVLink)),
		cmp.Compare(a.share, b.share))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// derive makes the derived indexes, empty, and hooks them to their tables. A hook gets the record
// before and after; nil where there is none.
func (s *state) derive() {
	s.scheduler = scheduler.NewIndex()
	s.poolNames = newIndex[string, scheduler.PoolID](byNumber)
	s.nodeNames = newIndex[string, scheduler.NodeID](byNumber)
	s.shapeForms = newIndex[shapeForm, scheduler.ShapeID](compareForms)
	s.shapeJobs = newIndex[scheduler.ShapeID, int64](byNumber)
	s.jobRuns = newIndex[jobRun, none](compareJobRuns)
	s.jobFiles = newIndex[jobRun, none](compareJobRuns)
	s.potJobs = newIndex[potJob, none](func(a, b potJob) int {
		return cmp.Or(cmp.Compare(a.pot, b.pot), cmp.Compare(a.job, b.job))
	})
	s.nodeRuns = newIndex[nodeRun, none](func(a, b nodeRun) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.run, b.run))
	})
	s.streamLines = newIndex[streamLine, none](func(a, b streamLine) int {
		return cmp.Or(cmp.Compare(a.pool, b.pool), a.index.Cmp(b.index), cmp.Compare(a.pot, b.pot))
	})
	s.derivedJobs = newDerivedJobs()
	s.deriveMoney()
	s.hookWork()
	s.hookMoney()
}

func compareJobRuns(a, b jobRun) int {
	return cmp.Or(cmp.Compare(a.job, b.job), cmp.Compare(a.run, b.run))
}

func (s *state) deriveMoney() {
	s.potFunds = newIndex[funding.FundID, funding.PotID](func(a, b funding.FundID) int { return bytes.Compare(a[:], b[:]) })
	s.potRefunds = newIndex[potRefund, none](func(a, b potRefund) int {
		return cmp.Or(cmp.Compare(a.pot, b.pot), cmp.Compare(a.refund, b.refund))
	})
	s.refundEnds = newIndex[refundEnd, none](func(a, b refundEnd) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.refund, b.refund))
	})
	s.potEnds = newIndex[potEnd, none](func(a, b potEnd) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.pot, b.pot))
	})
	s.keysetIDs = newIndex[cashu.KeysetID, mint.KeysetNumber](byNumber)
	s.keysetRows = newIndex[mint.KeysetNumber, int64](byNumber)
	s.asked = newIndex[fingerprint, requestKey](func(a, b fingerprint) int { return bytes.Compare(a[:], b[:]) })
	s.externals = newIndex[external, QuoteID](func(a, b external) int {
		return cmp.Or(cmp.Compare(a.rail, b.rail), cmp.Compare(a.ext, b.ext))
	})
	s.quoteEnds = newIndex[quoteEnd, none](func(a, b quoteEnd) int {
		return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.quote[:], b.quote[:]))
	})
	s.tokenEnds = newIndex[tokenEnd, none](func(a, b tokenEnd) int {
		return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.token[:], b.token[:]))
	})
}

// hookWork keeps up what is derived from pools, shapes, nodes, jobs and runs.
func (s *state) hookWork() {
	s.pools.hook = func(_ scheduler.PoolID, old, new *scheduler.Pool) {
		rename(s.poolNames, old != nil, new != nil, func() string { return old.Name }, func() (string, scheduler.PoolID) { return new.Name, new.ID })
		s.scheduler.PoolChanged(old, new)
	}
	s.shapes.hook = func(_ scheduler.ShapeID, old, new *scheduler.Shape) {
		if new == nil {
			s.shapeForms.del(formOf(old))
			s.scheduler.ShapeGone(old.ID)
			return
		}
		s.shapeForms.set(formOf(new), new.ID)
		s.scheduler.ShapeAdded(new)
	}
	s.nodes.hook = func(_ scheduler.NodeID, old, new *scheduler.Node) {
		rename(s.nodeNames, old != nil, new != nil, func() string { return old.Name }, func() (string, scheduler.NodeID) { return new.Name, new.ID })
		s.nodeChanged(old, new)
		s.scheduler.NodeChanged(old, new)
	}
	s.jobs.hook = func(id scheduler.JobID, old, new *scheduler.Job) {
		switch {
		case old == nil && !new.OwnPot:
			s.potJobs.set(potJob{new.Pot, id}, none{})
		case new == nil && !old.OwnPot:
			s.potJobs.del(potJob{old.Pot, id})
		}
		if old == nil {
			count(s.shapeJobs, new.Shape, 1)
		}
		if new == nil {
			count(s.shapeJobs, old.Shape, -1)
		}
		s.jobChanged(old, new)
		s.scheduler.JobChanged(old, new)
	}
	s.runs.hook = func(id scheduler.RunID, old, new *scheduler.Run) {
		if old == nil {
			s.jobRuns.set(jobRun{new.Job, id}, none{})
		}
		if new == nil {
			s.jobRuns.del(jobRun{old.Job, id})
		}
		s.hookNodeRuns(id, old, new)
		s.hookJobRun(old, new)
		s.scheduler.RunChanged(old, new)
	}
	s.files.hook = func(id scheduler.RunID, old, new *RunFiles) {
		if old == nil {
			s.jobFiles.set(jobRun{new.Job, id}, none{})
		}
		if new == nil {
			s.jobFiles.del(jobRun{old.Job, id})
		}
	}
	s.streams.hook = s.hookStream
	s.caps.hook = s.capChanged
}

func (s *state) hookNodeRuns(id scheduler.RunID, old, new *scheduler.Run) {
	var was, is []scheduler.NodeID
	if old != nil && old.State != scheduler.RunEnded {
		was = old.Nodes
	}
	if new != nil && new.State != scheduler.RunEnded {
		is = new.Nodes
	}
	if slices.Equal(was, is) {
		return
	}
	for _, node := range was {
		s.nodeRuns.del(nodeRun{node, id})
	}
	for _, node := range is {
		s.nodeRuns.set(nodeRun{node, id}, none{})
	}
}

func (s *state) hookJobRun(old, new *scheduler.Run) {
	run := new
	if run == nil {
		run = old
	}
	job, _ := s.jobs.rows.get(run.Job)
	s.runChanged(job, old, new)
}

func (s *state) hookStream(id StreamID, old, new *funding.StreamHold) {
	s.streamChanged(id, old, new)
	line := func(x *funding.StreamHold) (streamLine, bool) {
		if x == nil || x.Closing {
			return streamLine{}, false
		}
		ends, ok := x.Ends()
		return streamLine{id.Pool, ends, id.Pot}, ok
	}
	if was, ok := line(old); ok {
		s.streamLines.del(was)
	}
	if is, ok := line(new); ok {
		s.streamLines.set(is, none{})
	}
}

// count adds to a number that an index keeps; what is none is not kept.
func count[K any](numbers *index[K, int64], key K, more int64) {
	n, _ := numbers.get(key)
	if n += more; n == 0 {
		numbers.del(key)
	} else {
		numbers.set(key, n)
	}
}

// rename keeps an index of names up.
func rename[V any](names *index[string, V], had, has bool, old func() string, new func() (string, V)) {
	if had {
		names.del(old())
	}
	if has {
		name, value := new()
		names.set(name, value)
	}
}
