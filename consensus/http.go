package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coinop/coinop/consensus/port"
)

// serveHTTP answers other servers' HTTP on the cluster port.
func (n *Node) serveHTTP(ctx context.Context, cluster *port.TLS) error {
	ln := port.NewListener(cluster.Addr())
	defer ln.Close()
	cluster.Handle(ProtoHTTP, ln.Handle)
	server := &http.Server{
		Handler: n.mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("serve other servers: %w", err)
	}
	return nil
}

// PeerClient calls other servers' Mux: the host of a URL is a server's id, as in http://ID/path.
// Close its idle connections when it is not needed any more.
func (n *Node) PeerClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, _, hostport string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(hostport)
			if err != nil {
				return nil, fmt.Errorf("call a server: %w", err)
			}
			s, ok := n.View().Server(id)
			p := n.port.Load()
			switch {
			case p == nil:
				return nil, ErrNotRunning
			case !ok:
				return nil, fmt.Errorf("call server %q: it is not a member", id)
			}
			return p.Dial(ctx, s.Cluster, ProtoHTTP)
		},
	}}
}

// Peers are the other servers that belong.
func (n *Node) Peers() []Server {
	var list []Server
	for _, s := range n.Servers() {
		if s.ID != n.ID() {
			list = append(list, *s)
		}
	}
	return list
}
