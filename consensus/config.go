package consensus

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/port"
)

// Config is what a server needs to take part.
type Config struct {
	Dir         string // all that this server keeps
	ClusterAddr string // HOST:PORT of the cluster port, to listen on
	Advertise   string // where others reach it; empty: the address that it listens on
	HTTPAddr    string // where clients reach this server; told to the others
	Version     string

	Bootstrap *machine.Init // the first entry of a new cluster; ignored where Dir holds a cluster already
	Join      []string      // or servers to join
	Token     string        // with this token

	// Secret gives the mint's secret for a joining server; SetSecret keeps the one that was got.
	Secret    func() ([]byte, error)
	SetSecret func([]byte) error

	// Booked returns when the book holds the events up to seq. Log entries are not thrown away
	// before, since events can be made again from them alone. Nil: there is no book.
	Booked func(ctx context.Context, seq uint64) error

	// Alarm is what else of this server an operator should look at; empty: nothing. Nil: there is nothing else.
	Alarm func() string

	Log     *slog.Logger
	Wall    func() time.Time // the wall clock
	Reserve uint64           // bytes of free disk below which this server steps back; zero: 256 MiB
	Free    func(dir string) (uint64, error)
	Tuning  Tuning
	Network port.Network // nil: TCP

	Stores func(Stores) Stores // what raft keeps things through; nil: as they are
}

// Tuning is how fast things go; what is zero takes its default.
type Tuning struct {
	Heartbeat     time.Duration // 500 ms
	Election      time.Duration // 500 ms
	Commit        time.Duration // 5 ms: how soon followers learn what was committed when nothing follows
	LeaderWait    time.Duration // 5 s: how long a proposal waits for a leader
	SnapshotBytes int64         // 64 MiB of entries since the last snapshot, or a quarter of that one if it is more
	TrailingLogs  uint64        // 10,000 entries stay after a snapshot
	SegmentBytes  int           // 64 MiB, of the log's files
	EventsMax     int           // 65,536 events at hand for the book and for those who follow
	Members       time.Duration // 250 ms: how often the leader looks after members
	Checksums     time.Duration // 2 s: how often replicas are compared
	Disk          time.Duration // 1 s: how often free disk is looked at
	AgreeWithin   time.Duration // 2 s: how far wall clocks may lie apart
}

func (t Tuning) withDefaults() Tuning {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.Heartbeat, 500*time.Millisecond)
	set(&t.Election, 500*time.Millisecond)
	set(&t.Commit, 5*time.Millisecond)
	set(&t.LeaderWait, 5*time.Second)
	set(&t.Members, 250*time.Millisecond)
	set(&t.Checksums, 2*time.Second)
	set(&t.Disk, time.Second)
	set(&t.AgreeWithin, 2*time.Second)
	if t.SnapshotBytes == 0 {
		t.SnapshotBytes = 64 << 20
	}
	if t.TrailingLogs == 0 {
		t.TrailingLogs = 10_000
	}
	if t.SegmentBytes == 0 {
		t.SegmentBytes = 64 << 20
	}
	if t.EventsMax == 0 {
		t.EventsMax = 65_536
	}
	return t
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("make a server: Dir must be given")
	}
	if c.ClusterAddr == "" {
		return c, errors.New("make a server: ClusterAddr must be given")
	}
	if c.Bootstrap != nil && len(c.Join) > 0 {
		return c, errors.New("make a server: it makes a new cluster or joins one, not both")
	}
	if len(c.Join) > 0 && c.Token == "" {
		return c, errors.New("make a server: to join, a token must be given")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = port.TCP{}
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Free == nil {
		c.Free = diskFree
	}
	if c.Reserve == 0 {
		c.Reserve = 256 << 20
	}
	c.Tuning = c.Tuning.withDefaults()
	return c, nil
}

// Handler owns a connection that came in for a protocol of someone else's.
type Handler func(conn net.Conn, peer *x509.Certificate)
