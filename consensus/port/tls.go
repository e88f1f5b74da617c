package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/coinop/coinop/consensus/pki"
)

const handshakeMax = 10 * time.Second

// TLSConfig is what a port needs.
type TLSConfig struct {
	Listener net.Listener // owned by the port from now on
	Network  Network      // that it calls others by
	Identity pki.Identity
	Open     map[string]bool     // protocols that take peers without a certificate
	Kinds    map[string]pki.Kind // the kind that a protocol wants; Server where nothing is said
	// Elsewhere says that machines should call another server now. Nil: they never should.
	Elsewhere func() bool
	// Admit says whether the certificate is still a member's of that kind. It is asked at every
	// handshake, on either side.
	Admit func(kind pki.Kind, cert *x509.Certificate) error
	Log   *slog.Logger
}

// TLS is a port with mutual TLS; the protocol is negotiated by ALPN.
type TLS struct {
	cfg TLSConfig
	ln  net.Listener
	h   *handlers

	callers   turns // who shakes hands and is no server
	entering  turns // machines that are members, until their handlers have told them something
	redirects seldom
}

// NewTLS makes a port; it answers from Serve on.
func NewTLS(cfg TLSConfig) *TLS {
	return &TLS{cfg: cfg, ln: cfg.Listener, h: newHandlers(), callers: newCallers(), entering: newTurns(enteringMost, enteredMost)}
}

// Addr is where others reach this port.
func (p *TLS) Addr() string { return p.ln.Addr().String() }

// Handle says who takes connections of a protocol; nil: nobody from now on.
func (p *TLS) Handle(proto string, f Handler) { p.h.set(proto, f) }

// Serve accepts until ctx ends, then closes every connection and waits for the handlers.
func (p *TLS) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.ln.Close() })
	defer stop()
	defer p.h.close()
	defer p.ln.Close()
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on the cluster port: %w", err)
			}
			p.cfg.Log.Warn("accept on the cluster port", "error", err)
			continue
		}
		p.h.start(conn, func() { p.serve(ctx, conn) })
	}
}

// Drop closes what peers that are gone have open here. One whose handshake is under way is asked for by Admit.
func (p *TLS) Drop(gone func(peer *x509.Certificate) bool) { p.h.drop(gone) }

// Close gives the address back if Serve was never called.
func (p *TLS) Close() error { return p.ln.Close() }

func (p *TLS) serve(ctx context.Context, raw net.Conn) {
	answers := &answered{Conn: raw}
	conn := tls.Server(answers, p.serverConfig(answers))
	limited, cancel := context.WithTimeout(ctx, handshakeMax)
	err := conn.HandshakeContext(limited)
	cancel()
	if answers.end != nil {
		answers.end()
	}
	if err != nil {
		p.cfg.Log.Info("a peer was turned away", "error", Addressless(err))
		return
	}
	state := conn.ConnectionState()
	f, ok := p.h.get(state.NegotiatedProtocol)
	if !ok {
		return
	}
	var peer *x509.Certificate
	if len(state.PeerCertificates) > 0 {
		peer = state.PeerCertificates[0]
		p.h.is(raw, peer)
	}
	if p.ofMachines(state.NegotiatedProtocol) {
		if answers.entered, err = p.enter(ctx); err != nil {
			p.cfg.Log.Info("a machine was turned away", "error", err)
			return
		}
		defer answers.entered()
	}
	f(ctx, conn, peer)
	conn.Close()
}

// enter waits until a machine may be let in. The returned function says that it is.
func (p *TLS) enter(ctx context.Context) (func(), error) {
	limited, cancel := context.WithTimeout(ctx, callersWait)
	defer cancel()
	end, err := p.entering.take(limited)
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(enteringMax, end)
	return func() {
		slow.Stop()
		end()
	}, nil
}

// begin lets a peer's handshake be computed, which answers.end ends.
func (p *TLS) begin(hello *tls.ClientHelloInfo, answers *answered) (err error) {
	if p.ofServers(hello.SupportedProtos) {
		return nil
	}
	if slices.ContainsFunc(hello.SupportedProtos, p.ofMachines) {
		if p.entering.full() {
			return errCrowd
		}
		if p.cfg.Elsewhere != nil && p.cfg.Elsewhere() && !p.redirects.now() {
			return errElsewhere
		}
	}
	limited, cancel := context.WithTimeout(hello.Context(), callersWait)
	defer cancel()
	answers.end, err = p.callers.take(limited)
	return err
}

func (p *TLS) serverConfig(answers *answered) *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return nil, p.begin(hello, answers) },
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{p.cfg.Identity.Cert},
		NextProtos:         p.h.protos(),
		// A resumed session would skip nothing that matters, but would have to be thought about.
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequestClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			proto := s.NegotiatedProtocol
			if proto == "" {
				return errors.New("no protocol was named")
			}
			if p.cfg.Open[proto] {
				return nil
			}
			kind := p.kindOf(proto)
			if err := pki.Check(p.cfg.Identity.Authority, s.PeerCertificates, kind); err != nil {
				return err
			}
			return p.cfg.Admit(kind, s.PeerCertificates[0])
		},
	}
}

// kindOf is who speaks a protocol.
func (p *TLS) kindOf(proto string) pki.Kind {
	if kind, ok := p.cfg.Kinds[proto]; ok {
		return kind
	}
	return pki.Server
}

// ofMachines says whether executors speak a protocol.
func (p *TLS) ofMachines(proto string) bool {
	return !p.cfg.Open[proto] && p.kindOf(proto) == pki.Executor
}

// ofServers says whether servers speak all of these protocols among themselves.
func (p *TLS) ofServers(protos []string) bool {
	for _, proto := range protos {
		if p.cfg.Open[proto] || p.kindOf(proto) != pki.Server {
			return false
		}
	}
	return true
}

// Dial calls another server's port for one protocol.
func (p *TLS) Dial(ctx context.Context, addr, proto string) (net.Conn, error) {
	conn, err := DialTLS(ctx, p.cfg.Network, addr, p.cfg.Identity.Dialing(proto, func(cert *x509.Certificate) error {
		return p.cfg.Admit(pki.Server, cert)
	}))
	if err != nil {
		return nil, fmt.Errorf("call %s for %s: %w", addr, proto, err)
	}
	return conn, nil
}
