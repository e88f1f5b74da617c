package consensus

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/consensus/pki"
)

// papers is what a server's folder says of who it is.
type papers struct {
	id        string
	identity  pki.Identity
	authority *pki.Authority
	founder   bool             // the first server of its cluster
	known     []pki.JoinServer // who was a server when it joined; used until the state tells
}

// Files of the folder. The certificate is written last: where it is, all others are.
const (
	fileKey          = "key.pem"
	fileCert         = "cert.pem"
	fileAuthority    = "authority.pem"
	fileAuthorityKey = "authority.key"
	fileServers      = "servers.json"
	fileFounder      = "founder"
	fileStopped      = "stopped" // why this server must not start again
	fileReached      = "reached" // how far the log went
)

func (n *Node) file(name string) string { return filepath.Join(n.cfg.Dir, "cluster", name) }

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
		err = syncFolder(dir)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var errNoPapers = errors.New("the folder holds no server")

// load reads the papers; errNoPapers where there are none, or not all yet.
func (n *Node) load() (*papers, error) {
	var text [4][]byte
	for i, name := range []string{fileAuthority, fileAuthorityKey, fileCert, fileKey} {
		b, err := os.ReadFile(n.file(name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, n.noPapers(name)
		}
		if err != nil {
			return nil, fmt.Errorf("read who this server is: %w", err)
		}
		text[i] = b
	}
	p := &papers{}
	if err := n.readPapers(p, text); err != nil {
		return nil, err
	}
	if _, err := os.Stat(n.file(fileFounder)); err == nil {
		p.founder = true
	}
	if b, err := os.ReadFile(n.file(fileServers)); err == nil {
		if err := json.Unmarshal(b, &p.known); err != nil {
			return nil, fmt.Errorf("read %s: %w; remove it: the log tells who the servers are", n.file(fileServers), err)
		}
	}
	return p, nil
}

// noPapers tells a folder that holds no server yet, or one that is given its papers again as long as it has its key, from
// one that would be made anew over an old log.
func (n *Node) noPapers(lacks string) error {
	_, err := os.Stat(n.file(fileReached))
	if errors.Is(err, os.ErrNotExist) || len(n.cfg.Join) > 0 && lacks != fileKey {
		return errNoPapers
	}
	return fmt.Errorf("start a server in %s: it has a log and lacks %s; %s", n.cfg.Dir, n.file(lacks), mend)
}

// readPapers checks each file, so that a damaged one is named, and that they belong together.
func (n *Node) readPapers(p *papers, text [4][]byte) error {
	damaged := func(err error, names ...string) error {
		for i := range names {
			names[i] = n.file(names[i])
		}
		return fmt.Errorf("read who this server is: %s: %w; %s", strings.Join(names, " and "), err, mend)
	}
	authority, err := pki.ParseCert(text[0])
	if err == nil {
		err = authority.CheckSignatureFrom(authority)
	}
	if err != nil {
		return damaged(err, fileAuthority)
	}
	if _, err := pki.ParseKey(text[1]); err != nil {
		return damaged(err, fileAuthorityKey)
	}
	if p.authority, err = pki.ParseAuthority(text[0], text[1]); err != nil {
		return damaged(err, fileAuthority, fileAuthorityKey)
	}
	leaf, err := pki.ParseCert(text[2])
	if err == nil {
		err = leaf.CheckSignatureFrom(authority)
	}
	if err != nil {
		return damaged(err, fileCert)
	}
	if _, err := pki.ParseKey(text[3]); err != nil {
		return damaged(err, fileKey)
	}
	if p.identity, err = pki.NewIdentity(text[0], text[2], text[3]); err != nil {
		return damaged(err, fileCert, fileKey)
	}
	p.id = pki.NameOf(leaf)
	return nil
}

// found makes the papers of the first server of a new cluster.
func (n *Node) found(cluster string) (*papers, error) {
	authority, err := pki.NewAuthority(cluster, rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	authorityKey, err := authority.KeyPEM()
	if err != nil {
		return nil, err
	}
	name, csr, err := n.request()
	if err != nil {
		return nil, err
	}
	der, err := authority.Issue(pki.Server, name, csr)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		writeFile(n.file(fileAuthorityKey), authorityKey),
		writeFile(n.file(fileFounder), nil),
		writeFile(n.file(fileAuthority), authority.CertPEM()),
	)
	if err == nil {
		err = writeFile(n.file(fileCert), pki.CertPEM(der))
	}
	if err != nil {
		return nil, err
	}
	return n.load()
}

// request makes this server's key, if it has none yet, and the signing request for it. The key
// stays the same when joining is tried again, so that a lost answer can be repeated.
func (n *Node) request() (name string, csr []byte, err error) {
	text, err := os.ReadFile(n.file(fileKey))
	if errors.Is(err, os.ErrNotExist) {
		key, err := pki.NewKey(rand.Reader)
		if err != nil {
			return "", nil, err
		}
		if text, err = pki.KeyPEM(key); err != nil {
			return "", nil, err
		}
		if err := writeFile(n.file(fileKey), text); err != nil {
			return "", nil, err
		}
	} else if err != nil {
		return "", nil, fmt.Errorf("read this server's key: %w", err)
	}
	key, err := pki.ParseKey(text)
	if err != nil {
		return "", nil, fmt.Errorf("read this server's key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", nil, fmt.Errorf("name this server: %w", err)
	}
	csr, err = pki.Request(key)
	return pki.ServerName(public), csr, err
}

// stop writes down why this server must not take part again; Run says it and so does every start.
func (n *Node) stop(why error) {
	if err := writeFile(n.file(fileStopped), []byte(why.Error()+"\n")); err != nil {
		n.cfg.Log.Error("write down why this server stops", "error", err)
	}
	select {
	case n.fatal <- why:
	default: // it is stopping already
	}
}

func (n *Node) mayStart() error {
	b, err := os.ReadFile(n.file(fileStopped))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether this server may start: %w", err)
	}
	return fmt.Errorf("this server must not take part again: %s(to join anew, begin with an empty folder)", b)
}

func (n *Node) keyPEM() ([]byte, error) {
	b, err := os.ReadFile(n.file(fileKey))
	if err != nil {
		return nil, fmt.Errorf("read this server's key: %w", err)
	}
	return b, nil
}
