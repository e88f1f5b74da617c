// Package pki says who belongs to a cluster: its authority, its members' certificates and the tokens that let new ones in.
package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"time"
)

// Kind is what a member is; it is written into its certificate and into the token that lets it in.
type Kind string

// The two kinds of members.
const (
	Server   Kind = "server"
	Executor Kind = "executor"
)

// Host is the name that a certificate of this kind carries and that a dialler asks for.
func (k Kind) Host() string { return string(k) + ".coinop" }

// Known says whether k is a kind at all.
func (k Kind) Known() bool { return k == Server || k == Executor }

// Pin is the SHA-256 of a certificate: the replicated state lists the pins of those who belong.
type Pin [32]byte

// PinOf is the pin of a certificate in DER.
func PinOf(der []byte) Pin { return sha256.Sum256(der) }

// Authority signs members' certificates. Every server has it, so any server can let a member in.
type Authority struct {
	Cert *x509.Certificate
	key  ed25519.PrivateKey
}

// validTo has no meaning of its own: who has left is told by the pins, which bite at once, while
// an expiry would only stop a cluster that nobody looked at for long.
var validTo = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster string, random io.Reader, now time.Time) (*Authority, error) {
	pub, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "coinop cluster " + cluster},
		// Clocks of members may lag: a day is more than any that can take part.
		NotBefore:             now.Add(-24 * time.Hour).UTC().Truncate(time.Second),
		NotAfter:              validTo,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(random, template, template, pub, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return &Authority{Cert: cert, key: key}, nil
}

// ParseAuthority reads what CertPEM and KeyPEM wrote and checks that they belong together.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("read the authority: the key is not the certificate's")
	}
	return &Authority{Cert: cert, key: key}, nil
}

// Fingerprint is what join tokens carry.
func (a *Authority) Fingerprint() Pin { return PinOf(a.Cert.Raw) }

// CertPEM is public.
func (a *Authority) CertPEM() []byte { return CertPEM(a.Cert.Raw) }

// KeyPEM is the authority's secret: servers only.
func (a *Authority) KeyPEM() ([]byte, error) { return KeyPEM(a.key) }

const memberNameMax = 63

// memberName has no counted repetition: every command would compile that when it starts.
var memberName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// CheckName says whether a member may be called that.
func CheckName(name string) error {
	if len(name) > memberNameMax || !memberName.MatchString(name) {
		return fmt.Errorf("name %q: use 1 to 63 of a-z, 0-9, dot and dash, beginning and ending with a letter or digit", name)
	}
	return nil
}

// Issue makes the certificate of a member from its signing request. It is a pure function of the
// authority, the kind, the name and the member's key: whoever asks again, of whichever server,
// gets the same bytes, so a lost answer costs nothing and the pin in the state still holds.
func (a *Authority) Issue(kind Kind, name string, csrDER []byte) ([]byte, error) {
	if !kind.Known() {
		return nil, fmt.Errorf("issue a certificate: no kind %q", kind)
	}
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("read the signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check the signing request: %w", err)
	}
	if _, ok := csr.PublicKey.(ed25519.PublicKey); !ok {
		return nil, errors.New("check the signing request: the key is not Ed25519")
	}
	serial := sha256.Sum256(append([]byte(string(kind)+"/"+name+"/"), csr.RawSubjectPublicKeyInfo...))
	serial[0] = serial[0]&0x7f | 0x40 // positive, and of one length
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:16]),
		Subject:      pkix.Name{CommonName: name, OrganizationalUnit: []string{string(kind)}},
		DNSNames:     []string{kind.Host()},
		NotBefore:    a.Cert.NotBefore,
		NotAfter:     validTo,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, csr.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s %s: %w", kind, name, err)
	}
	return der, nil
}

// ServerName is a server's id, which follows from its key: so that nobody joins as another.
func ServerName(publicKeyDER []byte) string {
	sum := sha256.Sum256(publicKeyDER)
	return "s" + hex.EncodeToString(sum[:8])
}

// NameOf is what a certificate was issued for.
func NameOf(cert *x509.Certificate) string { return cert.Subject.CommonName }

// NewKey makes a member's key.
func NewKey(random io.Reader) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// Request is the signing request for a key.
func Request(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	return der, nil
}

// CertPEM wraps a certificate for a file.
func CertPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ParseCert reads one certificate.
func ParseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no CERTIFICATE in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	return cert, nil
}

// KeyPEM wraps a private key for a file.
func KeyPEM(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a private key.
func ParseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no PRIVATE KEY in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not Ed25519")
	}
	return ed, nil
}
