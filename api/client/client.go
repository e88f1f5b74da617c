package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// DefaultServer is tried when no server is named.
const DefaultServer = "127.0.0.1:2770"

// Config says whom to ask and how long.
type Config struct {
	Servers  []string      // as ParseAddress reads them, tried in this order; none: DefaultServer
	Token    string        // sent as Coinop-Token where there is one
	Cluster  string        // the cluster that an earlier client has spoken with
	Index    uint64        // the highest index that it has seen there
	Patience time.Duration // how long a request is repeated while no server can say what became of it; zero: 20 s
	HTTP     *http.Client  // nil: one of its own; addresses with fingerprints want one over a *Transport
}

// Client talks to whichever server answers. It is safe for use by many goroutines.
type Client struct {
	servers  []string
	token    string
	patience time.Duration
	http     *http.Client

	mu      sync.Mutex
	cluster string // guarded by mu; who has answered last
	index   uint64 // guarded by mu; the highest seen there
	first   int    // guarded by mu; the server that answered last: asked first
}

// New checks the addresses and does nothing else.
func New(c Config) (*Client, error) {
	servers := c.Servers
	if len(servers) == 0 {
		servers = []string{DefaultServer}
	}
	client := &Client{token: c.Token, patience: c.Patience, http: c.HTTP, cluster: c.Cluster, index: c.Index}
	if client.patience == 0 {
		client.patience = 20 * time.Second
	}
	if client.http == nil {
		client.http = &http.Client{Transport: NewTransport()}
	}
	for _, s := range servers {
		address, err := ParseAddress(s)
		if err != nil {
			return nil, err
		}
		client.servers = append(client.servers, address.URL)
		if address.Pin == nil {
			continue
		}
		t, ok := client.http.Transport.(*Transport)
		if !ok {
			return nil, fmt.Errorf("server %q: these connections cannot compare fingerprints", s)
		}
		t.Pin(address.Host, *address.Pin, "its address")
	}
	return client, nil
}

// Servers are the base URLs in the order in which they were given, without fingerprints.
func (c *Client) Servers() []string { return append([]string(nil), c.servers...) }

// Seen is the cluster that has answered and the highest index seen there, for the next client of the same user.
func (c *Client) Seen() (cluster string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cluster, c.index
}

// saw remembers an answer. Another cluster at the same address counts anew.
func (c *Client) saw(cluster string, index uint64, server int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cluster != "" && cluster != c.cluster {
		c.cluster, c.index = cluster, 0
	}
	c.index = max(c.index, index)
	c.first = server
}

// forget drops an index that no server has: the cluster goes on from a saved state that is older.
func (c *Client) forget(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index == index {
		c.index = 0
	}
}

func (c *Client) position() (index uint64, first int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index, c.first
}

// CloseIdle closes connections that are kept for later.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// neverSent reports whether a request certainly did not reach a server.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
