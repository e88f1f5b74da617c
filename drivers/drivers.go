// Package drivers is the contract for running something on a machine.
package drivers

import (
	"context"
	"errors"
	"io"
)

// ProtocolVersion is the version of this contract. A driver of another version is refused.
const ProtocolVersion = 1

var (
	// ErrUnsupported: the driver said in Describe that it cannot do this.
	ErrUnsupported = errors.New("not supported by this driver")
	// ErrNoTask: the driver knows no task of this id.
	ErrNoTask = errors.New("no such task")
	// ErrEnded: the task has ended, so it cannot be controlled any more.
	ErrEnded = errors.New("the task has ended")
	// ErrInvalid: the request can never succeed as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrUnavailable: the driver's process is gone for the moment. The call may or may not have had its effect;
	// repeating it is right, since every method may be repeated.
	ErrUnavailable = errors.New("driver unavailable")
	// ErrBroken: what the driver said cannot be true, so nothing that it said of its tasks counts. It is started anew; to
	// remove its tasks is all that is left to do with them. Watch of all tasks says so once.
	ErrBroken = errors.New("the driver is broken")
)

// Driver runs tasks. All methods may be called from many goroutines at once, and each may be repeated
// after an unknown outcome. Tasks outlive the driver's process and the caller's.
type Driver interface {
	// Describe says what this driver can do on this machine. The answer holds until the driver restarts.
	Describe(ctx context.Context) (Description, error)

	// Start starts a task and returns without waiting for its first process. It is idempotent by Task.ID: a task that
	// exists, running or ended, is left as it is and its status returned. What goes wrong with the command itself
	// (not found, not executable, a limit that could not be set) is no error but an Exit with CauseStartFailed.
	Start(ctx context.Context, task Task) (Status, error)

	// Control returns when the command has taken effect.
	Control(ctx context.Context, id string, command Control) error

	// Exec runs one more command inside a running task, and returns how it ended; or connects to a port of the task.
	Exec(ctx context.Context, id string, request ExecRequest, streams ExecStreams) (Exit, error)

	// Watch sends the status at once, then after each change; changes in quick succession may arrive as the latest one.
	// The channel is closed after a final status (State.Final), when ctx ends, or when the driver is gone: no final
	// status then, so ask again. An empty id watches every task, present and future, until ctx ends; that is one
	// stream however many tasks there are.
	Watch(ctx context.Context, id string) (<-chan Status, error)

	// Usage says what the task has used so far; after its end, what it used in all.
	Usage(ctx context.Context, id string) (Usage, error)

	// Remove kills the task if it still runs and forgets it: no process, cgroup or file of the driver remains, the logs
	// included. Task.Dir itself, empty if it is there, and WorkDir are the caller's to remove. Removing what is not there is fine.
	Remove(ctx context.Context, id string) error
}

// Description is what a driver says of itself, as data, so that nobody has to know drivers by name.
type Description struct {
	Name            string
	Version         string // of the driver, for people
	ProtocolVersion int
	Isolation       Isolation
	Pause           bool   // Freeze and Thaw
	Suspend         bool   // state to disk, place given back
	Moves           string // a suspended task of this driver can go on by any driver that says the same; "": only where it was. Needs Suspend
	Exec            bool
	Connect         bool           // ExecRequest.Connect
	Network         bool           // can withhold or grant the network; a driver that cannot always shares the host's
	Devices         []string       // by which names it takes Task.Devices: DevicesCDI, or none
	Share           bool           // Task.Share
	Images          bool           // runs Task.Image; a driver that does not runs the machine's own programs
	WorkDir         string         // where its tasks find Task.WorkDir; "": under its own name
	NoticeDir       string         // where its tasks find Task.NoticeDir; "": nowhere, or under its own name where tasks see the machine's files
	Note            string         // for people: why it runs tasks by worse means than it knows; "": it does not
	Limits          []LimitSupport // every limit of this contract, in a fixed order
}

// DevicesCDI is among Description.Devices of a driver that gives tasks devices as CDI specs have them, and no others.
const DevicesCDI = "cdi"

// Isolation says how far a task is kept from the machine and from other tasks.
type Isolation string

const (
	IsolationProcess   Isolation = "process"   // a user of its own at best
	IsolationContainer Isolation = "container" // a file system and namespaces of its own
	IsolationVM        Isolation = "vm"        // a kernel of its own
)

