package consensus

import (
	"context"
	"crypto/x509"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/scheduler"
)

func parting(e machine.Event) bool {
	return e.Kind == machine.EventServerRemoved || e.Kind == machine.EventNodeRemoved
}

// cutLoop closes what members have open here once they are members no longer: the pins are asked for at handshakes
// alone. What this server has dialled itself is left to whoever dialled: raft's last words tell the removed server.
func (n *Node) cutLoop(ctx context.Context, cluster *port.TLS) error {
	for {
		parted := n.fsm.parted.next()
		v := n.View()
		cluster.Drop(func(peer *x509.Certificate) bool { return len(v.Servers()) > 0 && !belongs(v, peer) })
		select {
		case <-parted:
		case <-ctx.Done():
			return nil
		}
	}
}

// belongs says whether the state has a server or an executor with this certificate. A server that the state does not have
// yet dials again, and is asked about then.
func belongs(v *machine.View, peer *x509.Certificate) bool {
	name, pin := pki.NameOf(peer), pki.PinOf(peer.Raw)
	if s, ok := v.Server(name); ok && s.Cert == pin {
		return true
	}
	node, ok := v.NodeByName(name)
	return ok && node.Cert == pin && node.State != scheduler.NodeRemoved
}
