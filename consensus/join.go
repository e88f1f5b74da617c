package consensus

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/call"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
)

const (
	joinTryMax   = 20 * time.Second // one server's answer, which needs a leader
	joinTryEvery = time.Second
)

// join makes this server a member: it shows the token to one of the servers it was told of, and
// gets a certificate, then, with that, the secrets that all servers share. Tried again after a
// crash it gets the same.
func (n *Node) join(ctx context.Context, advertise string) (*papers, error) {
	token, err := pki.ParseToken(n.cfg.Token)
	if err != nil {
		return nil, err
	}
	if token.Kind != pki.Server {
		return nil, fmt.Errorf("join as a server: the token is for one %s", token.Kind)
	}
	name, csr, err := n.request()
	if err != nil {
		return nil, err
	}
	request := pki.JoinRequest{
		Version: 1, Kind: pki.Server, Secret: hex.EncodeToString(token.Secret[:]), Request: csr, Name: name,
		Cluster: advertise, HTTP: n.cfg.HTTPAddr, Reads: machine.FormatMax, Program: n.cfg.Version,
	}
	tick := time.NewTicker(joinTryEvery)
	defer tick.Stop()
	for {
		var failed []error
		for _, addr := range n.cfg.Join {
			answer, err := n.askToJoin(ctx, addr, token, request)
			if err == nil {
				err = n.keepPapers(ctx, addr, token, answer)
			}
			if err == nil {
				return n.load()
			}
			var final finalError
			if errors.As(err, &final) {
				return nil, err
			}
			failed = append(failed, err)
		}
		n.cfg.Log.Warn("join: no server let this one in; trying again", "error", errors.Join(failed...))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("join a cluster: %w", errors.Join(append(failed, ctx.Err())...))
		}
	}
}

// finalError is a refusal that another try won't change.
type finalError struct{ code, detail string }

func (e finalError) Error() string { return e.code + ": " + e.detail }

func (n *Node) askToJoin(ctx context.Context, addr string, token pki.Token, request pki.JoinRequest) (pki.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTryMax)
	defer cancel()
	conn, err := n.dialToJoin(ctx, addr, token.Authority)
	if err != nil {
		return pki.JoinAnswer{}, fmt.Errorf("join by %s: %w", addr, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var answer pki.JoinAnswer
	if err := pki.WriteLine(conn, request); err != nil {
		return answer, fmt.Errorf("join by %s: %w", addr, err)
	}
	if err := pki.ReadLine(conn, &answer); err != nil {
		return answer, fmt.Errorf("join by %s: %w", addr, err)
	}
	switch answer.Code {
	case pki.JoinOK:
		return answer, nil
	case pki.JoinBusy:
		return answer, fmt.Errorf("join by %s: %s", addr, answer.Detail)
	}
	return answer, fmt.Errorf("join by %s: %w", addr, finalError{answer.Code, answer.Detail})
}

func (n *Node) dialToJoin(ctx context.Context, addr string, authority pki.Pin) (net.Conn, error) {
	return port.DialTLS(ctx, n.cfg.Network, addr, pki.Joining(ProtoJoin, authority))
}

// keepPapers fetches the secrets as the member that this server now is, and writes everything
// down, the certificate last.
func (n *Node) keepPapers(ctx context.Context, addr string, token pki.Token, answer pki.JoinAnswer) error {
	authority, err := pki.ParseCert([]byte(answer.Authority))
	if err != nil {
		return fmt.Errorf("join by %s: read the authority: %w", addr, err)
	}
	if pki.PinOf(authority.Raw) != token.Authority {
		return fmt.Errorf("join by %s: the authority is not the token's", addr)
	}
	key, err := n.keyPEM()
	if err != nil {
		return err
	}
	id, err := pki.NewIdentity([]byte(answer.Authority), []byte(answer.Cert), key)
	if err != nil {
		return fmt.Errorf("join by %s: %w", addr, err)
	}
	secrets, err := n.fetchSecrets(ctx, addr, id)
	if err != nil {
		return fmt.Errorf("join by %s: %w", addr, err)
	}
	if _, err := pki.ParseAuthority([]byte(answer.Authority), secrets.Authority); err != nil {
		return fmt.Errorf("join by %s: %w", addr, err)
	}
	if len(secrets.Mint) > 0 && n.cfg.SetSecret != nil {
		if err := n.cfg.SetSecret(secrets.Mint); err != nil {
			return fmt.Errorf("keep the mint's secret: %w", err)
		}
	}
	servers, err := json.Marshal(answer.Servers)
	if err != nil {
		return fmt.Errorf("write down the servers: %w", err)
	}
	err = errors.Join(
		writeFile(n.file(fileAuthorityKey), secrets.Authority),
		writeFile(n.file(fileAuthority), []byte(answer.Authority)),
		writeFile(n.file(fileServers), servers),
	)
	if err == nil {
		err = writeFile(n.file(fileCert), []byte(answer.Cert))
	}
	return err
}

// secrets is what all servers share and nobody else has.
type secrets struct {
	Authority []byte `cbor:"1,keyasint"` // its key, PEM
	Mint      []byte `cbor:"2,keyasint,omitempty"`
}

func (n *Node) fetchSecrets(ctx context.Context, addr string, id pki.Identity) (secrets, error) {
	var s secrets
	ctx, cancel := context.WithTimeout(ctx, joinTryMax)
	defer cancel()
	conn, err := port.DialTLS(ctx, n.cfg.Network, addr, id.Dialing(ProtoForward, nil))
	if err != nil {
		return s, fmt.Errorf("ask for the servers' secrets: %w", err)
	}
	client := call.NewClient(conn)
	defer client.Close()
	b, err := client.Call(ctx, askSecrets, nil)
	if err != nil {
		return s, fmt.Errorf("ask for the servers' secrets: %w", err)
	}
	if err := cbor.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read the servers' secrets: %w", err)
	}
	return s, nil
}

func (n *Node) answerSecrets() ([]byte, error) {
	p := n.papers.Load()
	if p == nil {
		return nil, ErrNotRunning
	}
	var s secrets
	var err error
	if s.Authority, err = p.authority.KeyPEM(); err != nil {
		return nil, err
	}
	if n.cfg.Secret != nil {
		if s.Mint, err = n.cfg.Secret(); err != nil {
			return nil, fmt.Errorf("read the mint's secret: %w", err)
		}
	}
	return cbor.Marshal(s)
}

// FetchSecret asks the other servers for the mint's secret, after an epoch was added elsewhere.
func (n *Node) FetchSecret(ctx context.Context) ([]byte, error) {
	var failed []error
	for _, s := range n.Peers() {
		b, err := n.peers.ask(ctx, s.ID, s.Cluster, askSecrets, nil)
		var got secrets
		if err == nil {
			err = cbor.Unmarshal(b, &got)
		}
		if err == nil && len(got.Mint) > 0 {
			return got.Mint, nil
		}
		failed = append(failed, fmt.Errorf("server %s: %w", s.ID, errors.Join(err, errNoSecret)))
	}
	return nil, fmt.Errorf("ask the other servers for the mint's secret: %w", errors.Join(append(failed, errNoSecret)...))
}

var errNoSecret = errors.New("no secret was given")
