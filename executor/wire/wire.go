// Package wire is the protocol between servers and executors.
//
// An executor dials; from then on both sides call each other over that one connection: yamux carries streams in both
// directions and gRPC runs on the streams. A server calls Accept for each connection, with an implementation of
// ServersServer made for it, so that Sync and the blob calls know whose they are:
//
//	session, err := wire.Accept(conn, &executorHandler{node: node})
//	...
//	defer session.Close()
//	<-session.Done()
//
// and reads logs through session.Node from any goroutine. The executor calls Connect and uses Link.Servers.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

//go:generate go tool -modfile=../../tools/proto/go.mod buf generate

const (
	// ALPN names this protocol on the cluster port.
	ALPN = "coinop/executor"
	// MessageBytesMax bounds one message. A server that has more new specs than fit names their runs in a later set.
	MessageBytesMax = 32 << 20
	// ChunkBytes is how much of a blob or log goes into one message.
	ChunkBytes = 128 << 10

	// windowBytes is what may be on its way in one call. Given, it need not be found out: gRPC would send a ping of its own
	// beside each message, which are most of what idle machines would say. The stream below has less.
	windowBytes = 1 << 20
	// bufferBytes is what is read at once; the stream below has a buffer too, and a server has thousands of these.
	bufferBytes = 4 << 10

	// silenceMax is after how long a connection ends over which nothing came: three heartbeats, or their answers.
	silenceMax   = 30 * time.Second
	writeTimeout = 10 * time.Second
)

// Session is the server's end of an executor's connection.
type Session struct {
	Node NodeClient // calls the executor
	*peer
}

// Link is the executor's end of a connection to a server.
type Link struct {
	Servers ServersClient // calls the server
	*peer
}

// Accept takes over conn, which the executor has dialled and both sides have authenticated. Calls of the executor go to
// servers until the session is closed or the connection breaks. The session must be closed in either case.
func Accept(conn net.Conn, servers ServersServer) (*Session, error) {
	return accept(conn, servers, patience{silenceMax, writeTimeout})
}

func accept(conn net.Conn, servers ServersServer, p patience) (*Session, error) {
	mux, err := newMux(conn, yamux.Server, p)
	if err != nil {
		return nil, fmt.Errorf("accept executor: %w", err)
	}
	return newSession(mux, servers)
}

// Connect takes over conn, which this side has dialled. Calls of the server go to node.
func Connect(conn net.Conn, node NodeServer) (*Link, error) {
	mux, err := newMux(conn, yamux.Client, patience{silenceMax, writeTimeout})
	if err != nil {
		return nil, fmt.Errorf("connect to server: %w", err)
	}
	return newLink(mux, node)
}

func newSession(mux mux, servers ServersServer) (*Session, error) {
	p, err := newPeer(mux, func(r grpc.ServiceRegistrar) { RegisterServersServer(r, servers) })
	if err != nil {
		return nil, fmt.Errorf("accept executor: %w", err)
	}
	return &Session{Node: NewNodeClient(p.client), peer: p}, nil
}

func newLink(mux mux, node NodeServer) (*Link, error) {
	p, err := newPeer(mux, func(r grpc.ServiceRegistrar) { RegisterNodeServer(r, node) })
	if err != nil {
		return nil, fmt.Errorf("connect to server: %w", err)
	}
	return &Link{Servers: NewServersClient(p.client), peer: p}, nil
}

// peer is one end of a connection: it serves one service and calls another.
type peer struct {
	mux    mux
	client *grpc.ClientConn
	server *grpc.Server
	served chan struct{} // closed when server.Serve has returned
	once   sync.Once
}

func newPeer(mux mux, register func(grpc.ServiceRegistrar)) (*peer, error) {
	p := &peer{mux: mux, served: make(chan struct{})}
	var err error
	p.client, err = grpc.NewClient("passthrough:///peer",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection below is authenticated already
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return mux.Open() }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MessageBytesMax), grpc.MaxCallSendMsgSize(MessageBytesMax)),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make client: %w", err), mux.Close())
	}
	p.server = grpc.NewServer(grpc.MaxRecvMsgSize(MessageBytesMax), grpc.MaxSendMsgSize(MessageBytesMax),
		grpc.StaticStreamWindowSize(windowBytes), grpc.StaticConnWindowSize(windowBytes),
		grpc.ReadBufferSize(bufferBytes), grpc.WaitForHandlers(true))
	register(p.server)
	go func() {
		defer close(p.served)
		_ = p.server.Serve(mux) // ends with the connection, which Done tells
	}()
	return p, nil
}

// Done is closed when the connection is gone, whichever side ended it.
func (p *peer) Done() <-chan struct{} { return p.mux.CloseChan() }

// Close ends all calls and the connection, and returns when nothing of them runs any more: no handler, no goroutine.
// It must not be called from a handler of this connection. Repeated, it does nothing.
func (p *peer) Close() error {
	var err error
	p.once.Do(func() {
		err = errors.Join(p.client.Close(), p.mux.Close())
		p.server.Stop()
		<-p.served
	})
	return err
}
