package linear

import (
	"fmt"
	"time"

	"github.com/coinop/coinop/testbed/inproc"
)

// trouble makes faults until the clients are done, one at a time, and heals them all at the end.
func (l *life) trouble(done <-chan struct{}) (made []string) {
	dice := l.dice(1 << 34)
	for {
		select {
		case <-time.After(time.Duration(200+dice.IntN(1500)) * time.Millisecond):
		case <-done:
			return made
		}
		s := l.c.Leader()
		if dice.IntN(3) == 0 {
			s = l.c.Follower()
		}
		last := time.Duration(500+dice.IntN(3000)) * time.Millisecond
		what := []func(*inproc.Server, time.Duration) string{l.kill, l.kill, l.cut, l.cutFromServers, l.stall}[dice.IntN(5)](s, last)
		made = append(made, fmt.Sprintf("at %v %s", time.Since(l.began)-last, what))
	}
}

func (l *life) kill(s *inproc.Server, last time.Duration) string {
	s.Kill()
	l.c.Wait(last)
	s.Restart()
	return fmt.Sprintf("%s is killed, and back after %v", s.Name, last)
}

// cut leaves a server alone in the world.
func (l *life) cut(s *inproc.Server, last time.Duration) string {
	l.c.Isolate(s.Name)
	l.c.Wait(last)
	l.c.HealAll()
	return fmt.Sprintf("%s is cut off for %v", s.Name, last)
}

// cutFromServers leaves a server to its clients, who ask it what it cannot know.
func (l *life) cutFromServers(s *inproc.Server, last time.Duration) string {
	for _, other := range l.c.Servers {
		if other != s {
			l.c.Isolate(s.Name, other.Name)
		}
	}
	l.c.Wait(last)
	l.c.HealAll()
	return fmt.Sprintf("%s is cut off from the other servers for %v", s.Name, last)
}

// stall has a server hear and not be heard; what it has said arrives later.
func (l *life) stall(s *inproc.Server, last time.Duration) string {
	for _, other := range l.c.Servers {
		if other != s {
			l.c.Mesh.Stall(s.Name, other.Name)
		}
	}
	l.c.Wait(last)
	l.c.HealAll()
	return fmt.Sprintf("what %s says is late by up to %v", s.Name, last)
}
