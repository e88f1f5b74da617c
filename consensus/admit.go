package consensus

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

const joinTokenMax = time.Hour

// JoinToken makes a token that lets one server or one executor in, once, within ttl (at most and
// by default an hour).
func (n *Node) JoinToken(ctx context.Context, kind string, ttl time.Duration) (string, error) {
	p := n.papers.Load()
	if p == nil {
		return "", ErrNotRunning
	}
	token, err := pki.NewToken(pki.Kind(kind), p.authority.Fingerprint())
	if err != nil {
		return "", err
	}
	if ttl <= 0 || ttl > joinTokenMax {
		ttl = joinTokenMax
	}
	role := machine.RoleJoinExecutor
	if token.Kind == pki.Server {
		role = machine.RoleJoinServer
	}
	if _, err := n.Linearize(ctx); err != nil { // cluster time as of now, not of this server's past
		return "", fmt.Errorf("make a join token: %w", err)
	}
	until := max(n.View().At(), funding.Millis(n.cfg.Wall().UnixMilli())) + funding.Millis(ttl/time.Millisecond)
	result, err := n.Propose(ctx, machine.Token{Hash: token.Hash(), Role: role, Name: "join " + kind, Until: until})
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	return token.String(), nil
}

// serveJoin answers one who has no certificate yet.
func (n *Node) serveJoin(ctx context.Context, conn net.Conn, _ *x509.Certificate) {
	ctx, cancel := context.WithTimeout(ctx, joinTryMax)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var request pki.JoinRequest
	if err := pki.ReadLine(conn, &request); err != nil {
		n.cfg.Log.Info("a join request can't be read", "error", port.Addressless(err))
		return
	}
	answer, err := n.letIn(ctx, request)
	if err != nil {
		n.cfg.Log.Info("a join is refused", "name", request.Name, "error", err)
		answer = joinRefusal(err)
	}
	if err := pki.WriteLine(conn, answer); err != nil {
		n.cfg.Log.Info("a join's answer was lost", "name", request.Name, "error", port.Addressless(err))
	}
}

func joinRefusal(err error) pki.JoinAnswer {
	var refused *machine.Refusal
	switch {
	case errors.As(err, &refused):
		return pki.JoinAnswer{Code: string(refused.Code), Detail: refused.Detail}
	case errors.Is(err, errJoinRequest):
		return pki.JoinAnswer{Code: pki.JoinBad, Detail: err.Error()}
	}
	return pki.JoinAnswer{Code: pki.JoinBusy, Detail: err.Error()}
}

var errJoinRequest = errors.New("the join request is not right")

// letIn issues the certificate and has its pin written into the state, for the price of the token.
// The state comes first: a certificate that it does not know opens nothing.
func (n *Node) letIn(ctx context.Context, q pki.JoinRequest) (pki.JoinAnswer, error) {
	p := n.papers.Load()
	secret, err := q.SecretOf()
	if err != nil || q.Version != 1 || !q.Kind.Known() {
		return pki.JoinAnswer{}, fmt.Errorf("%w: version %d, kind %q: %w", errJoinRequest, q.Version, q.Kind, errors.Join(err))
	}
	csr, err := x509.ParseCertificateRequest(q.Request)
	if err != nil {
		return pki.JoinAnswer{}, fmt.Errorf("%w: %w", errJoinRequest, err)
	}
	if q.Kind == pki.Server && q.Name != pki.ServerName(csr.RawSubjectPublicKeyInfo) {
		return pki.JoinAnswer{}, fmt.Errorf("%w: server name %q does not follow from its key", errJoinRequest, q.Name)
	}
	der, err := p.authority.Issue(q.Kind, q.Name, q.Request)
	if err != nil {
		return pki.JoinAnswer{}, fmt.Errorf("%w: %w", errJoinRequest, err)
	}
	if _, err := n.Linearize(ctx); err != nil {
		return pki.JoinAnswer{}, err
	}
	if !n.knows(q, pki.PinOf(der)) {
		command, err := joinCommand(q, pki.HashSecret(secret), pki.PinOf(der))
		if err != nil {
			return pki.JoinAnswer{}, err
		}
		result, err := n.Propose(ctx, command)
		if err == nil {
			err = result.Err()
		}
		if err != nil {
			return pki.JoinAnswer{}, err
		}
	}
	v := n.View()
	id := v.Cluster()
	answer := pki.JoinAnswer{
		Code: pki.JoinOK, Cluster: hex.EncodeToString(id[:]),
		Authority: string(p.authority.CertPEM()), Cert: string(pki.CertPEM(der)),
	}
	for _, s := range v.Servers() {
		answer.Servers = append(answer.Servers, pki.JoinServer{ID: s.ID, Addr: s.Cluster, Pin: hex.EncodeToString(s.Cert[:])})
	}
	return answer, nil
}

// knows says that this very certificate was let in before: the answer was lost, and is given
// again. It is of use only to who has its key.
func (n *Node) knows(q pki.JoinRequest, pin pki.Pin) bool {
	if q.Kind == pki.Server {
		s, ok := n.View().Server(q.Name)
		return ok && s.Cert == pin && s.Cluster == q.Cluster
	}
	node, ok := n.View().NodeByName(q.Name)
	return ok && node.Cert == pin
}

// joinFacts is how an executor writes what its machine is, in JSON.
type joinFacts struct {
	CPUMilli int64             `json:"cpu_milli"`
	Memory   int64             `json:"memory"`
	Disk     int64             `json:"disk"`
	GPUs     int64             `json:"gpus"`
	Labels   map[string]string `json:"labels"`
	Drivers  []string          `json:"drivers"`
	Missing  []string          `json:"missing"`
	Version  string            `json:"version"`
	OS       string            `json:"os"`
	Arch     string            `json:"arch"`
}

func joinCommand(q pki.JoinRequest, token machine.TokenHash, pin pki.Pin) (machine.Command, error) {
	if q.Kind == pki.Server {
		return machine.Server{
			ID: q.Name, Cluster: q.Cluster, HTTP: q.HTTP, Cert: pin, Reads: q.Reads, Version: q.Program, Token: token,
		}, nil
	}
	var f joinFacts
	if len(q.Facts) > 0 {
		if err := json.Unmarshal(q.Facts, &f); err != nil {
			return nil, fmt.Errorf("%w: the facts: %w", errJoinRequest, err)
		}
	}
	return machine.NodeJoin{
		Token: token, Name: q.Name, Pool: q.Pool, Cert: pin,
		Facts: machine.NodeFacts{
			Has:    scheduler.Resources{CPUMilli: f.CPUMilli, Memory: f.Memory, Disk: f.Disk, GPUs: f.GPUs},
			Labels: f.Labels, Drivers: f.Drivers, Missing: f.Missing, Version: f.Version, OS: f.OS, Arch: f.Arch,
		},
	}, nil
}