// Limit names a limit of Task.
type Limit string

const (
	LimitCPU    Limit = "cpu"
	LimitMemory Limit = "memory"
	LimitDisk   Limit = "disk"
	LimitPids   Limit = "pids"
	LimitFiles  Limit = "files"
	LimitUser   Limit = "user"  // running as another user than the driver's
	LimitLease  Limit = "lease" // freezing by the shim, see Reason for how far it reaches
)

// Limits lists every Limit in the order of Description.Limits and of bit numbers on the wire to the shim.
func Limits() []Limit {
	return []Limit{LimitCPU, LimitMemory, LimitDisk, LimitPids, LimitFiles, LimitUser, LimitLease}
}

// LimitSupport says whether this driver can set a limit on this machine, and if not (or only in part) why.
type LimitSupport struct {
	Limit     Limit
	Supported bool
	Reason    string // for people: "needs root"; empty when fully supported
}

// Task is one thing to run. Zero means "no limit" for every limit.
type Task struct {
	ID      string // [A-Za-z0-9][A-Za-z0-9._-]{0,63}; unique on this machine
	Dir     string // absolute, the driver's alone for this task: its records and logs. The driver makes it when it needs it; its parent exists
	WorkDir string // absolute, exists: where the command starts if nothing else is said. Beside Dir: then a driver hides that folder's neighbours if it can
	Argv    []string
	Hold    bool     // it runs nothing, an image's command neither, and keeps its place until it is stopped; Argv is empty. Needs Description.Exec
	Env     []string // NAME=value; all that the task gets beside its image's own, which these outrank; nothing is inherited

	Image      string   // what it runs in, as the driver's image store names it; "": the machine's own file system
	Entrypoint []string // stands before Argv; empty: the image's own, which then also says what to run where Argv is empty
	StartDir   string   // absolute, in what Image is: where the command starts; "": where the image says, if it does
	// From is a file of Export, absolute, for the driver to read during Start alone: the task goes on from there instead of running its
	// command, and what Export's task was made of it must be made of, too. The command, its variables and the image are as they were,
	// whatever is said here. A file of which nothing can go on is an error, or an Exit with CauseStartFailed and code 125; the command
	// is never begun anew. "": it begins. Needs Description.Moves
	From string

	NoticeDir    string // absolute, exists: what the task is told while it runs, for it to read; "": nothing
	Share        string // absolute: a folder of the machine's that others have too; "": none. Needs Description.Share
	Chdir        string // Share or a path in it, in its short form: where the command starts, under this name. No link on the way may lead out of Share
	ReadOnlyRoot bool   // it may write to its work folder, Chdir and /dev/shm only
	ShmBytes     int64  // of /dev/shm, which counts as memory; 0: ShmBytesDefault

	UID, GID  uint32 // who runs it; both 0 mean the driver's own user, which is refused for root unless AllowRoot
	AllowRoot bool

	CPUMilli    int64 // thousandths of a CPU
	MemoryBytes int64
	DiskBytes   int64 // of all in WorkDir, and of all that it changed in its image
	PidsMax     int64
	FilesMax    int64

	LogHeadBytes int64 // of each stream the first bytes kept; 0 means LogHeadBytesDefault
	LogTailBytes int64 // and the last; 0 means LogTailBytesDefault

	LeaseUntil       int64    // CLOCK_BOOTTIME in ns; 0: no lease
	LeaseGraceMillis int64    // frozen by the lease this long without a break: killed; 0: never
	KillDelayMillis  int64    // for Stop commands that give none
	Network          bool     // false asks the driver to withhold the network where Description.Network is true
	Devices          []string // what of the machine's it gets, by their fully qualified CDI names. Needs DevicesCDI
	DeviceSpecs      string   // absolute: the folder of CDI specs that say what these names mean
}

const (
	ShmBytesDefault     = 64 << 20
	LogHeadBytesDefault = 1 << 20
	LogTailBytesDefault = 15 << 20
)

// ControlKind is what a Control does.
type ControlKind int

