package inproc

import (
	"fmt"
	"sync"
)

// Step is something that a server, or a machine, does and that outlasts a server's death: a write of its disk, a
// question that it has heard, an answer that it gives.
type Step struct{ Who, What string }

func (s Step) String() string { return s.Who + " " + s.What }

// steps are counted while a walk is under way. At the one that was chosen a server is killed: whoever takes the step
// is stopped in it.
type steps struct {
	mu     sync.Mutex
	on     bool
	taken  []Step
	at     int                        // the number of the step that kills, from 1; zero: none does
	victim func(maker string) *Server // nil where nobody is there to be killed: the next step will do
	struck chan *Server               // has room for the one
}

// cross is called at each step. While a server is killed nobody gets past the next one.
func (s *steps) cross(who, what string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return
	}
	s.taken = append(s.taken, Step{who, fmt.Sprintf(what, args...)})
	if len(s.taken) != s.at {
		return
	}
	v := s.victim(who)
	if v == nil {
		s.at++
		return
	}
	s.on = false
	v.crash()
	s.struck <- v
}

func (s *steps) begin(at int, victim func(maker string) *Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.taken, s.at, s.victim, s.struck = true, nil, at, victim, make(chan *Server, 1)
}

func (s *steps) end() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
	return s.taken
}

// Walk tells a story, which talks to the cluster as clients do and from a goroutine of its own. At the nth step that
// servers and machines take meanwhile a server is killed; it is back after a while. Walk returns the steps up to that
// one, or all of them where the story ended before.
func (c *Cluster) Walk(n int, victim func(maker string) *Server, story func()) (taken []Step, killed *Server) {
	c.T.Helper()
	c.steps.begin(n, victim)
	done := make(chan struct{})
	go func() {
		defer close(done)
		story()
	}()
	select {
	case killed = <-c.steps.struck:
		killed.bury()
		c.Wait(awayFor)
		killed.Restart()
		<-done
	case <-done:
	}
	taken = c.steps.end()
	select {
	case killed = <-c.steps.struck: // at the story's very end
		killed.bury()
		killed.Restart()
	default:
	}
	if c.T.Failed() {
		c.T.Fatalf("%v was killed at step %d: %v", killed, n, taken)
	}
	return taken, killed
}

// String is its name.
func (s *Server) String() string {
	if s == nil {
		return "nobody"
	}
	return s.Name
}

// Maker is the server that takes the step; the leader, if a machine does.
func (c *Cluster) Maker(name string) *Server {
	for _, s := range c.Servers {
		if s.Name == name {
			return s
		}
	}
	return c.Leading(name)
}

// Leading is the server that leads now, whoever takes the step; nil if none does.
func (c *Cluster) Leading(string) *Server {
	for _, s := range c.Servers {
		if s.cancel != nil && s.Leads() {
			return s
		}
	}
	return nil
}
