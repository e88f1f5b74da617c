package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/executor/wire"
)

const (
	dialTimeout = 5 * time.Second
	retryFirst  = 100 * time.Millisecond
	retryMost   = 5 * time.Second
	// hintsMax is how many hints are followed without a pause: two servers that name each other must not keep us busy.
	hintsMax = 3
)

// errNotLeader ends a stream to a follower; it carries where the leader is.
type errNotLeader struct{ leader string }

func (e *errNotLeader) Error() string { return fmt.Sprintf("not the leader (which is %q)", e.leader) }

// connect keeps one stream to the leader: any server is asked in turn, and knows who leads.
func (e *Executor) connect(ctx context.Context) {
	e.inquireAll(ctx)
	e.describe(ctx)
	servers := e.servers()
	wait, hints, asked, turn := retryFirst, 0, 0, rand.IntN(len(servers))
	address := servers[turn]
	for ctx.Err() == nil {
		obeyed, err := e.session(ctx, address)
		if ctx.Err() != nil {
			return
		}
		if obeyed {
			wait, hints, asked = retryFirst, 0, 0
		}
		var elsewhere *errNotLeader
		if errors.As(err, &elsewhere) && elsewhere.leader != "" && elsewhere.leader != address && hints < hintsMax {
			address = elsewhere.leader
			hints++
			continue
		}
		level := e.log.Info
		if errors.Is(err, errOtherCluster) {
			level = e.log.Error
		}
		level("no orders from this server; trying the next one", "server", address, "error", err)
		servers = e.servers()
		turn, hints = turn+1, 0
		address = servers[turn%len(servers)]
		rest := retryFirst // one of them leads: all are asked before the wait grows
		if asked++; asked%len(servers) == 0 {
			rest = wait
			wait = min(2*wait, retryMost)
		}
		// Spread, or a cluster's machines come back all in one moment.
		if err := pause(ctx, rest/2+rand.N(rest)); err != nil {
			return
		}
	}
}

// session holds one stream until it breaks or proves useless. obeyed says that orders came over it.
func (e *Executor) session(ctx context.Context, address string) (obeyed bool, err error) {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	link, err := e.config.Connect(dialling, address, &node{executor: e})
	cancel()
	if err != nil {
		return false, err
	}
	streaming, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer func() {
		e.setLink(nil)
		cancel()
		sending.Wait()
		_ = link.Close() // what broke is told by err
	}()
	stream, err := link.Servers.Sync(streaming)
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	s := &exchange{executor: e, reports: reporter{executor: e}, stream: stream}
	sending.Go(func() {
		defer cancel() // a stream that cannot be written to is no use for reading
		s.sendAll(streaming)
	})
	return s.receiveAll(ctx, cancel, func() { e.setLink(link) })
}

func (e *Executor) setLink(link *wire.Link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.link == link {
		return
	}
	e.link = link
	close(e.linked)
	e.linked = make(chan struct{})
}

// sending is when a report was sent, by boot time.
type sending struct {
	seq  uint64
	boot int64
}

// exchange is one stream of reports and orders.
type exchange struct {
	executor *Executor
	stream   grpc.BidiStreamingClient[wire.Report, wire.Desired]
	reports  reporter // owned by sendAll

	mu    sync.Mutex
	offer uint64    // the first report that told of a driver which can be used; 0: none yet
	first int64     // when the first report was sent
	sent  []sending // reports that may still be answered, in order
}

// sentMax bounds what is remembered for a server that never answers; the stream's deadline ends it much sooner.
const sentMax = 100_000

// sendAll reports what changes, and at least at each heartbeat.
func (s *exchange) sendAll(ctx context.Context) {
	heartbeat := time.NewTicker(s.executor.config.Heartbeat)
	defer heartbeat.Stop()
	beat := false
	for {
		for _, report := range s.reports.next(beat) {
			s.mu.Lock()
			if s.first == 0 {
				s.first = report.GetSentBootNs()
			}
			if s.offer == 0 && offersWork(report.GetFacts()) {
				s.offer = report.GetSeq()
			}
			s.sent = append(s.sent, sending{report.GetSeq(), report.GetSentBootNs()})
			s.sent = s.sent[max(0, len(s.sent)-sentMax):]
			s.mu.Unlock()
			if err := s.stream.Send(report); err != nil {
				return // the reader learns why
			}
		}
		select {
		case <-s.executor.send:
			beat = false
			if pause(ctx, gather) != nil {
				return
			}
		case <-heartbeat.C:
			beat = true
		case <-ctx.Done():
			return
		}
	}
}

// sentAt returns when the answered report was sent. Of one that is not known, or of none, it says when the first of the
// stream was: too early is safe.
func (s *exchange) sentAt(seq uint64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.sent, seq, func(a sending, seq uint64) int {
		switch {
		case a.seq < seq:
			return -1
		case a.seq > seq:
			return 1
		}
		return 0
	})
	if !found {
		return s.first
	}
	s.sent = s.sent[i:] // later sets may answer the same report
	return s.sent[0].boot
}

// receiveAll obeys orders until the stream ends. A server that says nothing for two heartbeats is given up.
func (s *exchange) receiveAll(ctx context.Context, cancel context.CancelFunc, first func()) (obeyed bool, err error) {
	e := s.executor
	silence := time.AfterFunc(2*e.config.Heartbeat+dialTimeout, cancel)
	defer silence.Stop()
	for {
		desired, err := s.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return obeyed, errors.New("the server ended the stream")
		case err != nil:
			return obeyed, fmt.Errorf("read orders: %w", err)
		case desired.GetNotLeader():
			return obeyed, &errNotLeader{desired.GetLeader()}
		}
		silence.Reset(2*e.config.Heartbeat + dialTimeout)
		sent := s.sentAt(desired.GetAnswers())
		if err := e.obey(ctx, desired, sent); err != nil {
			return obeyed, err
		}
		if !obeyed {
			obeyed = true
			first()
		}
		if s.taken(desired.GetAnswers()) {
			e.ready.Do(e.config.Ready)
		}
	}
}

// taken says whether an answer to a report means that this machine gets work: the servers take note of facts before they answer.
func (s *exchange) taken(answers uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offer != 0 && answers >= s.offer
}

// offersWork says whether by these facts the machine has a driver that gets tasks.
func offersWork(facts *wire.NodeFacts) bool {
	return slices.ContainsFunc(facts.GetDrivers(), func(d *wire.DriverFacts) bool { return d.GetState() == wire.DriverState_DRIVER_STATE_UP })
}
