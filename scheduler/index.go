package scheduler

import "github.com/coinop/coinop/funding"

// Index is what placing and pricing look at: derived from the records, the same on every replica.
type Index struct{}

// NewIndex is the index of a cluster without records.
func NewIndex() *Index { return &Index{} }

// Copy is a snapshot in constant time; the two share what neither has changed since. It marks both as
// sharing, so only the owner of x may call it; the copy may then be read by anybody.
func (x *Index) Copy() *Index { c := *x; return &c }

// JobChanged takes a job's new record; old is nil for a new one, new is nil for a forgotten one.
func (x *Index) JobChanged(old, new *Job) {}

// RunChanged takes a run's new record; either may be nil.
func (x *Index) RunChanged(old, new *Run) {}

// NodeChanged takes a node's new record; either may be nil.
func (x *Index) NodeChanged(old, new *Node) {}

// PoolChanged takes a pool's new record; either may be nil.
func (x *Index) PoolChanged(old, new *Pool) {}

// ShapeAdded takes a shape that jobs will name.
func (x *Index) ShapeAdded(s *Shape) {}

// Decision is one task to be run on one node.
type Decision struct {
	Job  JobID  `cbor:"1,keyasint"`
	Task int32  `cbor:"2,keyasint,omitempty"`
	Node NodeID `cbor:"3,keyasint"`
}

// Place decides which waiting tasks start where, at most limit of them (zero: no limit).
func Place(x *Index, at funding.Millis, limit int) []Decision { return nil }

// Price is what the pool's spot runs should pay now, before the rule that it rises once a tick.
func Price(x *Index, p PoolID) funding.Rate { return 0 }

// Lowest is L, the lowest effective bid of a spot run of the pool that is not under notice.
func Lowest(x *Index, p PoolID) (funding.Rate, bool) { return 0, false }
