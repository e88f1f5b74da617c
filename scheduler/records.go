// Package scheduler knows what a job, a node and a pool are, and what should run where at which price.
package scheduler

import (
	"slices"

	"github.com/coinop/coinop/funding"
)

// JobID numbers a job in the order of acceptance; it can be said aloud.
type JobID uint64

// RunID numbers one attempt of one task.
type RunID uint64

// NodeID, PoolID and ShapeID number nodes, pools and shapes in the order in which they first appeared.
type (
	NodeID  uint32
	PoolID  uint32
	ShapeID uint32
)

// Resources is what a task asks for, or what a node has.
type Resources struct {
	CPUMilli int64 `cbor:"1,keyasint,omitempty"` // thousandths of a CPU
	Memory   int64 `cbor:"2,keyasint,omitempty"` // bytes
	Disk     int64 `cbor:"3,keyasint,omitempty"` // bytes
	GPUs     int64 `cbor:"4,keyasint,omitempty"` // whole devices
}

// Shape is the canonical resources and constraints of a task; thousands of queued tasks share one.
type Shape struct {
	ID     ShapeID   `cbor:"1,keyasint"`
	Pool   PoolID    `cbor:"2,keyasint"`
	Need   Resources `cbor:"3,keyasint"`
	Driver string    `cbor:"4,keyasint"` // "process"
	Nodes  int32     `cbor:"5,keyasint"` // how many nodes at once; 1 until gangs exist

	GPU   GPURequest `cbor:"6,keyasint,omitzero"`  // which GPUs
	Share string     `cbor:"7,keyasint,omitempty"` // the folder of its pool's that a machine must have; "": it works in none
}

// Weights turn resources into billing units, in thousandths of a billing unit.
type Weights struct {
	CPU    int64 `cbor:"1,keyasint"` // per CPU
	Memory int64 `cbor:"2,keyasint"` // per GiB
	Disk   int64 `cbor:"3,keyasint"` // per GiB
	GPU    int64 `cbor:"4,keyasint"` // per device

	Suspended int64 `cbor:"5,keyasint,omitempty"` // per GiB of a suspended task: its disk, and its memory as it lies on disk
}

// Admission says whose work a pool takes.
type Admission uint8

// An open pool takes anyone who pays, confined; a trusted one takes holders of a submit token.
const (
	Open Admission = iota + 1
	Trusted
)

// Pool is machines sold at one price (Slurm: partition).
type Pool struct {
	ID          PoolID         `cbor:"1,keyasint"`
	Name        string         `cbor:"2,keyasint"`
	Admission   Admission      `cbor:"3,keyasint"`
	Loopback    bool           `cbor:"4,keyasint,omitempty"` // trusted, but takes loopback peers without a token
	Weights     Weights        `cbor:"5,keyasint"`
	Floor       funding.Rate   `cbor:"6,keyasint"`
	DefaultBid  funding.Rate   `cbor:"7,keyasint"`
	SubmitFee   funding.Amount `cbor:"8,keyasint,omitempty"`
	TimeDefault funding.Millis `cbor:"9,keyasint"`  // the time limit that --pay alone buys first
	TimeMax     funding.Millis `cbor:"10,keyasint"` // the longest time limit
	KillDelay   funding.Millis `cbor:"11,keyasint"` // between SIGTERM and SIGKILL, at most a tenth of the limit
	PauseGrace  funding.Millis `cbor:"12,keyasint"` // how long a paused task keeps its place
	Tranche     funding.Millis `cbor:"13,keyasint"` // what a stream holds ahead
	Tick        funding.Millis `cbor:"14,keyasint"`
	ArrayMax    int32          `cbor:"15,keyasint"`
	Drivers     []string       `cbor:"16,keyasint"`
	User        string         `cbor:"17,keyasint,omitempty"` // whom root executors run tasks as
	Price       funding.Rate   `cbor:"18,keyasint"`           // now
	RaisedAt    funding.Millis `cbor:"19,keyasint,omitempty"` // when the price last rose
	LowFunds    funding.Millis `cbor:"20,keyasint,omitempty"` // notice this long before the money ends
	Kinds       []KindWeight   `cbor:"21,keyasint,omitempty"` // weights of kinds of GPUs, by name; others weigh Weights.GPU
	Share       string         `cbor:"22,keyasint,omitempty"` // a folder that its machines have in common, for jobs to work in; "": none
}

