package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	dialMax      = 3 * time.Second
	handshakeMax = 10 * time.Second
)

// Transport makes the connections of one user's requests, and knows by which certificates its servers are known. It is
// safe for use by many goroutines.
type Transport struct {
	dialer net.Dialer
	plain  *http.Transport

	mu   sync.Mutex
	pins map[string]known           // guarded by mu; by HOST:PORT
	tls  map[string]*http.Transport // guarded by mu; by HOST:PORT: each has a pin of its own
}

// known is how a server is known, and who says so.
type known struct {
	pin  Pin
	from string
}

// NewTransport makes a transport that knows no server yet: their certificates must be vouched for by the machine's
// roots until they are pinned.
func NewTransport() *Transport {
	t := &Transport{dialer: net.Dialer{Timeout: dialMax}, pins: map[string]known{}, tls: map[string]*http.Transport{}}
	t.plain = t.connections()
	return t
}

// connections has no timeout for the whole: logs and events stream for hours. Contexts bound the rest.
func (t *Transport) connections() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           t.dialer.DialContext,
		ResponseHeaderTimeout: 60 * time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
	}
}

// Pin says by which certificate the server at HOST:PORT is known: from then on no other is taken, whoever vouches for
// it. From names the source of this knowledge, for errors. The first word on a server counts.
func (t *Transport) Pin(host string, pin Pin, from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.pins[host]; !ok {
		t.pins[host] = known{pin, from}
	}
}

// Pinned reports whether the server at HOST:PORT is known by a certificate.
func (t *Transport) Pinned(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.pins[host]
	return ok
}

// RoundTrip is part of [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return t.plain.RoundTrip(r)
	}
	return t.secured(hostPort(r.URL)).RoundTrip(r)
}

// CloseIdleConnections closes connections that are kept for later.
func (t *Transport) CloseIdleConnections() {
	t.plain.CloseIdleConnections()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.tls {
		c.CloseIdleConnections()
	}
}

func (t *Transport) secured(host string) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.tls[host]
	if !ok {
		c = t.connections()
		c.TLSClientConfig = t.config(host) // by way of a proxy
		c.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dialTLS(ctx, host) }
		t.tls[host] = c
	}
	return c
}

func (t *Transport) config(host string) *tls.Config {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: name,
		// A pinned certificate need not bear this name nor hang from a known root: all is checked below.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			t.mu.Lock()
			k, ok := t.pins[host]
			t.mu.Unlock()
			if ok {
				return k.check(host, name, s.PeerCertificates)
			}
			return vouched(host, name, s.PeerCertificates)
		},
	}
}

// dialTLS connects and shakes hands. Whatever goes wrong here, no request was sent.
func (t *Transport) dialTLS(ctx context.Context, host string) (net.Conn, error) {
	raw, err := t.dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeMax)
	defer cancel()
	conn := tls.Client(raw, t.config(host))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: raw.RemoteAddr(), Err: notShaken(host, err)}
	}
	return conn, nil
}

func notShaken(host string, err error) error {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && strings.HasPrefix(string(header.RecordHeader[:]), "HTTP/") {
		return fmt.Errorf("it speaks plain HTTP, not HTTPS: if its operator wants that, write http://%s", host)
	}
	return err
}