const (
	Signal  ControlKind = iota + 1 // send Signal to the process, or to all of the task's with Group
	Freeze                         // no process of the task runs until Thaw; repeated: nothing
	Thaw                           // takes back Freeze; a task whose lease has lapsed stays frozen
	Stop                           // Signal (default SIGTERM) to the group, SIGKILL to all after the kill delay; at once if there is none, or the task is frozen
	Kill                           // SIGKILL to all
	Lease                          // the lease now ends at Until; thaws what the old lease's end froze
	Suspend                        // as Freeze, and its place is given back: what it was lies on disk until Resume. Needs Description.Suspend
	Resume                         // takes back Suspend, and Freeze: it goes on where it was
	Export                         // writes what a suspended task is to File, for Task.From elsewhere; it stays suspended. Another task: ErrInvalid. Needs Description.Moves
)

// Control is a command to a task.
type Control struct {
	Kind            ControlKind
	Signal          int
	Group           bool
	KillDelayMillis int64  // 0: the task's
	Until           int64  // CLOCK_BOOTTIME in ns
	File            string // absolute, exists: the driver's to fill
}

// State is where a task is in its life.
type State string

const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateFrozen   State = "frozen"
	// StateSuspended: it is frozen and on disk. That time is in Status.Frozen, by the cause that Freeze has; the lease and the
	// other commands mean what they mean to a frozen task, but for Thaw, which is refused.
	StateSuspended State = "suspended"
	StateExited    State = "exited"
	StateLost      State = "lost" // its shim died; what was left of it has been killed
)

// Final says that nothing more will happen to the task.
func (s State) Final() bool { return s == StateExited || s == StateLost }

// FreezeCause says who froze a task. A lapsed lease outranks a command while both hold.
type FreezeCause string

const (
	FrozenByLease   FreezeCause = "lease"
	FrozenByControl FreezeCause = "control"
)

// Span is one time of being frozen, in nanoseconds since Status.StartedBoot; spans are in order and do not overlap.
type Span struct {
	From  int64
	To    int64 // 0: still frozen
	Cause FreezeCause
}

// ExitCause says why a task ended.
type ExitCause string

const (
	CauseExited      ExitCause = "exited"
	CauseSignalled   ExitCause = "signalled" // by a signal that none of the other causes explains
	CauseOOM         ExitCause = "oom"
	CauseDisk        ExitCause = "disk"    // killed because its work folder held more than DiskBytes
	CauseLease       ExitCause = "lease"   // killed because its lease had lapsed for longer than the grace, or before it started
	CauseStopped     ExitCause = "stopped" // by Stop, Kill or Remove
	CauseStartFailed ExitCause = "start_failed"
	CauseShimLost    ExitCause = "shim_lost"
)

// Exit is how a task ended. Code is as a shell says it: the exit code, 128+Signal, 126 not executable, 127 not found.
type Exit struct {
	Code    int
	Signal  int
	Cause   ExitCause
	OOMSeen bool   // the memory limit killed some process of the task, perhaps not the first one
	Message string // for people: which step of a start failed and how, which limit was reached
}

// Status is what is known of a task. Times are CLOCK_BOOTTIME in ns of the machine's present boot.
type Status struct {
	ID          string
	State       State
	Pid         int   // the task's first process, while it lives
	StartedBoot int64 // the first process exists, behind all limits; 0: not yet, or never
	EndedBoot   int64 // for StateLost: when the loss was noticed
	Frozen      []Span
	Exit        Exit    // with a final state
	Missing     []Limit // asked for and not set here; Describe has the reasons
}

// Usage is what a task has used.
type Usage struct {
	CPUMillis       int64
	MemoryPeakBytes int64
	PidsPeak        int64 // 0: unknown
	LogBytes        int64 // written to both streams, kept or not
}

// ExecRequest is a command to run inside a task, or a port to connect to.
type ExecRequest struct {
	Argv       []string
	Env        []string // in addition to the task's
	Terminal   bool
	Rows, Cols uint16

	// Connect, instead of a command: a connection to this TCP port as the task finds it on its loopback. Stdin's end is passed
	// on as the end of that direction alone, and Exec returns when both directions have ended, or with the task. A port on
	// which no process of this task listens is an Exit with CauseStartFailed, whoever else on this machine may listen there.
	Connect uint16
}

// ExecStreams connects an Exec with its caller. Nil fields are empty or dropped.
type ExecStreams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	StdoutEnd      func() // with Connect: the task says no more, and may go on listening
	Resize         <-chan TerminalSize
}

// TerminalSize is the size of the caller's terminal.
type TerminalSize struct{ Rows, Cols uint16 }
