package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// Node is the replicated state, as consensus offers it.
type Node interface {
	// Propose has a command carried out, by way of the leader. Its errors are those of
	// package consensus or the context's; a refusal is a result.
	Propose(ctx context.Context, c machine.Command) (machine.Result, error)
	// View is the state as this server knows it. It never changes and may be kept.
	View() *machine.View
	// Wait returns when the entry of this index is applied here.
	Wait(ctx context.Context, index uint64) error
	// Linearize returns when all that was acknowledged anywhere before the call is applied here.
	Linearize(ctx context.Context) (uint64, error)
}

// Cluster is what operators ask of the servers themselves.
type Cluster interface {
	Members(ctx context.Context) (client.ServerList, error)
	RemoveServer(ctx context.Context, id string) error
	// JoinToken makes a token that lets one server or one executor in, once.
	JoinToken(ctx context.Context, kind string, ttl time.Duration) (string, error)
	// NewKeyset is the public side of a keyset that is to be made from the mint's newest secret.
	NewKeyset(number mint.KeysetNumber, unit string, inputFeePPK uint32, expiry time.Time) (machine.KeysetSpec, error)
}

// Blobs keeps bytes by their SHA-256, on a majority of servers. Its errors are those of package blobs.
type Blobs interface {
	// Put reads r to its end, refuses what has another digest, and returns when a majority has it.
	Put(ctx context.Context, d blobs.Digest, r io.Reader) (size int64, err error)
	// Get reads them, from a peer where they are not here.
	Get(ctx context.Context, d blobs.Digest) (r io.ReadCloser, size int64, err error)
}

// LogRequest asks for a stream of a run that has not ended; its node has the bytes.
type LogRequest struct {
	Run    scheduler.RunID
	Stream string // stdout or stderr
	Offset int64
	Tail   int64 // the last so many bytes instead of from Offset; zero: from Offset
	Follow bool  // until the run has ended
}

// LogPiece is a part of a stream. Bytes between two pieces were not kept.
type LogPiece struct {
	Offset int64
	Data   []byte
}

// Logs reads the logs of runs that have not ended, from any server.
type Logs interface {
	// ReadLog calls send with each piece, and returns when all that there is was sent, or with Follow when
	// the run has ended.
	ReadLog(ctx context.Context, r LogRequest, send func(LogPiece) error) error
}

// ExecRequest asks for one more command in a task that runs, or for a port of it.
type ExecRequest struct {
	Run      scheduler.RunID
	Argv     []string
	Env      []string             // NAME=value, beside the task's
	Terminal *client.TerminalSize // none: no terminal, and standard error apart
	Connect  uint16               // instead of a command: a TCP port of the task's loopback
}

// ExecLine is a command's connection to whoever asked for it.
type ExecLine interface {
	// Receive returns what the command is to read, or io.EOF when the client has gone in order.
	Receive(ctx context.Context) (client.ExecFrame, error)
	// Send passes on what it writes, and in the end how it ended.
	Send(ctx context.Context, f client.ExecFrame) error
}

// Commands runs commands in tasks that have not ended, from any server.
type Commands interface {
	// Exec returns nil when the command has ended and its end was sent. It ends with ctx.
	Exec(ctx context.Context, r ExecRequest, line ExecLine) error
}

// GPUUse is what a run that goes on has used of GPUs, and what it has of them now.
type GPUUse struct {
	Sum         scheduler.GPUUsage
	MemoryBytes int64
	Processes   int32
}

// GPUs tells what runs that have not ended use of GPUs, from any server.
type GPUs interface {
	// Use leaves out runs of which nothing is known.
	Use(ctx context.Context, runs []scheduler.RunID) (map[scheduler.RunID]GPUUse, error)
}

// Events are what the machine has told, as the book keeps them.
type Events interface {
	// After returns what was asked for, and the number up to which it has looked.
	After(ctx context.Context, q EventsQuery) (events []machine.Event, last uint64, err error)
	// Wait returns when there is an event numbered above seq.
	Wait(ctx context.Context, seq uint64) error
}

// EventsQuery narrows events to those numbered above After, of one job where one is named, and of its own pot those
// deposits that name no job.
type EventsQuery struct {
	After uint64
	Job   scheduler.JobID
	Pot   funding.PotID
	Limit int
}

// Book answers for what the state has forgotten.
type Book interface {
	// Job is what is public of a job that was forgotten; false where there never was one.
	Job(ctx context.Context, job scheduler.JobID) (client.HistoryJob, bool, error)
	// Jobs lists finished jobs, the newest first.
	Jobs(ctx context.Context, q HistoryQuery) ([]client.HistoryJob, error)
	// Prices lists a pool's prices since a time, the oldest first, with the one in force at it.
	Prices(ctx context.Context, pool scheduler.PoolID, since time.Time, limit int) ([]client.Price, error)
}

// HistoryQuery narrows a list of finished jobs.
type HistoryQuery struct {
	Since  time.Time
	Pool   scheduler.PoolID // zero: all
	Before scheduler.JobID  // zero: from the newest
	Limit  int
}

// Config is what the interface stands on. All but Node may be left out; what needs the part that is missing then
// answers that this server does not have it.
type Config struct {
	Node     Node
	Keyring  func() *mint.Keyring // the one in force; a new one when keysets are added
	Cluster  Cluster
	Blobs    Blobs
	Logs     Logs
	Commands Commands
	GPUs     GPUs
	Events   Events
	Book     Book
	Now      func() funding.Millis // cluster time, for what is metered right now; nil: the wall clock
	Web      http.Handler          // answers what is not of the interface
	Metrics  prometheus.Registerer
	Gather   prometheus.Gatherer // served at /metrics
	Limits   Limits              // zero: DefaultLimits
	Log      *slog.Logger
	Version  string
	Hosts    []string // names by which this server may be called, beside addresses and localhost
}
