// Package identity lets a machine join a cluster with a token, and call the cluster's servers from then on.
package identity

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Protocols of the servers' cluster port, and the name that every server's certificate carries.
const (
	protoJoin     = "coinop/join"
	protoExecutor = "coinop/executor"
	serverHost    = "server.coinop"
	tokenPrefix   = "coinop-join-1"
	lineMax       = 1 << 20
	tryMax        = 20 * time.Second
)

// Facts is what the machine says of itself when it joins.
type Facts struct {
	CPUMilli int64             `json:"cpu_milli"`
	Memory   int64             `json:"memory"`
	Disk     int64             `json:"disk"`
	GPUs     int64             `json:"gpus"`
	Labels   map[string]string `json:"labels,omitempty"`
	Drivers  []string          `json:"drivers,omitempty"`
	Missing  []string          `json:"missing,omitempty"` // limits it can't set, and why
	Version  string            `json:"version,omitempty"`
	OS       string            `json:"os,omitempty"`
	Arch     string            `json:"arch,omitempty"`
}

// JoinConfig is how a machine joins.
type JoinConfig struct {
	Dir     string   // where key and certificate are kept, 0700
	Servers []string // their cluster ports
	Token   string
	Name    string // a-z, 0-9, dot and dash
	Pool    string
	Version string // of the program
	Facts   Facts  // what is known already; the executor tells more when it syncs
	Dial    Dialer // nil: TCP
}

// Dialer calls an address, without TLS.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

func overTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: tryMax}
	return d.DialContext(ctx, "tcp", addr)
}

// shakeHands calls an address and lets TLS check both sides.
func shakeHands(ctx context.Context, dial Dialer, addr string, config *tls.Config) (net.Conn, error) {
	raw, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// Identity is a machine that is a member.
type Identity struct {
	Name    string
	Cluster string // id, hex
	cert    tls.Certificate
	roots   *x509.CertPool
}

// ErrNotJoined means that the folder holds no identity; it is an os.ErrNotExist too.
var ErrNotJoined = fmt.Errorf("this machine has not joined a cluster: %w", os.ErrNotExist)

// Refused is a cluster's answer that another try won't change.
type Refused struct{ Code, Detail string }

func (r *Refused) Error() string { return "the cluster refuses: " + r.Detail + " (" + r.Code + ")" }

const (
	fileKey       = "key.pem"
	fileCert      = "cert.pem"
	fileAuthority = "authority.pem"
	fileCluster   = "cluster.json"
)

// Load reads what Join wrote.
func Load(dir string) (*Identity, error) {
	var text [4][]byte
	for i, name := range []string{fileKey, fileAuthority, fileCluster, fileCert} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the identity in %s: %w", dir, ErrNotJoined)
		}
		if err != nil {
			return nil, fmt.Errorf("read the identity: %w", err)
		}
		text[i] = b
	}
	id := &Identity{roots: x509.NewCertPool()}
	var known struct{ Name, Cluster string }
	if err := json.Unmarshal(text[2], &known); err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	id.Name, id.Cluster = known.Name, known.Cluster
	var err error
	if id.cert, err = tls.X509KeyPair(text[3], text[0]); err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	if !id.roots.AppendCertsFromPEM(text[1]) {
		return nil, errors.New("read the identity: the authority's certificate can't be read")
	}
	return id, nil
}

// Dial calls the first server that answers. The servers' authority is the one that was found to be
// the token's at joining.
func (id *Identity) Dial(ctx context.Context, addrs []string) (net.Conn, error) {
	return id.DialBy(ctx, overTCP, addrs)
}

// DialBy is Dial over another network than TCP.
func (id *Identity) DialBy(ctx context.Context, dial Dialer, addrs []string) (net.Conn, error) {
	var failed []error
	for _, addr := range addrs {
		conn, err := shakeHands(ctx, dial, addr, &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.cert}, RootCAs: id.roots,
			ServerName: serverHost, NextProtos: []string{protoExecutor},
		})
		if err == nil {
			return conn, nil
		}
		failed = append(failed, fmt.Errorf("server %s: %w", addr, err))
	}
	return nil, fmt.Errorf("call the servers: %w", errors.Join(failed...))
}

