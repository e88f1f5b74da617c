package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/pki"
)

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority("test", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func httpCert(t *testing.T, a *pki.Authority, names ...string) tls.Certificate {
	t.Helper()
	c, err := a.IssueHTTP(rand.Reader, names)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownCert is a certificate that nobody has signed but its key.
func ownCert(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure is a server that shows a certificate and counts requests; its address is HOST:PORT.
func secure(t *testing.T, cert tls.Certificate, asked *atomic.Int32) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"jobs":[]}`)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func pin(der []byte) string { return fmt.Sprintf("#sha256=%x", sha256.Sum256(der)) }

// asks sends one request to a server by its address.
func asks(t *testing.T, address string) error {
	t.Helper()
	c, err := client.New(client.Config{Servers: []string{address}, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	_, err = c.ServerList(context.Background())
	return err
}

func TestAServerIsKnownByItsFingerprint(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	leaf := httpCert(t, ours)
	own, late := ownCert(t, time.Now().Add(time.Hour)), ownCert(t, time.Now().Add(-time.Hour))
	for _, c := range []struct {
		name  string
		shows tls.Certificate
		pin   string
		wrong string // in the error; empty: it is asked
	}{
		{"the authority", leaf, pin(ours.Cert.Raw), ""},
		{"its own certificate below an authority", leaf, pin(leaf.Certificate[0]), ""},
		{"a certificate of its own", own, pin(own.Certificate[0]), ""},
		{"with colons, in capitals", own, colons(pin(own.Certificate[0])), ""},
		{"another authority", leaf, pin(other.Cert.Raw), "it is not the server that is known here: its fingerprint is " + pin(ours.Cert.Raw)[1:]},
		{"an authority that only stands beside", beside(own, ours), pin(ours.Cert.Raw), "x509"},
		{"a member of the cluster that is no server", executor(t, ours), pin(ours.Cert.Raw), "x509"},
		{"expired", late, pin(late.Certificate[0]), "has expired on"},
		{"none", leaf, "", "nobody vouches for its certificate; if its operator confirms the fingerprint, write https://127.0.0.1:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			host := secure(t, c.shows, &asked)
			err := asks(t, "https://"+host+c.pin)
			if c.wrong == "" {
				if err != nil || asked.Load() != 1 {
					t.Fatalf("%v, asked %d times", err, asked.Load())
				}
				return
			}
			var unreachable *client.Unreachable
			if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), c.wrong) || asked.Load() != 0 {
				t.Fatalf("%v, asked %d times", err, asked.Load())
			}
		})
	}
}

// colons writes a fingerprint as openssl does.
func colons(pin string) string {
	name, digits, _ := strings.Cut(pin, "=")
	var pairs []string
	for i := 0; i < len(digits); i += 2 {
		pairs = append(pairs, strings.ToUpper(digits[i:i+2]))
	}
	return name + "=" + strings.Join(pairs, ":")
}

// beside is a chain that shows an authority which has signed nothing of it.
func beside(c tls.Certificate, a *pki.Authority) tls.Certificate {
	c.Certificate = [][]byte{c.Certificate[0], a.Cert.Raw}
	return c
}

func executor(t *testing.T, a *pki.Authority) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Issue(pki.Executor, "n1", csr)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.Cert.Raw}, PrivateKey: key}
}

func TestTheWrongProtocolIsNamed(t *testing.T) {
	var asked atomic.Int32
	cert := ownCert(t, time.Now().Add(time.Hour))
	host := secure(t, cert, &asked)
	var problem *client.Problem
	if err := asks(t, "http://"+host); !errors.As(err, &problem) || problem.Code != "https" || !strings.Contains(problem.Do, "https://"+host+"#sha256=") {
		t.Errorf("plain HTTP to HTTPS: %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	host = plain.Listener.Addr().String()
	if err := asks(t, "https://"+host+pin(cert.Certificate[0])); err == nil || !strings.Contains(err.Error(), "it speaks plain HTTP, not HTTPS: if its operator wants that, write http://"+host) {
		t.Errorf("HTTPS to plain HTTP: %v", err)
	}
	if asked.Load() != 0 {
		t.Error("a request came through")
	}
}

// The next server of the cluster is asked where one is not the one that is known.
func TestAStrangerInTheListIsPassedOver(t *testing.T) {
	var asked, strange atomic.Int32
	a := newAuthority(t)
	good, bad := secure(t, httpCert(t, a), &asked), secure(t, httpCert(t, newAuthority(t)), &strange)
	c, err := client.New(client.Config{Servers: []string{"https://" + bad + pin(a.Cert.Raw), "https://" + good + pin(a.Cert.Raw)}, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	if _, err := c.ServerList(context.Background()); err != nil || asked.Load() != 1 || strange.Load() != 0 {
		t.Fatalf("%v, asked %d and %d times", err, asked.Load(), strange.Load())
	}
}

func TestAddresses(t *testing.T) {
	digits := strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		"127.0.0.1:2770":                                "http://127.0.0.1:2770 127.0.0.1:2770 -",
		"localhost:1":                                   "http://localhost:1 localhost:1 -",
		"[::1]:2770":                                    "http://[::1]:2770 [::1]:2770 -",
		" s1:2770 ":                                     "https://s1:2770 s1:2770 -",
		"10.0.0.1:2770#sha256=" + digits:                "https://10.0.0.1:2770 10.0.0.1:2770 " + digits,
		"https://S1.Example/#sha256=" + digits:          "https://s1.example s1.example:443 " + digits,
		"https://s1/x/":                                 "https://s1/x s1:443 -",
		"http://s1:2770":                                "http://s1:2770 s1:2770 -",
		"http://s1:2770#sha256=" + digits:               "only https://",
		"https://s1#sha256=" + digits[2:]:               "is not a fingerprint",
		"https://s1#sha256=" + digits + "00":            "is not a fingerprint",
		"https://s1#sha1=" + digits:                     "is not a fingerprint",
		"https://s1#sha256=" + strings.Repeat("0g", 32): "is not a fingerprint",
		"ftp://s1":                                      "want HOST:PORT",
		"https://a:b@s1":                                "want HOST:PORT",
		"https://s1?x=1":                                "want HOST:PORT",
		"":                                              "want HOST:PORT",
		"https://":                                      "want HOST:PORT",
		"https://:2770":                                 "want HOST:PORT",
	} {
		a, err := client.ParseAddress(text)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", text, err, want)
			}
			continue
		}
		pin := "-"
		if a.Pin != nil {
			pin = strings.TrimPrefix(a.Pin.String(), "sha256=")
		}
		if got := a.URL + " " + a.Host + " " + pin; got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// The client's name for a cluster's HTTPS and the authority's are the same word in two rooms.
func TestTheClusterHasOneName(t *testing.T) {
	if client.ClusterHost != pki.HTTPHost {
		t.Errorf("%s and %s", client.ClusterHost, pki.HTTPHost)
	}
}

// What the cluster's authority makes for HTTPS can also be checked by name, as other programs do, and opens no port of the
// cluster's.
func TestACertificateForHTTPSBearsTheServersNames(t *testing.T) {
	a := newAuthority(t)
	cert, err := x509.ParseCertificate(httpCert(t, a, "s1.example", "10.0.0.1").Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	for _, name := range []string{"s1.example", "10.0.0.1", pki.HTTPHost} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pki.Check(a.Cert, []*x509.Certificate{cert}, pki.Server) == nil || pki.Check(a.Cert, []*x509.Certificate{cert}, pki.Executor) == nil {
		t.Error("it passes for a member")
	}
}
