package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// nowhere is an address that no host has: frames to it are lost without a word.
const nowhere = "02:00:00:00:00:01"

// Net is hosts of their own on one machine: network namespaces, joined by a bridge in one more. Packets from one to another
// can be lost, each way by itself. It belongs to one goroutine.
type Net struct {
	prefix string
	hosts  map[string]string  // addresses by name
	lost   map[[2]string]bool // from whom to whom all is lost
	open   []io.Closer
	pipes  sync.WaitGroup
}

// CanNet says why this machine can have no net, if it can't.
func CanNet() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces want root")
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("network namespaces want the Debian packages iproute2 and util-linux: %w", err)
		}
	}
	return nil
}

// NewNet is a net without hosts. The prefix names what it makes on this machine.
func NewNet(prefix string) (*Net, error) {
	n := &Net{prefix: prefix, hosts: map[string]string{}, lost: map[[2]string]bool{}}
	hub := n.space("hub")
	if err := errors.Join(ip("netns", "add", hub), ip("-n", hub, "link", "add", "hub", "type", "bridge"), ip("-n", hub, "link", "set", "hub", "up")); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Net) space(host string) string { return n.prefix + "-" + host }

// Add makes a host.
func (n *Net) Add(host string) error {
	space, hub := n.space(host), n.space("hub")
	addr := fmt.Sprintf("10.0.0.%d", len(n.hosts)+1)
	n.hosts[host] = addr
	for _, args := range [][]string{
		{"netns", "add", space},
		{"-n", space, "link", "set", "lo", "up"},
		{"link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", host, "netns", hub},
		{"-n", space, "addr", "add", addr + "/24", "dev", "eth0"},
		{"-n", space, "link", "set", "eth0", "up"},
		{"-n", hub, "link", "set", "dev", host, "master", "hub", "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

// Addr is where the others reach a host.
func (n *Net) Addr(host string) string { return n.hosts[host] }

// Under is the command that starts another one on a host.
func (n *Net) Under(host string) []string {
	return []string{"nsenter", "--net=" + n.file(host)} // `ip netns exec` would hide the control groups
}

func (n *Net) file(host string) string { return filepath.Join("/run/netns", n.space(host)) }

// Lose loses all packets from one host to another, without a word to either.
func (n *Net) Lose(from, to string) error {
	n.lost[[2]string{from, to}] = true
	return ip("-n", n.space(from), "neigh", "replace", n.hosts[to], "lladdr", nowhere, "dev", "eth0", "nud", "permanent")
}

// Cut loses all packets between a host and some others.
func (n *Net) Cut(host string, others ...string) error {
	var failed []error
	for _, other := range others {
		failed = append(failed, n.Lose(host, other), n.Lose(other, host))
	}
	return errors.Join(failed...)
}

// Heal ends all losses from and to a host.
func (n *Net) Heal(host string) error {
	var failed []error
	for way := range n.lost {
		if way[0] == host || way[1] == host {
			delete(n.lost, way)
			failed = append(failed, ip("-n", n.space(way[0]), "neigh", "del", n.hosts[way[1]], "dev", "eth0"))
		}
	}
	return errors.Join(failed...)
}

// Forward makes a loopback address of a host one of this process's network, so that clients reach what listens there
// whatever is cut.
func (n *Net) Forward(host, addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("forward to host %s: %w", host, err)
	}
	n.open = append(n.open, ln)
	n.pipes.Go(func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			n.pipes.Go(func() {
				join(from, func() (to net.Conn, err error) {
					err = n.within(host, func() error {
						to, err = net.Dial("tcp", addr)
						return err
					})
					return to, err
				})
			})
		}
	})
	return nil
}

// join copies both ways until both ends are closed. Who cannot be reached is told by an end without a word.
func join(from net.Conn, dial func() (net.Conn, error)) {
	defer from.Close()
	to, err := dial()
	if err != nil {
		return
	}
	defer to.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to) // a broken pipe ends both
		from.Close()
	})
	_, _ = io.Copy(to, from)
	to.Close()
	back.Wait()
}

// within does something in a host's network: a socket belongs to the one that its thread was in.
func (n *Net) within(host string, do func() error) error {
	runtime.LockOSThread() // a thread that does not find back stays locked, and dies with its goroutine
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("leave for host %s: %w", host, err)
	}
	defer own.Close()
	other, err := os.Open(n.file(host))
	if err == nil {
		defer other.Close()
		err = unix.Setns(int(other.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter host %s: %w", host, err)
	}
	err = do()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave host %s: %w", host, back))
	}
	runtime.UnlockOSThread()
	return err
}

// Close removes all hosts. What runs there must have ended.
func (n *Net) Close() error {
	var failed []error
	for _, c := range n.open {
		failed = append(failed, c.Close())
	}
	for host := range n.hosts {
		failed = append(failed, ip("netns", "del", n.space(host)))
	}
	failed = append(failed, ip("netns", "del", n.space("hub")))
	n.pipes.Wait()
	return errors.Join(failed...)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
