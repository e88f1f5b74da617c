package consensus

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/call"
	"github.com/coinop/coinop/consensus/machine"
)

const (
	questionsAtOnce = 1024
	dialMax         = 3 * time.Second
)

// peers keeps one connection to each server that was asked something.
type peers struct {
	node *Node

	mu     sync.Mutex
	open   map[string]*line
	closed bool
}

// line is the connection to one server. One goroutine dials while others wait, each as long as it has time for.
type line struct {
	turn   chan struct{} // has room for one, whose turn it is; guards what is below
	addr   string
	client *call.Client
}

func newPeers(n *Node) *peers { return &peers{node: n, open: map[string]*line{}} }

// ask asks one server. Errors are call's: ErrNotAsked, ErrNoAnswer or what was told.
func (p *peers) ask(ctx context.Context, id, addr string, kind byte, body []byte) ([]byte, error) {
	c, err := p.client(ctx, id, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", call.ErrNotAsked, err)
	}
	return c.Call(ctx, kind, body)
}

func (p *peers) client(ctx context.Context, id, addr string) (*call.Client, error) {
	p.mu.Lock()
	l := p.open[id]
	if l == nil && !p.closed {
		l = &line{turn: make(chan struct{}, 1)}
		p.open[id] = l
	}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, ErrNotRunning
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.client != nil {
		select {
		case <-l.client.Broken():
			l.client.Close()
			l.client = nil
		default:
			if l.addr == addr {
				return l.client, nil
			}
			l.client.Close()
			l.client = nil
		}
	}
	open := p.node.port.Load()
	if open == nil {
		return nil, ErrNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	conn, err := open.Dial(ctx, addr, ProtoForward)
	if err != nil {
		return nil, err
	}
	l.addr, l.client = addr, call.NewClient(conn)
	return l.client, nil
}

func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for _, l := range open {
		l.turn <- struct{}{}
		if l.client != nil {
			l.client.Close()
			l.client = nil
		}
		<-l.turn
	}
}

// serveForward answers another server.
func (n *Node) serveForward(ctx context.Context, conn net.Conn, _ *x509.Certificate) {
	call.Serve(ctx, conn, questionsAtOnce, func(ctx context.Context, kind byte, body []byte) ([]byte, error) {
		switch kind {
		case askPropose:
			return n.answerPropose(body)
		case askIndex:
			index, err := n.readIndex(ctx)
			if err != nil {
				return nil, err
			}
			return binary.BigEndian.AppendUint64(nil, index), nil
		case askStatus:
			if _, err := n.running(); err != nil {
				return nil, err // it would be given a vote that it cannot cast yet
			}
			return cbor.Marshal(n.statusNow())
		case askSum:
			return n.answerSum(ctx, body)
		case askStop:
			n.stop(fmt.Errorf("%w: %s", ErrParted, body))
			return nil, nil
		case askReadOnly:
			n.turnReadOnly(string(body))
			return nil, nil
		case askSecrets:
			return n.answerSecrets()
		case askAnnounce:
			return n.answerAnnounce(ctx, body)
		case askMember:
			return n.answerMember(body)
		}
		return nil, fmt.Errorf("question %d is unknown here", kind)
	})
}

// status is what the leader wants to know of a server.
type status struct {
	Wall    int64  `cbor:"1,keyasint"` // milliseconds since 1970
	Applied uint64 `cbor:"2,keyasint"`
	Reads   uint32 `cbor:"3,keyasint"` // the newest format that it can read
	LowDisk string `cbor:"4,keyasint,omitempty"`
	Alarm   string `cbor:"5,keyasint,omitempty"`
}

func (n *Node) statusNow() status {
	low, _ := n.lowDisk.Load().(string)
	return status{Wall: n.cfg.Wall().UnixMilli(), Applied: n.fsm.applied.now(), Reads: machine.FormatMax, LowDisk: low, Alarm: n.Alarm()}
}

// statusOf asks one server; took is how long the answer was on its way.
func (n *Node) statusOf(ctx context.Context, id, addr string) (s status, took time.Duration, err error) {
	before := time.Now()
	b, err := n.peers.ask(ctx, id, addr, askStatus, nil)
	if err != nil {
		return s, 0, fmt.Errorf("ask server %s how it is: %w", id, err)
	}
	if err := cbor.Unmarshal(b, &s); err != nil {
		return s, 0, fmt.Errorf("read how server %s is: %w", id, err)
	}
	return s, time.Since(before), nil
}

// alarmsMax bounds how long servers are waited for that are asked for their alarms.
const alarmsMax = time.Second

// Alarms are the alarms of all servers, by id, as they tell; one that tells nothing is one.
func (n *Node) Alarms(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, alarmsMax)
	defer cancel()
	var (
		mu     sync.Mutex
		asked  sync.WaitGroup
		alarms = map[string]string{}
	)
	note := func(id, text string) {
		mu.Lock()
		defer mu.Unlock()
		if text != "" {
			alarms[id] = text
		}
	}
	for _, s := range n.Servers() {
		switch {
		case s.Removed:
		case s.ID == n.ID():
			note(s.ID, n.Alarm())
		default:
			asked.Go(func() {
				said, _, err := n.statusOf(ctx, s.ID, s.Cluster)
				if err != nil {
					said.Alarm = "it does not answer: " + err.Error()
				}
				note(s.ID, said.Alarm)
			})
		}
	}
	asked.Wait()
	return alarms
}
