package consensus

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coinop/coinop/consensus/call"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
)

// A server that starts has an old state or none, until a leader reaches it. It must not refuse that
// leader for having joined meanwhile, nor believe every certificate of the authority's: it asks
// those that it knows.

// acquaintances are the servers that this one knows: the state's, or those it wrote down last. A state that lacks this
// server itself is old, or a saved one of another cluster's servers that is being restored: it does not count.
func (n *Node) acquaintances() []pki.JoinServer {
	servers := n.Servers()
	if !slices.ContainsFunc(servers, func(s *Server) bool { return s.ID == n.ID() }) {
		if known := n.known.Load(); known != nil {
			return *known
		}
		return nil
	}
	list := make([]pki.JoinServer, 0, len(servers))
	for _, s := range servers {
		list = append(list, pki.JoinServer{ID: s.ID, Addr: s.Cluster, Pin: hex.EncodeToString(s.Cert[:])})
	}
	return list
}

// remember writes the state's servers down when they have changed.
func (n *Node) remember() {
	list := n.acquaintances()
	if known := n.known.Load(); known != nil && slices.Equal(*known, list) {
		return
	}
	text, err := json.Marshal(list)
	if err == nil {
		err = writeFile(n.file(fileServers), text)
	}
	if err != nil {
		n.cfg.Log.Error("write down the servers", "error", err)
		return
	}
	n.known.Store(&list)
}

const vouchMax = 2 * time.Second

// vouched says whether a server that the state lacks is one of the log's members, an acquaintance, or a member in the eyes
// of one. The log tells of members before their entries are applied, and a server that was killed soon after others had
// joined has nothing else; it knows them by id alone, which follows from their keys.
func (n *Node) vouched(name string, pin pki.Pin) error {
	refused := fmt.Errorf("server %q is not a member", name)
	if n.inLog(name) {
		return nil
	}
	list := n.acquaintances()
	for _, a := range list {
		if a.ID == name {
			if a.Pin == hex.EncodeToString(pin[:]) {
				return nil
			}
			return refused
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), vouchMax)
	defer cancel()
	for _, a := range list {
		if a.ID == n.ID() {
			continue
		}
		if n.askMember(ctx, a, pin, name) == nil {
			return nil
		}
	}
	return refused
}

// inLog says whether raft has a server among its members.
func (n *Node) inLog(id string) bool {
	r := n.raft.Load()
	if r == nil {
		return false
	}
	f := r.GetConfiguration()
	return f.Error() == nil && slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool { return string(s.ID) == id })
}

// askMember asks one acquaintance, on a connection of its own: nobody else is believed at its address, or two servers
// that doubt each other would ask without end.
func (n *Node) askMember(ctx context.Context, a pki.JoinServer, pin pki.Pin, name string) error {
	conn, err := port.DialTLS(ctx, n.cfg.Network, a.Addr, n.papers.Load().identity.Dialing(ProtoForward, func(cert *x509.Certificate) error {
		if their := pki.PinOf(cert.Raw); a.Pin != hex.EncodeToString(their[:]) {
			return errStranger
		}
		return nil
	}))
	if err != nil {
		return err
	}
	client := call.NewClient(conn)
	defer client.Close()
	_, err = client.Call(ctx, askMember, append(pin[:], name...))
	return err
}

var errStranger = errors.New("it is not a member")

// answerMember says, without error, that a server is a member; it asks nobody itself.
func (n *Node) answerMember(body []byte) ([]byte, error) {
	if len(body) < 32 {
		return nil, fmt.Errorf("a question of %d bytes", len(body))
	}
	s, ok := n.View().Server(string(body[32:]))
	if !ok || s.Cert != [32]byte(body[:32]) {
		return nil, errStranger
	}
	return nil, nil
}
