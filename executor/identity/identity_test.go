package identity

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// cluster is an authority and one server that answers joins as the servers do.
type cluster struct {
	t     *testing.T
	ca    *x509.Certificate
	key   ed25519.PrivateKey
	addr  string
	reply func(request) answer // nil: let in
	wait  sync.WaitGroup

	mu   sync.Mutex
	seen []request
}

func (c *cluster) issue(name, host string, pub ed25519.PublicKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, c.ca, pub, c.key)
	if err != nil {
		c.t.Error(err)
	}
	return der
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, key: key}
	c.ca, _ = x509.ParseCertificate(der)
	spub, skey, _ := ed25519.GenerateKey(rand.Reader)
	leaf := c.issue("s1", serverHost, spub)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, c.ca.Raw}, PrivateKey: skey}},
		NextProtos:   []string{protoJoin, protoExecutor}, ClientAuth: tls.RequestClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.addr = ln.Addr().String()
	c.wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.serve(conn)
		}
	})
	t.Cleanup(func() { ln.Close(); c.wait.Wait() })
	return c
}

func (c *cluster) serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return
	}
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	c.seen = append(c.seen, q)
	reply := c.reply
	c.mu.Unlock()
	a := answer{Code: "ok", Cluster: "c0ffee"}
	if reply != nil {
		a = reply(q)
	} else {
		csr, err := x509.ParseCertificateRequest(q.Request)
		if err != nil {
			c.t.Error(err)
			return
		}
		pub, _ := csr.PublicKey.(ed25519.PublicKey)
		a.Cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.issue(q.Name, "executor.coinop", pub)}))
		a.Authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw}))
	}
	b, _ := json.Marshal(a)
	conn.Write(append(b, '\n'))
}

func (c *cluster) config(t *testing.T) JoinConfig {
	sum := sha256.Sum256(c.ca.Raw)
	return JoinConfig{
		Dir: t.TempDir(), Servers: []string{c.addr}, Name: "n1", Pool: "default", Version: "1.0",
		Token: "coinop-join-1.executor." + hex.EncodeToString(sum[:]) + "." + strings.Repeat("ab", 32),
	}
}

func TestAMachineJoinsOnceAndKeepsItsIdentity(t *testing.T) {
	c := newCluster(t)
	cfg := c.config(t)
	if _, err := Load(cfg.Dir); !errors.Is(err, ErrNotJoined) || !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	id, err := Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if id.Name != "n1" || id.Cluster != "c0ffee" {
		t.Errorf("%+v", id)
	}
	if _, err := Join(t.Context(), cfg); err != nil || len(c.seen) != 1 {
		t.Errorf("asked %d times, %v", len(c.seen), err)
	}
	if q := c.seen[0]; q.Pool != "default" || q.Kind != "executor" || q.Facts.Version != "1.0" || q.Secret != strings.Repeat("ab", 32) {
		t.Errorf("it said %+v", q)
	}
	conn, err := id.Dial(t.Context(), []string{"127.0.0.1:1", c.addr})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if info, err := os.Stat(cfg.Dir + "/" + fileKey); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

func TestALostAnswerIsAskedForWithTheSameKey(t *testing.T) {
	c := newCluster(t)
	cfg := c.config(t)
	c.reply = func(request) answer { return answer{Code: "busy", Detail: "no leader"} }
	if _, err := Join(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.reply = nil
	c.mu.Unlock()
	if _, err := Join(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if string(c.seen[0].Request) != string(c.seen[1].Request) {
		t.Error("another key the second time")
	}
}

func TestARefusalIsToldAndFinal(t *testing.T) {
	c := newCluster(t)
	cfg := c.config(t)
	c.reply = func(request) answer { return answer{Code: "token_used", Detail: "it let someone in before"} }
	var refused *Refused
	if _, err := Join(t.Context(), cfg); !errors.As(err, &refused) || refused.Code != "token_used" {
		t.Fatal(err)
	}
}

func TestTheSecretIsNotShownToAnotherCluster(t *testing.T) {
	c, other := newCluster(t), newCluster(t)
	cfg := c.config(t)
	cfg.Servers = []string{other.addr}
	if _, err := Join(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Fatal(err)
	}
	if len(other.seen) != 0 {
		t.Fatal("the secret was sent")
	}
}

func TestTokensThatAreNone(t *testing.T) {
	for _, text := range []string{"", "x", "coinop-join-1.server." + strings.Repeat("ab", 32) + "." + strings.Repeat("ab", 32), "coinop-join-1.executor.ab.cd"} {
		if _, err := Join(t.Context(), JoinConfig{Dir: t.TempDir(), Token: text}); err == nil {
			t.Errorf("%q", text)
		}
	}
}