// JobState is where a whole job stands; its tasks' states are counts and runs.
type JobState uint8

// The job's states, in the order in which they are usually passed.
const (
	JobQueued JobState = iota + 1
	JobRunning
	JobPaused
	JobDone
)

// Reason is why a job or a run ended or waits: permanent, from a fixed list.
type Reason uint8

// Reasons. The list is appended to, never renumbered.
const (
	ReasonNone        Reason = iota
	ReasonExited             // the command returned; its code says how
	ReasonSignalled          // the command died of a signal of its own
	ReasonCancelled          // the owner asked
	ReasonTimeLimit          // the time limit struck
	ReasonMoneyEnd           // the money ended
	ReasonPauseGrace         // paused for longer than the grace
	ReasonOutOfMemory        // the memory limit struck
	ReasonStartFailed        // not found, not executable, or in an image that cannot be mounted: nothing charged
	ReasonFault              // our machine, shim, driver or server: nothing charged
	ReasonNodeLost           // the lease lapsed and the node did not come back: nothing charged
	ReasonDrained            // stopped by a drain's deadline
	ReasonMaxTotal           // the most this job may ever cost is reached
	ReasonFaultsTwice        // two faults on different nodes
	ReasonFloor              // the pool's floor rose above its bid
	ReasonNoRoom             // the node had no such GPU free after all: never started, waits again
	ReasonMoved              // suspended, and gone on as another run on another node
)

// TaskRange is an array's elements, first to last inclusive; a plain job has 0-0.
type TaskRange struct {
	First int32 `cbor:"1,keyasint"`
	Last  int32 `cbor:"2,keyasint"`
}

// Job is what the user submitted: one record however many tasks it has. Records are immutable:
// a change is a new record.
type Job struct {
	ID        JobID           `cbor:"1,keyasint"`
	Pot       funding.PotID   `cbor:"2,keyasint"`
	Pool      PoolID          `cbor:"3,keyasint"`
	Shape     ShapeID         `cbor:"4,keyasint"`
	Mode      funding.Mode    `cbor:"5,keyasint"`
	Bid       funding.Rate    `cbor:"6,keyasint"`
	Boost     funding.Rate    `cbor:"7,keyasint,omitempty"` // sponsors' parts; zero until boosts exist
	Weight    funding.Weight  `cbor:"8,keyasint"`
	TimeLimit funding.Millis  `cbor:"9,keyasint,omitempty"` // zero: none (stream only)
	MaxTotal  funding.Amount  `cbor:"10,keyasint,omitempty"`
	Tasks     TaskRange       `cbor:"11,keyasint"`
	AtOnce    int32           `cbor:"12,keyasint,omitempty"` // the array's % limit; zero: none
	Next      int32           `cbor:"13,keyasint"`           // the lowest task never placed
	Requeued  []int32         `cbor:"14,keyasint,omitempty"` // placed before, waiting again, ascending
	Open      int32           `cbor:"15,keyasint,omitempty"` // runs placed and not ended
	Done      int32           `cbor:"16,keyasint,omitempty"` // tasks ended with exit code zero
	Failed    int32           `cbor:"17,keyasint,omitempty"` // tasks ended otherwise
	Slots     int32           `cbor:"18,keyasint,omitempty"` // tasks, running or waiting, that the hold covers (safe)
	Hold      funding.Amount  `cbor:"19,keyasint,omitempty"` // what the pot has reserved for this job (safe)
	OnHold    bool            `cbor:"20,keyasint,omitempty"` // the owner keeps it from starting
	State     JobState        `cbor:"21,keyasint"`
	Reason    Reason          `cbor:"22,keyasint,omitempty"`
	Exit      int32           `cbor:"23,keyasint,omitempty"` // code of the first task that did not end with zero, 128+n for a signal
	Submitted funding.Millis  `cbor:"24,keyasint"`
	Started   funding.Millis  `cbor:"25,keyasint,omitempty"`
	Ended     funding.Millis  `cbor:"26,keyasint,omitempty"`
	Charged   funding.Amount  `cbor:"27,keyasint,omitempty"` // settled so far
	Billed    funding.Millis  `cbor:"28,keyasint,omitempty"`
	CPUMillis int64           `cbor:"29,keyasint,omitempty"`
	PeakBytes int64           `cbor:"30,keyasint,omitempty"`
	Control   funding.KeyHash `cbor:"31,keyasint"` // who may change it
	View      funding.KeyHash `cbor:"32,keyasint"` // who may see what is private
	Faults    []NodeID        `cbor:"33,keyasint,omitempty"`
	Spec      []byte          `cbor:"34,keyasint"`           // the Work, encoded; opaque to the scheduler
	OwnPot    bool            `cbor:"35,keyasint,omitempty"` // the pot was opened for this job and closes with it
	Weighed   Weights         `cbor:"36,keyasint,omitzero"`  // by what it was weighed, for the lines of its receipt
	GPUs      *GPUUsage       `cbor:"37,keyasint,omitempty"` // what it used of them
}

