package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Pin is the SHA-256 of a certificate, by which a server is known.
type Pin [32]byte

// pinPrefix begins a pin in the fragment of an address, which is never sent.
const pinPrefix = "sha256="

func (p Pin) String() string { return pinPrefix + hex.EncodeToString(p[:]) }

// ParsePin reads sha256= and 64 hex digits; colons between them, as openssl prints, do no harm.
func ParsePin(text string) (Pin, error) {
	var p Pin
	digits, ok := strings.CutPrefix(text, pinPrefix)
	digits = strings.ReplaceAll(digits, ":", "")
	if n, err := hex.Decode(p[:], []byte(digits[:min(len(digits), 2*len(p))])); !ok || err != nil || n != len(p) || len(digits) != 2*len(p) {
		return p, fmt.Errorf("%q is not a fingerprint: write %s and 64 hex digits", text, pinPrefix)
	}
	return p, nil
}

func pinOf(certificate []byte) Pin { return sha256.Sum256(certificate) }

// Address is where a server is, and how it is known.
type Address struct {
	URL  string // without a fragment or a slash at its end
	Host string // HOST:PORT
	Pin  *Pin   // nil: the address names none
}

// HTTPS reports whether connections to it are encrypted.
func (a Address) HTTPS() bool { return strings.HasPrefix(a.URL, "https:") }

// ParseAddress reads HOST:PORT or a URL, which may end with #sha256=…. Without a scheme it is what servers speak by
// themselves: HTTP on loopback, HTTPS elsewhere.
func ParseAddress(text string) (Address, error) {
	s := strings.TrimSpace(text)
	if !strings.Contains(s, "://") {
		scheme := "https://"
		if host, _, _ := strings.Cut(s, "#"); OnLoopback(host) {
			scheme = "http://"
		}
		s = scheme + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
		return Address{}, fmt.Errorf("server %q: want HOST:PORT or a URL", text)
	}
	var a Address
	if u.Fragment != "" {
		pin, err := ParsePin(u.Fragment)
		if err != nil {
			return Address{}, fmt.Errorf("server %q: %w", text, err)
		}
		if u.Scheme != "https" {
			return Address{}, fmt.Errorf("server %q: only https:// has a certificate to compare with a fingerprint", text)
		}
		a.Pin = &pin
	}
	u.Fragment, u.RawFragment = "", ""
	u.Host = strings.ToLower(u.Host)
	a.URL, a.Host = strings.TrimRight(u.String(), "/"), hostPort(u)
	return a, nil
}

// hostPort is the HOST:PORT that is dialled for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// OnLoopback reports whether HOST, HOST:PORT or one with a path stays on this machine.
func OnLoopback(address string) bool {
	address, _, _ = strings.Cut(address, "/")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
