package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ClusterHost is a name in the certificates that a cluster's own authority makes for its servers' HTTPS, and in no
// other of its certificates.
const ClusterHost = "http.coinop"

// Distrust says that a server did not show what it is known by, or that nothing is known of it: no request was sent.
type Distrust struct {
	Host  string // HOST:PORT
	Shown Pin    // its fingerprint
	Known *Pin   // what it should have shown; nil: nobody has said
	From  string // who says what it should have shown
}

func (e *Distrust) Error() string {
	if e.Known == nil {
		return fmt.Sprintf("nobody vouches for its certificate; if its operator confirms the fingerprint, write https://%s#%v", e.Host, e.Shown)
	}
	return fmt.Sprintf("it is not the server that is known here: its fingerprint is %v, and %s says %v. Somebody may stand in between; "+
		"ask its operator, and only if the new fingerprint is confirmed put it in the place of the old one", e.Shown, e.From, *e.Known)
}

// check compares what a server shows with how it is known: by its own certificate, or by an authority.
func (k known) check(host, name string, chain []*x509.Certificate) error {
	for i, c := range chain {
		if pinOf(c.Raw) != k.pin {
			continue
		}
		if i == 0 {
			return inTime(c, time.Now())
		}
		return below(c, chain, ClusterHost, name)
	}
	return &Distrust{Host: host, Shown: fingerprint(chain), Known: &k.pin, From: k.from}
}

func inTime(c *x509.Certificate, now time.Time) error {
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("its certificate has expired on %s: its operator must renew it", c.NotAfter.UTC().Format(day))
	case now.Before(c.NotBefore):
		return fmt.Errorf("its certificate begins on %s: is this machine's clock right?", c.NotBefore.UTC().Format(day))
	}
	return nil
}

// below checks that an authority vouches for a chain's first certificate under one of some names. A name is needed
// even so: a pinned authority may have other customers.
func below(authority *x509.Certificate, chain []*x509.Certificate, names ...string) error {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	var failed error
	for _, name := range names {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest(chain), DNSName: name})
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}

// vouched checks a chain against the machine's roots.
func vouched(host, name string, chain []*x509.Certificate) error {
	_, err := chain[0].Verify(x509.VerifyOptions{Intermediates: rest(chain), DNSName: name})
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return err // a fingerprint would not help
	}
	return &Distrust{Host: host, Shown: fingerprint(chain)}
}

func rest(chain []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range chain[1:] {
		pool.AddCert(c)
	}
	return pool
}

// fingerprint is by which of its certificates a server is best known: the cluster's authority where it shows one, which
// all its servers share, and its own otherwise.
func fingerprint(chain []*x509.Certificate) Pin {
	for _, c := range chain[1:] {
		if below(c, chain, ClusterHost) == nil {
			return pinOf(c.Raw)
		}
	}
	return pinOf(chain[0].Raw)
}

// Look shakes hands with a server and sends nothing. A server that may be asked gives no error; of one that is unknown,
// or not the one that is known, the error is a *Distrust.
func (t *Transport) Look(ctx context.Context, a Address) error {
	if !a.HTTPS() {
		return nil
	}
	conn, err := t.dialTLS(ctx, a.Host)
	if err != nil {
		return err
	}
	return conn.(*tls.Conn).Close()
}