// Work is what an executor needs to know of a job: what to run and with which files.
type Work struct {
	Name    string            `cbor:"1,keyasint,omitempty"`
	Argv    []string          `cbor:"2,keyasint"`
	Env     []string          `cbor:"3,keyasint,omitempty"` // NAME=value, sorted
	Inputs  []Input           `cbor:"4,keyasint,omitempty"`
	Outputs []string          `cbor:"5,keyasint,omitempty"` // globs
	Labels  map[string]string `cbor:"6,keyasint,omitempty"`
	Script  []byte            `cbor:"7,keyasint,omitempty"` // at most 64 KiB; run as the file "script" of the task's folder
	Image   string            `cbor:"8,keyasint,omitempty"` // what a container is made from: a registry's REPOSITORY:TAG or REPOSITORY@DIGEST
	Hold    bool              `cbor:"9,keyasint,omitempty"` // it runs nothing, and keeps its place for commands of its owner's
	Box     *Box              `cbor:"10,keyasint,omitempty"`
	Chdir   string            `cbor:"11,keyasint,omitempty"` // where it starts: a folder in what its pool shares; "": in its own
}

// Box is what may be said of an image's container or machine beside the image; nil: nothing.
type Box struct {
	Entrypoint []string `cbor:"1,keyasint,omitempty"` // in place of the image's own, whose command then does not count either
	WorkDir    string   `cbor:"2,keyasint,omitempty"` // where it starts; "": where the image says, or in the job's folder
	ReadOnly   bool     `cbor:"3,keyasint,omitempty"` // it changes nothing in its image
	ShmBytes   int64    `cbor:"4,keyasint,omitempty"` // of /dev/shm, which counts as memory; 0: the driver's default
}

// Input is one file put into the task's folder before it starts.
type Input struct {
	To     string   `cbor:"1,keyasint"`
	Digest [32]byte `cbor:"2,keyasint"`
	Size   int64    `cbor:"3,keyasint"`
	Mode   uint32   `cbor:"4,keyasint"`
}

// RunState is where one attempt of a task stands.
type RunState uint8

// The states of a run. Frozen is the executor's own doing (its lease lapsed) and is reported, not decided.
const (
	RunPlaced RunState = iota + 1
	RunRunning
	RunPaused
	RunStopping // under notice; Stop says why and by when
	RunEnded
	RunSuspended // its state lies on its node's disk or with the servers, its place is given back; Parked says until when
)

// Run is one attempt of a task on a node.
type Run struct {
	ID      RunID          `cbor:"1,keyasint"`
	Job     JobID          `cbor:"2,keyasint"`
	Task    int32          `cbor:"3,keyasint"`
	Nodes   []NodeID       `cbor:"4,keyasint"`
	Pool    PoolID         `cbor:"5,keyasint"`
	Shape   ShapeID        `cbor:"6,keyasint"`
	Weight  funding.Weight `cbor:"7,keyasint"`
	Bid     funding.Rate   `cbor:"8,keyasint"` // effective, at placement
	Firm    bool           `cbor:"9,keyasint,omitempty"`
	State   RunState       `cbor:"10,keyasint"`
	Placed  funding.Millis `cbor:"11,keyasint"`
	Start   funding.Millis `cbor:"12,keyasint,omitempty"` // the first process
	From    funding.Index  `cbor:"13,keyasint"`           // the index at Start, moved on by what it rose while frozen; the whole stretch is rounded once
	Until   funding.Millis `cbor:"14,keyasint,omitempty"` // the time limit's end, once started; zero: none
	Stop    Reason         `cbor:"15,keyasint,omitempty"` // why it is being stopped
	StopAt  funding.Millis `cbor:"16,keyasint,omitempty"` // SIGTERM at this time
	KillAt  funding.Millis `cbor:"17,keyasint,omitempty"` // SIGKILL at this time
	Signal  int32          `cbor:"18,keyasint,omitempty"` // instead of SIGTERM
	Hold    funding.Amount `cbor:"19,keyasint,omitempty"` // this run's part of the job's hold (safe)
	Owed    funding.Amount `cbor:"20,keyasint,omitempty"` // settled of what it owes for this stretch
	Settled funding.Millis `cbor:"21,keyasint,omitempty"` // up to when, if on the way
	Heard   funding.Millis `cbor:"22,keyasint,omitempty"` // up to when its executor has said how it ran, where that changed anything
	Frozen  funding.Millis `cbor:"23,keyasint,omitempty"` // for how long of that it stood still, free of charge

	// A run that was suspended runs in several stretches, each metered by itself.
	Since  funding.Millis `cbor:"24,keyasint,omitempty"` // when this stretch began, if not at Start
	Before Stretches      `cbor:"25,keyasint,omitzero"`  // what came before this stretch
	Parked *Parked        `cbor:"26,keyasint,omitempty"` // while it is suspended, also under notice
	Stored *Stored        `cbor:"27,keyasint,omitempty"` // until its start: what another run left, that it goes on from
}

