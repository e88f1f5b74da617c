package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
)

// HTTPHost is a name in every certificate with which a server of the cluster speaks HTTPS. Whoever pins the authority
// asks for it: members' certificates lack it, so no executor can pass for a server, and this one opens no cluster port.
const HTTPHost = "http.coinop"

// IssueHTTP makes a key and a certificate for a server's public interface, for clients that pin the authority; names
// and addresses are for those that know it as a root and compare names. Both live as long as the process: nothing
// remembers them.
func (a *Authority) IssueHTTP(random io.Reader, names []string) (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key for HTTPS: %w", err)
	}
	var serial [16]byte
	if _, err := io.ReadFull(random, serial[:]); err != nil {
		return tls.Certificate{}, fmt.Errorf("number a certificate for HTTPS: %w", err)
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and of one length
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]),
		Subject:      pkix.Name{CommonName: HTTPHost},
		DNSNames:     []string{HTTPHost},
		NotBefore:    a.Cert.NotBefore,
		NotAfter:     validTo,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue a certificate for HTTPS: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.Cert.Raw}, PrivateKey: key}, nil
}
