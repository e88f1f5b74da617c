package consensus

import (
	"context"
	"crypto/x509"
	"sync"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
)

// departed are the names of members that the state has lost, until cutLoop takes them. Being absent is no reason to be
// cut off: a leader sends a snapshot from before it joined itself.
type departed struct {
	*signal
	mu    sync.Mutex
	names map[string]bool
}

func newDeparted() *departed { return &departed{signal: newSignal(), names: map[string]bool{}} }

func (d *departed) add(names []string) {
	if len(names) == 0 {
		return
	}
	d.mu.Lock()
	for _, name := range names {
		d.names[name] = true
	}
	d.mu.Unlock()
	d.changed()
}

func (d *departed) take() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.names
	d.names = map[string]bool{}
	return names
}

// departures are the members that events remove.
func departures(events []machine.Event) (names []string) {
	for _, e := range events {
		switch e.Kind {
		case machine.EventServerRemoved, machine.EventNodeRemoved:
			names = append(names, e.Text)
		}
	}
	return names
}

// missed are the members of one state that another, which replaces it, does not have.
func missed(old, v *machine.View) (names []string) {
	for _, s := range old.Servers() {
		if !hasServer(v, s.ID, s.Cert) {
			names = append(names, s.ID)
		}
	}
	for _, node := range old.Nodes() {
		if !hasNode(v, node.Name, node.Cert) {
			names = append(names, node.Name)
		}
	}
	return names
}

// cutLoop closes what members have open here once they are members no longer: the pins are asked for at handshakes
// alone. What this server has dialled itself is left to whoever dialled: raft's last words tell the removed server.
func (n *Node) cutLoop(ctx context.Context, cluster *port.TLS) error {
	for {
		more := n.fsm.departed.next()
		names, v := n.fsm.departed.take(), n.View()
		cluster.Drop(func(peer *x509.Certificate) bool {
			name, pin := pki.NameOf(peer), pki.PinOf(peer.Raw)
			return names[name] && !hasServer(v, name, pin) && !hasNode(v, name, pin)
		})
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

func hasServer(v *machine.View, name string, pin pki.Pin) bool {
	s, ok := v.Server(name)
	return ok && s.Cert == pin
}

func hasNode(v *machine.View, name string, pin pki.Pin) bool {
	node, ok := v.NodeByName(name)
	return ok && node.Cert == pin
}
