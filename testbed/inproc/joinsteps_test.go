package inproc

import (
	"os"
	"path/filepath"
	"testing"
)

// A server joins three others, and it or their leader is killed at each step of that, or at every so many
// (COINOP_STRIDE): it is one member in the end.
func TestAServerIsKilledAtEachStepOfAJoin(t *testing.T) {
	victims := map[string]func(c *Cluster, maker string) *Server{
		"who takes the step is killed":   (*Cluster).Maker,
		"the leader is killed meanwhile": (*Cluster).Leading,
	}
	for how, victim := range victims {
		t.Run(how, func(t *testing.T) {
			PlayTuned(t, 3, 0, snapshotsSoon(), func(c *Cluster) {
				kills := 0
				for n := 1; ; n += stride(t) {
					joining := c.planServer()
					taken, killed := c.Walk(n, func(maker string) *Server { return victim(c, maker) }, func() {
						joining.Start()
						c.Until("it votes", func() bool { return c.voters()[joining.Name] })
					})
					c.Until("all vote, and nobody else", func() bool {
						voters := c.voters()
						return len(voters) == 4 && voters["s0"] && voters["s1"] && voters["s2"] && voters["s3"]
					})
					<-joining.Ready()
					if err := c.Agree(); err != nil {
						c.T.Fatalf("%v\n%v was killed at the last of these steps:\n%s", err, killed, lines(taken))
					}
					if killed == nil {
						t.Logf("%d servers were killed, each at one of these steps:\n%s", kills, lines(taken))
						break
					}
					kills++
					c.remove(joining)
				}
				if kills == 0 {
					t.Error("nobody was killed")
				}
			})
		})
	}
}

// voters are the servers that vote, by the names of their hosts; a member that does not vote yet is there without a vote.
func (c *Cluster) voters() map[string]bool {
	list, err := c.User.API.ServerList(c.T.Context())
	if err != nil {
		return nil
	}
	votes := map[string]bool{}
	for _, s := range list.Servers {
		for _, known := range c.Servers {
			if known.Config.Cluster == s.Cluster {
				votes[known.Name] = s.Voter
			}
		}
	}
	if len(votes) != len(list.Servers) {
		c.T.Errorf("members that nobody knows, or one twice: %+v", list.Servers)
	}
	return votes
}

// remove takes the newest server out of the cluster for good.
func (c *Cluster) remove(s *Server) {
	c.T.Helper()
	list, err := c.User.API.ServerList(c.T.Context())
	c.User.must(err)
	for _, m := range list.Servers {
		if m.Cluster == s.Config.Cluster {
			_, err := c.User.API.RemoveServer(c.T.Context(), m.ID)
			c.User.must(err)
		}
	}
	c.Until("it is out", func() bool { return len(c.voters()) == len(c.Servers)-1 })
	s.Kill()
	c.HealAll() // the next one has its name
	c.User.must(os.RemoveAll(s.Config.Dir))
	c.User.must(os.RemoveAll(filepath.Join(c.dir, s.Name)))
	c.Servers = c.Servers[:len(c.Servers)-1]
}
