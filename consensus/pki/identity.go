package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Identity is what a member shows to others and checks them against.
type Identity struct {
	Authority *x509.Certificate
	Cert      tls.Certificate
}

// NewIdentity joins a member's files: the authority's certificate, its own and its key.
func NewIdentity(authorityPEM, certPEM, keyPEM []byte) (Identity, error) {
	authority, err := ParseCert(authorityPEM)
	if err != nil {
		return Identity{}, fmt.Errorf("read the authority's certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return Identity{}, fmt.Errorf("read the certificate and its key: %w", err)
	}
	// One who joins checks the authority by its fingerprint, so it must be shown along.
	cert.Certificate = append(cert.Certificate[:1:1], authority.Raw)
	return Identity{Authority: authority, Cert: cert}, nil
}

// Pin is the member's own pin.
func (id Identity) Pin() Pin { return PinOf(id.Cert.Certificate[0]) }

// ErrNoCertificate is told to a peer that shows none where one is needed.
var ErrNoCertificate = errors.New("no certificate was shown")

// Check says whether a peer's certificate is of this cluster and of the kind that is wanted.
// Whether the peer still belongs is another question, which the pins answer.
func Check(authority *x509.Certificate, peer []*x509.Certificate, kind Kind) error {
	if len(peer) == 0 {
		return ErrNoCertificate
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	_, err := peer[0].Verify(x509.VerifyOptions{
		Roots:     roots,
		DNSName:   kind.Host(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("check the certificate of a peer that should be a %s: %w", kind, err)
	}
	return nil
}

// Dialing is the TLS configuration with which a member calls a server for one protocol.
func (id Identity) Dialing(proto string, admit func(*x509.Certificate) error) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(id.Authority)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.Cert},
		RootCAs:      roots,
		ServerName:   Server.Host(),
		NextProtos:   []string{proto},
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != proto {
				return fmt.Errorf("the server does not speak %s", proto)
			}
			if admit == nil {
				return nil
			}
			return admit(s.PeerCertificates[0])
		},
	}
}

// Joining is the TLS configuration of one who has no certificate yet: all it knows of the cluster
// is the authority's fingerprint from its token.
func Joining(proto string, authority Pin) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{proto},
		ServerName: Server.Host(),
		// The chain is checked below, against the fingerprint instead of a known root.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates {
				if PinOf(c.Raw) == authority {
					return Check(c, s.PeerCertificates, Server)
				}
			}
			return errors.New("this is another cluster than the join token's: its authority has another fingerprint")
		},
	}
}