// LimitOf is the time limit of a run of the job that has not started.
func (j *Job) LimitOf(run *Run) funding.Millis {
	if run.Stored != nil {
		return run.Stored.Left
	}
	return j.TimeLimit
}

// Kept is what the servers have of a run that is suspended, or has not been brought back yet; nil: nothing.
func (r *Run) Kept() *Stored {
	if r.Parked != nil {
		return r.Parked.Stored
	}
	return r.Stored
}

// Node is where the run is; zero where it is suspended and with the servers alone.
func (r *Run) Node() NodeID {
	if len(r.Nodes) == 0 {
		return 0
	}
	return r.Nodes[0]
}

// Stretches is what a run's stretches before the present one came to: settled, and final.
type Stretches struct {
	Billed  funding.Millis `cbor:"1,keyasint,omitempty"` // of running
	Charged funding.Amount `cbor:"2,keyasint,omitempty"` // for running and for being kept
}

// Begun is when the run's present stretch began; zero before its first process.
func (r *Run) Begun() funding.Millis { return max(r.Start, r.Since) }

// Parked is a suspended run: what it costs to keep, and for how long that is paid. Its Run.Hold is that money and, once it
// is Ready, what it takes to go on. The price is fixed: what lies on a disk stands in nobody's way.
type Parked struct {
	Since  funding.Millis `cbor:"1,keyasint"`
	Weight funding.Weight `cbor:"2,keyasint,omitempty"`
	Rate   funding.Rate   `cbor:"3,keyasint,omitempty"`
	Owed   funding.Amount `cbor:"4,keyasint,omitempty"` // settled of what it owes since Since
	Until  funding.Millis `cbor:"5,keyasint"`           // up to when it is paid; a Ready one is paid on, another one ends
	Grace  funding.Millis `cbor:"6,keyasint,omitempty"` // the end of the pause grace, while there is no money to go on
	Left   funding.Millis `cbor:"7,keyasint,omitempty"` // of its time limit; zero: it has none
	Ready  bool           `cbor:"8,keyasint,omitempty"` // there is money: it waits for room
	Stored *Stored        `cbor:"9,keyasint,omitempty"` // once the servers have it: it may go on on another node
}

// Stored is what a suspended run was, and what it had printed, as the servers have it.
type Stored struct {
	Digest [32]byte       `cbor:"1,keyasint"`
	Size   int64          `cbor:"2,keyasint"`
	Moves  string         `cbor:"3,keyasint"` // by a driver that says the same it can go on
	Stdout Log            `cbor:"4,keyasint,omitzero"`
	Stderr Log            `cbor:"5,keyasint,omitzero"`
	Node   NodeID         `cbor:"6,keyasint,omitempty"` // where it was suspended
	Left   funding.Millis `cbor:"7,keyasint,omitempty"` // of its time limit, once it has moved; zero: it has none
}

// Log is a stream that a run wrote: its first bytes and its last, with the gap stated.
type Log struct {
	Digest [32]byte `cbor:"1,keyasint,omitzero"`  // of the bytes kept: head, then tail
	Size   int64    `cbor:"2,keyasint,omitempty"` // written in all
	Head   int64    `cbor:"3,keyasint,omitempty"`
	Gap    int64    `cbor:"4,keyasint,omitempty"`
	Tail   int64    `cbor:"5,keyasint,omitempty"`
}

