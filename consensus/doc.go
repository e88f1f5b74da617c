// Package consensus keeps one truth on several servers: a replicated log, the machine that it drives, and who may take part.
package consensus

import (
	"errors"

	"github.com/coinop/coinop/consensus/machine"
)

// What Propose and the reads can say besides a result.
var (
	// ErrUnknown: the command may or may not have been carried out. Repeat the same request: its
	// answer will be the same if it was.
	ErrUnknown = errors.New("the outcome is unknown: repeat the same request")
	// ErrNoLeader: nothing was tried, because no server leads.
	ErrNoLeader = errors.New("no server leads the cluster now")
	// ErrNotRunning: the server has not started yet, or is stopping.
	ErrNotRunning = errors.New("the server is not running")
	// ErrReadOnly: nothing was tried; the error that wraps it says why the cluster takes no entries.
	ErrReadOnly = errors.New("the cluster takes no new entries")
	// ErrParted: this server's state differs from the majority's; it must be joined anew.
	ErrParted = errors.New("this server's state differs from the majority's")
	// ErrRemoved: this server was removed from the cluster.
	ErrRemoved = errors.New("this server was removed from the cluster")
	// ErrBehind: events are asked for that are no longer, or not yet, at hand here.
	ErrBehind = errors.New("these events are not at hand")
)

// Protocols of the cluster port.
const (
	ProtoRaft     = "coinop/raft"
	ProtoForward  = "coinop/forward"
	ProtoJoin     = "coinop/join"
	ProtoExecutor = "coinop/executor"
	ProtoHTTP     = "coinop/http"
)

// Server is a member as the replicated state knows it.
type Server = machine.Server
