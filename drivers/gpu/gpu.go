// Package gpu is the contract for providing GPUs to what drivers run: what there is, who has it, what it used, how it is.
package gpu

import (
	"context"
	"errors"
)

// ProtocolVersion is the version of this contract. A provider of another version is refused.
const ProtocolVersion = 1

// Errors of this contract, beside drivers.ErrInvalid, drivers.ErrNoTask and drivers.ErrUnavailable.
var (
	// ErrNoRoom: the machine has such GPUs, and none is free now. Nothing was allocated.
	ErrNoRoom = errors.New("no such GPU is free")
	// ErrNone: the machine has no GPUs of this kind, so waiting does not help.
	ErrNone = errors.New("no such GPU on this machine")
)

// Provider hands a machine's GPUs to tasks. All methods may be called from many goroutines at once, and each may be repeated after
// an unknown outcome. What is allocated outlives the provider's process.
type Provider interface {
	// Inventory says what there is and in which state. A machine without GPUs has an answer too, with the reason in Note.
	Inventory(ctx context.Context) (Inventory, error)

	// Allocate gives a task what it asks for, or nothing. It is idempotent by Request.Task: a task that has something gets the
	// same answer again, and one that was released is refused.
	Allocate(ctx context.Context, request Request) (Grant, error)

	// Release takes back what a task has, when no process of it runs any more, and says what it used in all. The GPU is free
	// again only when it was seen clean. Repeating it gives the same answer for an hour; a task that is not known: drivers.ErrNoTask.
	Release(ctx context.Context, task string) (Usage, error)

	// Usage says what each task that has something has used so far, by task.
	Usage(ctx context.Context) (map[string]Usage, error)

	// Watch sends an event for each GPU that is sick and each slice that is gone, then one for each change, until ctx ends or the
	// provider is gone.
	Watch(ctx context.Context) (<-chan Event, error)
}

// Inventory is what a machine has.
type Inventory struct {
	ProtocolVersion int
	Driver          string   // its version
	Note            string   // for people: why there are no GPUs, or what the library cannot do here
	Missing         []string // functions that the library lacks
	Devices         []Device // in the library's order
}

// Device is one GPU.
type Device struct {
	ID          string // its UUID
	Index       int
	Minor       int // of its device node
	Model       string
	MemoryBytes int64
	PCI         string
	NUMA        int    // -1: unknown
	Links       []Link // to other GPUs of this machine
	MIG         MIG
	Shares      int // as how many time-sliced shares it may be sold; 0: not at all
	State       State
	Reason      string   // for people: why it is not to be had
	Tasks       []string // that have it, or a part of it
	Settings    Settings // as they are
}

// Link says how far two GPUs are joined by NVLink.
type Link struct {
	Peer  string // its ID
	Lanes int
}

// MIG says how a GPU can be cut into slices.
type MIG struct {
	Capable  bool
	On       bool
	OnDemand bool      // its mode is turned on for a slice and off for a whole GPU, when nobody has it
	Profiles []Profile // of a GPU whose mode is on, or is turned on demand; largest first
}

// Profile is one size of slice.
type Profile struct {
	Name        string // as NVIDIA writes it: 3g.20gb
	Slices      int    // of compute, of the GPU's seven (or what its largest profile has)
	MemoryBytes int64
	Max         int // how many an empty GPU holds
	Free        int // how many places there are now, each taken alone
}

// State is what a GPU is doing.
type State string

const (
	StateFree     State = "free"
	StateWhole    State = "whole"    // a task has all of it
	StateSliced   State = "sliced"   // it has MIG instances
	StateShared   State = "shared"   // tasks take turns on it
	StateCleaning State = "cleaning" // given back, and not yet seen clean
	StateBusy     State = "busy"     // somebody who did not ask us uses it
	StateSick     State = "sick"     // its hardware failed; it gets no new task
)

// Settings of a GPU. In a configuration, zero values leave a setting as it is.
type Settings struct {
	ComputeMode     string // default, exclusive (one process), prohibited
	Persistence     string // on, off
	PowerLimitWatts int
}

// Kind is what of a GPU a task gets.
type Kind string

const (
	Whole Kind = "whole" // whole GPUs
	Slice Kind = "slice" // a MIG instance: its own memory and processors
	Share Kind = "share" // turns on a GPU whose memory nothing divides
)

// Request is what a task asks for.
type Request struct {
	Task        string // as drivers.Task.ID
	Kind        Kind   // "": Whole
	Count       int    // of whole GPUs, all of one model; 0: one. Slices and shares are had singly
	Model       string // as Matches has it; "": any, the smallest that fits
	MemoryBytes int64  // of each at least
	Profile     string // of a slice; "": the smallest with MemoryBytes
	NVLink      bool   // each must reach each of the others by NVLink; otherwise the best joined are taken
}

// Grant is what a task got, and how it finds it.
type Grant struct {
	Task    string
	Kind    Kind
	Devices []Granted
	CDI     []string // fully qualified device names, in the spec that the provider keeps in its CDI folder
	Env     []string // for tasks that share the machine's own file system; in the CDI spec too
	Nodes   []string // device nodes
}

// Granted is a GPU or a part of one.
type Granted struct {
	Device      string // Device.ID
	Model       string
	Visible     string // how CUDA names it: the GPU's or the slice's UUID
	Profile     string // of a slice
	MemoryBytes int64  // of a share: all the GPU's
}

// Usage is what a task has used. What Basis says of energy: the GPU's own counter for whole GPUs; a slice bears the GPU's
// energy by its part of the compute slices, a share by the number of tasks that took turns at the time.
type Usage struct {
	EnergyMillijoules int64
	EnergyBasis       string // for people and receipts: "the GPU", "3/7 of the GPU", "an equal part of the GPU"; "" if it is not measured
	Utilisation       int    // mean so far, in thousandths of the GPU's time; -1: not measured
	MemoryBytes       int64  // in use on the devices now
	MemoryPeakBytes   int64  // the highest that was seen
	Processes         []Process
	ProcessesPeak     int  // the most that were seen at once
	Released          bool // nothing is added any more
}

// Process is one that uses a device of a task. On a shared GPU it may be another task's.
type Process struct {
	Pid         int
	Device      string
	MemoryBytes int64
}

// Event is a change of a GPU's health, or an error that its driver reported.
type Event struct {
	Device string
	Sick   bool     // whether it is now
	XID    int      // the driver's number of the error; 0: none
	Reason string   // for people
	Tasks  []string // that it hit. Where Sick, their time since is not to be charged
}