// Cost is what it comes to from Since up to a time; nothing is owed beyond the time that is paid.
func (p *Parked) Cost(to funding.Millis) (funding.Amount, error) {
	d := min(to, p.Until) - p.Since
	if p.Weight == 0 || d <= 0 {
		return 0, nil
	}
	return p.Rate.Cost(p.Weight, d)
}

// Keeps is what a task takes of its node while it is suspended: its disk, and its memory as it lies there.
func (r Resources) Keeps() Resources { return Resources{Disk: r.Disk + r.Memory} }

// Keep is what a suspended task weighs; zero where it is kept for nothing.
func (w Weights) Keep(need Resources) (funding.Weight, error) {
	return WeightOf(Weights{Disk: w.Suspended}, need.Keeps())
}

// NodeState says whether a node takes work.
type NodeState uint8

// A node is up, drained (no new work), lost (its lease lapsed) or quarantined (three faults). What was removed has no
// record any more: removed is what an operator asks for, and is told.
const (
	NodeUp NodeState = iota + 1
	NodeDraining
	NodeLost
	NodeQuarantined
	NodeRemoved
)

// Node is a machine with an executor on it.
type Node struct {
	ID       NodeID            `cbor:"1,keyasint"`
	Name     string            `cbor:"2,keyasint"`
	Pool     PoolID            `cbor:"3,keyasint"`
	Has      Resources         `cbor:"4,keyasint"`
	Used     Resources         `cbor:"5,keyasint"`
	Labels   map[string]string `cbor:"6,keyasint,omitempty"`
	Drivers  []string          `cbor:"7,keyasint"`
	State    NodeState         `cbor:"8,keyasint"`
	Reason   string            `cbor:"9,keyasint,omitempty"`
	Deadline funding.Millis    `cbor:"10,keyasint,omitempty"` // when a drain stops what still runs
	Faults   int32             `cbor:"11,keyasint,omitempty"`
	Cert     [32]byte          `cbor:"12,keyasint"`           // SHA-256 of the pinned certificate
	Missing  []string          `cbor:"13,keyasint,omitempty"` // limits it can't set, and why
	Joined   funding.Millis    `cbor:"14,keyasint"`
	Version  string            `cbor:"15,keyasint,omitempty"`
	OS       string            `cbor:"16,keyasint,omitempty"`
	Arch     string            `cbor:"17,keyasint,omitempty"`
	Open     int32             `cbor:"18,keyasint,omitempty"` // runs placed and not ended
	Was      NodeState         `cbor:"19,keyasint,omitempty"` // of a lost node: what it is again when it comes back
	Cards    []Card            `cbor:"20,keyasint,omitempty"` // its GPUs
	Takes    []Take            `cbor:"21,keyasint,omitempty"` // what runs have of them, in the order of the runs
	Refused  []RefusedShape    `cbor:"22,keyasint,omitempty"` // shapes that it had no room for, not to be tried before their time

	DriverFacts []DriverFacts `cbor:"24,keyasint,omitempty"` // of every driver there, also of those that get no work
	Shares      []string      `cbor:"25,keyasint,omitempty"` // folders that it has in common with others, sorted
}

// DriverFacts is what people may want to know of a driver on a node. What gets work is Node.Drivers alone.
type DriverFacts struct {
	Name      string   `cbor:"1,keyasint"`
	Version   string   `cbor:"2,keyasint,omitempty"`
	Isolation string   `cbor:"3,keyasint,omitempty"`
	Can       []string `cbor:"4,keyasint,omitempty"` // pause, suspend, exec, network, images, share, and the kinds of its devices
	State     string   `cbor:"5,keyasint"`           // up, starting, refused
	Reason    string   `cbor:"6,keyasint,omitempty"`
	Moves     string   `cbor:"7,keyasint,omitempty"` // what it suspends goes on by any driver that says the same; empty: by itself alone
}

// Equal compares what two nodes have said.
func (d DriverFacts) Equal(other DriverFacts) bool {
	return d.Name == other.Name && d.Version == other.Version && d.Isolation == other.Isolation && slices.Equal(d.Can, other.Can) &&
		d.State == other.State && d.Reason == other.Reason && d.Moves == other.Moves
}
