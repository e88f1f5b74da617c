package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/pki"
)

// certFile writes a self-signed certificate and its key, and returns its fingerprint.
func certFile(t *testing.T, dir string, at time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(at.Unix()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"coinop.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return client.Pin(pki.PinOf(der)).String()
}

// looksAt shakes hands with what a public interface offers.
func looksAt(t *testing.T, p *public, pin string) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	secured := p.secure(ln)
	go func() {
		conn, err := secured.Accept()
		if err == nil {
			_, _ = conn.Read(make([]byte, 1)) // shakes hands
			conn.Close()
		}
	}()
	address, err := client.ParseAddress("https://" + ln.Addr().String() + "#" + pin)
	if err != nil {
		t.Fatal(err)
	}
	transport := client.NewTransport()
	transport.Pin(address.Host, *address.Pin, "test")
	return transport.Look(t.Context(), address)
}

func TestARenewedCertificateIsShownWithoutARestart(t *testing.T) {
	dir, began := t.TempDir(), time.Now().Add(-time.Hour)
	first := certFile(t, dir, began)
	c := Config{
		HTTP: "127.0.0.1:2770", HTTPSCert: filepath.Join(dir, "cert.pem"), HTTPSKey: filepath.Join(dir, "key.pem"), Log: slog.New(slog.DiscardHandler),
	}
	p, err := newPublic(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if url, err := p.url(t.Context(), "127.0.0.1:2770"); err != nil || url != "https://127.0.0.1:2770#"+first {
		t.Errorf("%s, %v", url, err)
	}
	if err := looksAt(t, p, first); err != nil {
		t.Errorf("the first: %v", err)
	}
	second := certFile(t, dir, began.Add(time.Minute))
	if err := looksAt(t, p, second); err != nil {
		t.Errorf("the renewed one: %v", err)
	}
	var strange *client.Distrust
	if err := looksAt(t, p, first); !errors.As(err, &strange) || strange.Shown.String() != second {
		t.Errorf("the old one: %v", err)
	}
	// Half a renewal changes nothing.
	if err := os.WriteFile(c.HTTPSKey, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := looksAt(t, p, second); err != nil {
		t.Errorf("while it is being renewed: %v", err)
	}
	if names := strings.Join(p.names(), " "); !strings.Contains(names, "coinop.example") {
		t.Errorf("its certificate's names are not its own: %s", names)
	}
}

func TestOnlyLoopbackIsSpokenToInPlain(t *testing.T) {
	none := func(context.Context) (*pki.Authority, error) { return nil, errors.New("none") }
	for listen, want := range map[string][2]bool{ // by itself, and where the operator wants plain HTTP
		"127.0.0.1:2770": {false, false}, "127.0.0.2:2770": {false, false}, "[::1]:2770": {false, false}, "localhost:2770": {false, false},
		"0.0.0.0:2770": {true, false}, ":2770": {true, false}, "[::]:2770": {true, false}, "10.0.0.1:2770": {true, false}, "s1:2770": {true, false},
	} {
		for i, plain := range []bool{false, true} {
			p, err := newPublic(Config{HTTP: listen, PlainHTTP: plain}, none)
			if err != nil {
				t.Fatal(err)
			}
			if p.secured() != want[i] {
				t.Errorf("%s, plain wanted %t: secured %t", listen, plain, p.secured())
			}
		}
	}
}

func TestFilesForHTTPSAreReadAtTheStart(t *testing.T) {
	dir := t.TempDir()
	certFile(t, dir, time.Now())
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for want, c := range map[string]Config{
		"needs both files":         {HTTPSCert: cert},
		"choose one":               {HTTPSCert: cert, HTTPSKey: key, PlainHTTP: true},
		"no such file":             {HTTPSCert: cert, HTTPSKey: filepath.Join(dir, "none")},
		"read the certificate for": {HTTPSCert: key, HTTPSKey: key},
	} {
		if _, err := newPublic(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
