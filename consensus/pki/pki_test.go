package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

func newAuthority(t *testing.T, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func member(t *testing.T, a *Authority, kind Kind, name string) Identity {
	t.Helper()
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Issue(kind, name, csr)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := KeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewIdentity(a.CertPEM(), CertPEM(der), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// handshake returns what either side says of the other.
func handshake(t *testing.T, server, client *tls.Config) (error, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	serverSays := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			serverSays <- err
			return
		}
		defer c.Close()
		serverSays <- tls.Server(c, server).Handshake()
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	clientSays := tls.Client(c, client).Handshake()
	c.Close()
	return <-serverSays, clientSays
}

func serving(id Identity) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Cert}, NextProtos: []string{"coinop/test"}}
}

func TestAMemberReachesAServerOfItsCluster(t *testing.T) {
	a := newAuthority(t, "one")
	s, e := member(t, a, Server, "s1"), member(t, a, Executor, "n1")
	if _, err := handshake(t, serving(s), e.Dialing("coinop/test", nil)); err != nil {
		t.Fatalf("an executor is turned away: %v", err)
	}
}

func TestAServerOfAnotherClusterIsNotBelieved(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "one")
	if _, err := handshake(t, serving(member(t, b, Server, "s1")), member(t, a, Server, "s2").Dialing("coinop/test", nil)); err == nil {
		t.Fatal("a certificate of a foreign authority was believed")
	}
}

func TestAnExecutorCannotPoseAsAServer(t *testing.T) {
	a := newAuthority(t, "one")
	if _, err := handshake(t, serving(member(t, a, Executor, "n1")), member(t, a, Executor, "n2").Dialing("coinop/test", nil)); err == nil {
		t.Fatal("an executor's certificate was taken for a server's")
	}
	n := member(t, a, Executor, "n1")
	leaf, err := x509.ParseCertificate(n.Cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(a.Cert, []*x509.Certificate{leaf}, Server); err == nil {
		t.Fatal("Check took an executor for a server")
	}
	if err := Check(a.Cert, []*x509.Certificate{leaf}, Executor); err != nil {
		t.Fatal(err)
	}
}

func TestJoiningChecksTheFingerprintBeforeTheSecretIsShown(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	s := member(t, a, Server, "s1")
	if _, err := handshake(t, serving(s), Joining("coinop/test", a.Fingerprint())); err != nil {
		t.Fatalf("the right cluster is refused: %v", err)
	}
	_, err := handshake(t, serving(s), Joining("coinop/test", b.Fingerprint()))
	if err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Fatalf("the wrong cluster: %v", err)
	}
}

func TestAnAuthorityShownByAnImpostorDoesNotHelpIt(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	s := member(t, b, Server, "s1")
	s.Cert.Certificate = append(s.Cert.Certificate[:1:1], a.Cert.Raw) // a's certificate is public
	if _, err := handshake(t, serving(s), Joining("coinop/test", a.Fingerprint())); err == nil {
		t.Fatal("an impostor was believed")
	}
}

func TestTheSameRequestGetsTheSameCertificate(t *testing.T) {
	a := newAuthority(t, "one")
	keyPEM, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseAuthority(a.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := NewKey(rand.Reader)
	csr, _ := Request(key)
	one, err := a.Issue(Executor, "n1", csr)
	if err != nil {
		t.Fatal(err)
	}
	two, err := again.Issue(Executor, "n1", csr)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Fatal("two servers issue different certificates for one request")
	}
	other, err := a.Issue(Server, "n1", csr)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, other) {
		t.Fatal("kinds share a certificate")
	}
}

func TestIssueRefusesWhatItShould(t *testing.T) {
	a := newAuthority(t, "one")
	key, _ := NewKey(rand.Reader)
	csr, _ := Request(key)
	bent := bytes.Clone(csr)
	bent[len(bent)-1] ^= 1
	for name, try := range map[string]func() ([]byte, error){
		"a kind that does not exist":   func() ([]byte, error) { return a.Issue("root", "n1", csr) },
		"a name with a blank":          func() ([]byte, error) { return a.Issue(Executor, "n 1", csr) },
		"no name":                      func() ([]byte, error) { return a.Issue(Executor, "", csr) },
		"a broken proof of the key":    func() ([]byte, error) { return a.Issue(Executor, "n1", bent) },
		"something that is no request": func() ([]byte, error) { return a.Issue(Executor, "n1", []byte("x")) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestAuthorityAndKeyMustBelongTogether(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	keyPEM, _ := b.KeyPEM()
	if _, err := ParseAuthority(a.CertPEM(), keyPEM); err == nil {
		t.Fatal("a foreign key was taken")
	}
}

func TestTokensSurviveTheirText(t *testing.T) {
	a := newAuthority(t, "one")
	tok, err := NewToken(Executor, a.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken("  " + tok.String() + "\n")
	if err != nil || got != tok {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "coinop-join-1", tok.String() + "0", strings.Replace(tok.String(), "executor", "king", 1),
		strings.Replace(tok.String(), "join-1", "join-2", 1), tok.String() + ".x", tok.String()[:len(tok.String())-2]} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("coinop-join-1.server." + strings.Repeat("0", 64) + "." + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseToken(text)
		if err != nil {
			return
		}
		if again, err := ParseToken(tok.String()); err != nil || again != tok {
			t.Fatalf("%q: read as %v, again as %v, %v", text, tok, again, err)
		}
	})
}
