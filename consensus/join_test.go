package consensus

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
)

// tryToJoin starts a server that should be refused, and returns what it says.
func (c *cluster) tryToJoin(token string) error {
	c.t.Helper()
	m := c.member()
	m.cfg.Join, m.cfg.Token = []string{c.leader().ClusterAddr()}, token
	c.start(m)
	<-m.done
	m.cancel()
	m.cancel = nil
	c.all = c.all[:len(c.all)-1]
	return m.err
}

func TestTokensThatDoNotLetIn(t *testing.T) {
	c := newCluster(t, false, nil)
	lead := c.found()
	token := func(kind string, ttl time.Duration) string {
		text, err := lead.JoinToken(t.Context(), kind, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	used := token("server", 0)
	m := c.member()
	m.cfg.Join, m.cfg.Token = []string{lead.ClusterAddr()}, used
	c.start(m)
	c.voters(2)

	short := token("server", 20*time.Millisecond)
	gone, err := pki.ParseToken(short)
	if err != nil {
		t.Fatal(err)
	}
	record, _ := lead.View().Token(machine.TokenHash(gone.Hash()))
	until(t, "cluster time", func() error {
		if c.leader().Now() <= record.Until {
			return errNotYet
		}
		return nil
	})
	wrong, err := pki.ParseToken(used)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Secret[3] ^= 1
	other := wrong
	other.Authority[0] ^= 1
	for want, text := range map[string]string{
		"token_used":             used,
		"token_expired":          short,
		"token_unknown":          wrong.String(),
		"for one executor":       token("executor", 0),
		"must look like":         "hello",
		string(machine.CodeRole): strings.Replace(token("executor", 0), "executor", "server", 1),
	} {
		if err := c.tryToJoin(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	conn, err := tls.Dial("tcp", lead.ClusterAddr(), pki.Joining(ProtoJoin, other.Authority))
	if err == nil {
		conn.Close()
		t.Error("another cluster's token found this one right")
	}
	if n := len(lead.Servers()); n != 2 {
		t.Errorf("%d servers", n)
	}
}

// A server that dies while it joins has some of its papers, in the order in which they are written. With the same token
// it becomes the same member.
func TestAServerThatDiesBetweenItsPapersJoinsWithTheSameToken(t *testing.T) {
	c := newCluster(t, false, nil)
	c.found()
	c.join()
	m := c.join()
	id := m.ID()
	order := []string{fileAuthorityKey, fileAuthority, fileServers, fileCert}
	for have := range order {
		c.stop(m)
		for _, name := range order[have:] {
			if err := os.Remove(m.file(name)); err != nil {
				t.Fatal(err)
			}
		}
		c.start(m) // the token in its configuration is used up
		until(t, "it takes part again", func() error {
			if m.ID() != id || !m.Voters()[id] {
				return errNotYet
			}
			return nil
		})
		mustPropose(t, m.Node, have)
		if n := len(m.Servers()); n != 3 {
			t.Errorf("with %v there are %d servers", order[:have], n)
		}
	}
	if left, err := filepath.Glob(m.file("*")); err != nil || len(left) != len(order)+2 { // its key, and how far its log went
		t.Errorf("its papers are %v (%v): one is missing from the order above", left, err)
	}
}

// A founder that is killed as soon as the others have joined has them in its log alone, where nothing is applied before a
// leader has said how far it is committed.
func TestAFounderThatHasWrittenDownNobodyKnowsTheMembersOfItsLog(t *testing.T) {
	c := newCluster(t, true, nil)
	founder := c.found()
	c.join()
	c.join()
	c.stop(founder)
	if err := os.Remove(founder.file(fileServers)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	mustPropose(t, c.leader().Node, 1)
	c.start(founder)
	until(t, "the founder is there again", func() error {
		if !has(founder.View(), 1) {
			return errNotYet
		}
		return nil
	})
	c.same()
}

func TestTheSameJoinTwiceIsOneMember(t *testing.T) {
	c := newCluster(t, false, nil)
	lead := c.found()
	text, err := lead.JoinToken(t.Context(), "executor", 0)
	if err != nil {
		t.Fatal(err)
	}
	token, err := pki.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := pki.NewKey(rand.Reader)
	csr, _ := pki.Request(key)
	q := pki.JoinRequest{
		Version: 1, Kind: pki.Executor, Secret: hex.EncodeToString(token.Secret[:]), Request: csr, Name: "n1", Pool: "default",
		Facts: []byte(`{"cpu_milli":2000,"memory":1073741824,"drivers":["process"]}`),
	}
	first, err := lead.letIn(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	again, err := lead.letIn(t.Context(), q)
	if err != nil || again.Cert != first.Cert {
		t.Fatalf("the repeated request got something else: %v", err)
	}
	if n := len(lead.View().Nodes()); n != 1 {
		t.Fatalf("%d nodes", n)
	}
	otherKey, _ := pki.NewKey(rand.Reader)
	q.Request, _ = pki.Request(otherKey)
	q.Name = "n2"
	var refused *machine.Refusal
	if _, err := lead.letIn(t.Context(), q); !errors.As(err, &refused) || refused.Code != machine.CodeTokenUsed {
		t.Fatalf("the token let a second one in: %v", err)
	}
}

func TestARemovedServerIsOutAtOnce(t *testing.T) {
	c := newCluster(t, false, nil)
	c.three()
	lead, gone := c.leader(), c.follower()
	if err := lead.RemoveServer(t.Context(), gone.ID()); err != nil {
		t.Fatal(err)
	}
	c.voters(2)
	p := gone.papers.Load()
	conn, err := tls.Dial("tcp", lead.ClusterAddr(), p.identity.Dialing(ProtoForward, nil))
	if err == nil {
		conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells a client only when it reads
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "remote error") {
		t.Errorf("the removed server still gets through: %v", err)
	}
	until(t, "the removed server notices, or is stopped", func() error {
		select {
		case <-gone.done:
			return nil
		default:
		}
		if _, err := gone.Propose(t.Context(), entry(1)); err == nil {
			return errors.New("it still has entries carried out")
		}
		return nil
	})
	gone.cancel()
	<-gone.done
	gone.cancel = nil
	mustPropose(t, lead.Node, 2)
	if err := lead.RemoveServer(t.Context(), "nobody"); err == nil {
		t.Error("a server that is not there was removed")
	}
}

func TestAServerThatMovedIsFoundAtItsNewAddress(t *testing.T) {
	c := newCluster(t, false, nil)
	c.three()
	m := c.follower()
	c.stop(m)
	m.cfg.ClusterAddr = "127.0.0.1:0" // another port from now on
	c.start(m)
	until(t, "its new address is known", func() error {
		s, ok := c.leader().View().Server(m.ID())
		if !ok || s.Cluster != m.ClusterAddr() {
			return errNotYet
		}
		return nil
	})
	mustPropose(t, m.Node, 1)
}

// Two servers can lead when the third vote comes back, and its log names neither of them as a voter.
func TestAServerThatWasAwayBelievesALeaderWhoJoinedMeanwhile(t *testing.T) {
	c := newCluster(t, false, func(_ int, cfg *Config) { cfg.Tuning.Members = 500 * time.Millisecond }) // time to stop before they vote
	c.found()
	c.join()
	away := c.join()
	text, err := c.leader().JoinToken(t.Context(), "server", 0)
	if err != nil {
		t.Fatal(err)
	}
	other := c.member()
	other.cfg.Join, other.cfg.Token = []string{c.leader().ClusterAddr()}, text
	c.start(other)
	until(t, "it joins, and does not vote", func() error {
		if other.ID() == "" || !away.inLog(other.ID()) {
			return errNotYet
		}
		return nil
	})
	c.stop(away)
	c.voters(4)
	newest := c.join2()
	c.lead(newest)
	c.stop(c.all[0])
	c.stop(c.all[1]) // two of five servers are there
	until(t, "nobody leads", func() error {
		if other.Leads() || c.all[newest].Leads() {
			return errNotYet
		}
		return nil
	})
	c.start(away)
	c.lead(newest)
	mustPropose(t, away.Node, 1)
}

// join2 lets another server in though one is away, and returns its number.
func (c *cluster) join2() int {
	c.t.Helper()
	lead := c.leader()
	token, err := lead.JoinToken(c.t.Context(), "server", 0)
	if err != nil {
		c.t.Fatal(err)
	}
	m := c.member()
	m.cfg.Join, m.cfg.Token = []string{lead.ClusterAddr()}, token
	c.start(m)
	c.voters(len(c.all))
	return len(c.all) - 1
}