// Join makes this machine a member, or returns the identity that it has. It asks one server after
// the other, once; with the same folder it may be called again and again, and a lost answer comes
// again.
func Join(ctx context.Context, cfg JoinConfig) (*Identity, error) {
	if id, err := Load(cfg.Dir); err == nil || !errors.Is(err, ErrNotJoined) {
		return id, err
	}
	authority, secret, err := parseToken(cfg.Token)
	if err != nil {
		return nil, err
	}
	key, err := loadKey(cfg.Dir)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	if cfg.Facts.Version == "" {
		cfg.Facts.Version = cfg.Version
	}
	ask := request{Version: 1, Kind: "executor", Secret: secret, Request: csr, Name: cfg.Name, Pool: cfg.Pool, Facts: cfg.Facts}
	dial := cfg.Dial
	if dial == nil {
		dial = overTCP
	}
	var failed []error
	for _, addr := range cfg.Servers {
		got, err := exchange(ctx, dial, addr, authority, ask)
		if err == nil {
			if err = keep(cfg, authority, got); err == nil {
				return Load(cfg.Dir)
			}
		}
		var refused *Refused
		if errors.As(err, &refused) {
			return nil, fmt.Errorf("join by %s: %w", addr, err)
		}
		failed = append(failed, fmt.Errorf("server %s: %w", addr, err))
	}
	return nil, fmt.Errorf("join the cluster: %w", errors.Join(failed...))
}

// request and answer are what the servers' join protocol says: a line of JSON each way.
type request struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Secret  string `json:"secret"`
	Request []byte `json:"request"` // DER
	Name    string `json:"name"`
	Pool    string `json:"pool,omitempty"`
	Facts   Facts  `json:"facts"`
}

type answer struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Cluster   string `json:"cluster"`
	Authority string `json:"authority"`
	Cert      string `json:"cert"`
}

func exchange(ctx context.Context, dial Dialer, addr string, authority [32]byte, ask request) (answer, error) {
	var got answer
	ctx, cancel := context.WithTimeout(ctx, tryMax)
	defer cancel()
	conn, err := shakeHands(ctx, dial, addr, joining(authority))
	if err != nil {
		return got, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	line, err := json.Marshal(ask)
	if err != nil {
		return got, fmt.Errorf("write the request: %w", err)
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return got, fmt.Errorf("send the request: %w", err)
	}
	line, err = bufio.NewReader(io.LimitReader(conn, lineMax)).ReadBytes('\n')
	if err != nil {
		return got, fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(line, &got); err != nil {
		return got, fmt.Errorf("read the answer: %w", err)
	}
	switch got.Code {
	case "ok":
		return got, nil
	case "busy":
		return got, fmt.Errorf("not now: %s", got.Detail)
	}
	return got, &Refused{Code: got.Code, Detail: got.Detail}
}

// joining checks the cluster before the token's secret is shown to it: some certificate of the
// chain must have the token's fingerprint, and must have signed the server's.
func joining(authority [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverHost, NextProtos: []string{protoJoin},
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates {
				if sha256.Sum256(c.Raw) != authority {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(c)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: serverHost})
				return err
			}
			return errors.New("this is another cluster than the join token's: its authority has another fingerprint")
		},
	}
}

// parseToken reads coinop-join-1.executor.AUTHORITY.SECRET.
func parseToken(text string) (authority [32]byte, secret string, err error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return authority, "", errors.New("read the join token: it must look like " + tokenPrefix + ".executor.AUTHORITY.SECRET")
	}
	if parts[1] != "executor" {
		return authority, "", fmt.Errorf("read the join token: it is for one %s, not for an executor", parts[1])
	}
	for _, p := range parts[2:] {
		if b, err := hex.DecodeString(p); err != nil || len(b) != 32 {
			return authority, "", errors.New("read the join token: fingerprint and secret must be 64 hex digits each")
		}
	}
	b, err := hex.DecodeString(parts[2])
	copy(authority[:], b)
	return authority, parts[3], err
}

// loadKey makes the machine's key once: joining again with it gives the same certificate.
func loadKey(dir string) (ed25519.PrivateKey, error) {
	name := filepath.Join(dir, fileKey)
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("write the key: %w", err)
		}
		return key, writeFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read the key: %s holds no PEM", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the key: %s is not Ed25519", name)
	}
	return key, nil
}

// keep writes the certificate last: where it is, the rest is.
func keep(cfg JoinConfig, authority [32]byte, got answer) error {
	block, _ := pem.Decode([]byte(got.Authority))
	if block == nil || sha256.Sum256(block.Bytes) != authority {
		return errors.New("the authority in the answer is not the token's")
	}
	known, err := json.Marshal(struct{ Name, Cluster string }{cfg.Name, got.Cluster})
	if err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	err = errors.Join(
		writeFile(filepath.Join(cfg.Dir, fileAuthority), []byte(got.Authority)),
		writeFile(filepath.Join(cfg.Dir, fileCluster), known),
	)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(cfg.Dir, fileCert), []byte(got.Cert))
}

// writeFile replaces a file as a whole, on the disk when it returns; only its owner can read it.
func writeFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder %s: %w", dir, err)
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		var d *os.File
		if d, err = os.Open(dir); err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
