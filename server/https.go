package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/pki"
)

// public is the HTTP interface's address, as others know it: plain on loopback, HTTPS elsewhere, with the operator's
// certificate or one of the cluster's own authority.
type public struct {
	listen    string   // HOST:PORT as configured
	hosts     []string // names that the operator has given
	plain     bool     // the operator wants plain HTTP
	files     *certFiles
	authority func(context.Context) (*pki.Authority, error) // the cluster's, once this server belongs to one

	mu   sync.Mutex
	made *tls.Certificate // guarded by mu; by the authority
}

func newPublic(c Config, authority func(context.Context) (*pki.Authority, error)) (*public, error) {
	p := &public{listen: c.HTTP, hosts: c.Hosts, plain: c.PlainHTTP, authority: authority}
	switch {
	case (c.HTTPSCert == "") != (c.HTTPSKey == ""):
		return nil, errors.New("HTTPS needs both files, the certificate and its key")
	case c.HTTPSCert == "":
		return p, nil
	case c.PlainHTTP:
		return nil, errors.New("a certificate was given, and plain HTTP wanted: choose one")
	}
	p.files = &certFiles{cert: c.HTTPSCert, key: c.HTTPSKey, log: c.Log}
	return p, p.files.read()
}

// secured reports whether the interface speaks HTTPS. Money and keys travel over it, so only this machine is spoken to
// in plain by itself.
func (p *public) secured() bool { return p.files != nil || !p.plain && !client.OnLoopback(p.listen) }

// secure makes a listener speak HTTPS. It offers no HTTP/2: one request at a time is what a connection may ask.
func (p *public) secure(ln net.Listener) net.Listener {
	if !p.secured() {
		return ln
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return p.certificate(hello.Context()) },
	})
}

func (p *public) certificate(ctx context.Context) (*tls.Certificate, error) {
	if p.files != nil {
		return p.files.current(), nil
	}
	p.mu.Lock()
	made := p.made
	p.mu.Unlock()
	if made != nil {
		return made, nil
	}
	authority, err := p.authority(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		cert, err := authority.IssueHTTP(rand.Reader, p.names())
		if err != nil {
			return nil, err
		}
		p.made = &cert
	}
	return p.made, nil
}

// names are what this server may be called: what the operator has said, and where it listens.
func (p *public) names() []string {
	names := slices.Clone(p.hosts)
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	if p.files != nil {
		names = append(names, p.files.names()...)
	}
	host, _, err := net.SplitHostPort(p.listen)
	if ip, bad := netip.ParseAddr(host); err == nil && host != "" && (bad != nil || !ip.IsUnspecified()) {
		return append(names, host)
	}
	names = append(names, "localhost")
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return names
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLinkLocalUnicast() {
			names = append(names, prefix.Addr().String())
		}
	}
	return names
}

// url is the interface's address for clients, with its fingerprint where no root of theirs vouches for it.
func (p *public) url(ctx context.Context, listening string) (string, error) {
	base := p.base(listening)
	if !p.secured() || p.files != nil && p.files.vouched() {
		return base, nil
	}
	cert, err := p.certificate(ctx)
	if err != nil {
		return "", err
	}
	shown := cert.Certificate[0] // of a chain in a file nobody knows which part stays the same
	if p.files == nil {
		shown = cert.Certificate[len(cert.Certificate)-1]
	}
	return base + "#" + client.Pin(pki.PinOf(shown)).String(), nil
}

// base is the address without a fingerprint. Who listens on all addresses names one that others can dial.
func (p *public) base(listening string) string {
	scheme := "http://"
	if p.secured() {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(listening)
	ip, bad := netip.ParseAddr(host)
	if err != nil || host != "" && (bad != nil || !ip.IsUnspecified()) {
		return scheme + listening
	}
	names := p.names()
	if len(p.hosts) == 0 {
		names = slices.DeleteFunc(names, func(name string) bool {
			ip, err := netip.ParseAddr(name)
			return err != nil || ip.IsLoopback()
		})
	}
	return scheme + net.JoinHostPort(append(names, "127.0.0.1")[0], port)
}

// certFiles are a certificate and its key, which may be renewed while the server runs.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate // guarded by mu
	at     time.Time        // guarded by mu; of the newer file, when it was read
}

func (f *certFiles) changed() (time.Time, error) {
	cert, err := os.Stat(f.cert)
	if err != nil {
		return time.Time{}, err
	}
	key, err := os.Stat(f.key)
	if err != nil {
		return time.Time{}, err
	}
	if at := key.ModTime(); at.After(cert.ModTime()) {
		return at, nil
	}
	return cert.ModTime(), nil
}

func (f *certFiles) read() error {
	at, err := f.changed()
	if err != nil {
		return fmt.Errorf("read the certificate for HTTPS: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("read the certificate for HTTPS from %s and %s: %w", f.cert, f.key, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded, f.at = &cert, at
	return nil
}

// current is the certificate in the files. Ones that cannot be read change nothing: they may be half renewed.
func (f *certFiles) current() *tls.Certificate {
	f.mu.Lock()
	before := f.at
	f.mu.Unlock()
	if at, err := f.changed(); err == nil && !at.Equal(before) {
		if err := f.read(); err != nil {
			f.log.Warn("the certificate stays as it was", "err", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loaded
}

func (f *certFiles) names() []string {
	return slices.DeleteFunc(slices.Clone(f.current().Leaf.DNSNames), func(name string) bool { return strings.HasPrefix(name, "*") })
}

// vouched reports whether this machine's roots know who signed: others' will, too.
func (f *certFiles) vouched() bool {
	c := f.current()
	between := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Intermediates: between})
	return err == nil
}
