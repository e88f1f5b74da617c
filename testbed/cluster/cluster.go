package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
)

const (
	readyIn = 60 * time.Second
	stopIn  = 30 * time.Second
)

// Build builds coinop into a file, with more flags of go build.
func Build(ctx context.Context, root, binary string, more ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", binary}, more...), ".")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build coinop: %w\n%s", err, out)
	}
	return nil
}

// Server is one of several servers.
type Server struct {
	*Process
	HTTP    string
	Cluster string
	Dir     string
}

// Cluster is what was started in a folder. It belongs to one goroutine.
type Cluster struct {
	Dir       string // short, since sockets lie below it
	Binary    string
	Servers   []*Server
	Executors []*Process
	Dev       *Process
	Tell      func(line string) // is told each command line; may be nil
	Heard     func(line string) // is told what daemons say when they are ready; may be nil
	Net       *Net              // where daemons of its hosts' names run; nil: all on loopback
	all       []*Process
	planned   int
}

// TempDir is a new temporary folder in which clusters can live: short, since sockets lie below it, and one that tasks'
// users can pass through.
func TempDir(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		return "", fmt.Errorf("make a folder for a cluster: %w", err)
	}
	return dir, nil
}

// New is a cluster of nothing yet. The folder must be passable for the tasks' user.
func New(dir, binary string) (*Cluster, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make a cluster's folder: %w", err)
	}
	return &Cluster{Dir: dir, Binary: binary}, nil
}

// Home is a user of this cluster, with a wallet of its own.
func (c *Cluster) Home(name, addr, token string) Home {
	return Home{Binary: c.Binary, Dir: filepath.Join(c.Dir, name), Addr: addr, Token: token, Work: c.Dir}
}

// StartDev starts `coinop dev` and waits until it is ready. It can be started again after its end.
func (c *Cluster) StartDev(ctx context.Context, home Home, more ...string) error {
	args := append([]string{"dev", "--dir", "dev", "--http", home.Addr}, more...)
	p, err := c.start("dev", home.Env(), args...)
	if err != nil {
		return err
	}
	c.Dev = p
	return c.ready(ctx, p)
}

// Plan gives n more servers their names and addresses; StartServers starts them, or Join.
func (c *Cluster) Plan(n int) error {
	for range n {
		http, err := FreeAddr()
		if err != nil {
			return err
		}
		port, err := FreeAddr()
		if err != nil {
			return err
		}
		c.planned++
		name := fmt.Sprintf("s%d", c.planned)
		c.Servers = append(c.Servers, &Server{Process: &Process{Name: name}, HTTP: http, Cluster: port, Dir: filepath.Join(c.Dir, name)})
	}
	return nil
}

// PlanOn gives n servers hosts of their own on a net. Clients reach them on loopback all the same.
func (c *Cluster) PlanOn(net *Net, n int) error {
	if err := c.Plan(n); err != nil {
		return err
	}
	c.Net = net
	for _, s := range c.Servers {
		if err := net.Add(s.Name); err != nil {
			return err
		}
		s.Cluster = net.Addr(s.Name) + ":2771"
		if err := net.Forward(s.Name, s.HTTP); err != nil {
			return err
		}
	}
	return nil
}

// StartServers starts the planned servers: the first one makes the cluster, the others join it.
func (c *Cluster) StartServers(ctx context.Context) error {
	for i, s := range c.Servers {
		var err error
		if i == 0 {
			err = c.startServer(ctx, s, "--bootstrap")
		} else {
			err = c.Join(ctx, s, c.Servers[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Join starts a server with an empty folder, which another one lets in.
func (c *Cluster) Join(ctx context.Context, s, by *Server) error {
	token, err := c.joinToken(ctx, "server", s.Name)
	if err != nil {
		return err
	}
	return c.startServer(ctx, s, "--join", by.Cluster, "--token", "@"+token)
}

func (c *Cluster) startServer(ctx context.Context, s *Server, more ...string) error {
	p, err := c.start(s.Name, Environ(), append([]string{"server", "--dir", s.Name, "--http", s.HTTP, "--cluster", s.Cluster}, more...)...)
	if err != nil {
		return err
	}
	s.Process = p
	return c.ready(ctx, p)
}

// Restart starts servers again that have ended: all at once, since they may need each other.
func (c *Cluster) Restart(ctx context.Context, servers ...*Server) error {
	for _, s := range servers {
		p, err := c.start(s.Name, Environ(), "server", "--dir", s.Name, "--http", s.HTTP, "--cluster", s.Cluster)
		if err != nil {
			return err
		}
		s.Process = p
	}
	for _, s := range servers {
		if err := c.ready(ctx, s.Process); err != nil {
			return err
		}
	}
	return nil
}

// StartExecutor starts an executor and waits until its node is up. One that has joined before needs no token.
func (c *Cluster) StartExecutor(ctx context.Context, name string, more ...string) (*Process, error) {
	var ports []string
	for _, s := range c.Servers {
		ports = append(ports, s.Cluster)
	}
	args := append([]string{"executor", "--dir", name, "--cluster", strings.Join(ports, ","), "--name", name}, more...)
	if _, err := os.Stat(filepath.Join(c.Dir, name, "identity")); errors.Is(err, os.ErrNotExist) {
		token, err := c.joinToken(ctx, "executor", name)
		if err != nil {
			return nil, err
		}
		args = append(args, "--token", "@"+token)
	}
	p, err := c.start(name, Environ(), args...)
	if err != nil {
		return nil, err
	}
	c.Executors = append(c.Executors, p)
	if err := c.ready(ctx, p); err != nil {
		return p, err
	}
	return p, c.AwaitNode(ctx, name)
}

// AwaitNode waits until a node is up and has said that it runs processes: that driver may answer later than another.
func (c *Cluster) AwaitNode(ctx context.Context, name string) error {
	return Until(ctx, readyIn, "node "+name+" is up", func() (bool, error) {
		var nodes client.NodeList
		if err := c.Operator().JSON(ctx, &nodes, "nodes"); err != nil {
			return false, err
		}
		for _, n := range nodes.Nodes {
			if n.Node == name && n.State == "up" && slices.Contains(n.Drivers, "process") {
				return true, nil
			}
		}
		return false, nil
	})
}

// Addr lists the servers' HTTP addresses, as COINOP_ADDR takes them.
func (c *Cluster) Addr() string {
	var list []string
	for _, s := range c.Servers {
		list = append(list, s.HTTP)
	}
	return strings.Join(list, ",")
}

// TokenFile is the first operator's token, which lies with the server that has made the cluster.
func (c *Cluster) TokenFile() string { return filepath.Join(c.Dir, "s1", "operator.token") }

// Operator is a user with the operator's token.
func (c *Cluster) Operator() Home { return c.Home("operator-home", c.Addr(), c.TokenFile()) }

// Leader asks who leads; servers that were just cut off from a leader know of none for a moment.
func (c *Cluster) Leader(ctx context.Context) (*Server, client.ServerList, error) {
	var (
		list   client.ServerList
		leader *Server
	)
	err := Until(ctx, readyIn, "the servers have a leader", func() (bool, error) {
		list = client.ServerList{}
		if err := c.Operator().JSON(ctx, &list, "operator", "servers"); err != nil {
			return false, err
		}
		for _, said := range list.Servers {
			for _, s := range c.Servers {
				if said.Leader && s.HTTP == strings.TrimPrefix(said.HTTP, "http://") && !s.Ended() {
					leader = s
				}
			}
		}
		return leader != nil, nil
	})
	return leader, list, err
}

// Running lists the daemons that have not ended.
func (c *Cluster) Running() []*Process {
	var running []*Process
	for _, p := range c.all {
		if !p.Ended() {
			running = append(running, p)
		}
	}
	return running
}

// Stop ends everything that was started: executors before servers, since what they have to say must be heard.
func (c *Cluster) Stop() error {
	var failed []error
	running := c.Running()
	for i := len(running) - 1; i >= 0; i-- {
		failed = append(failed, running[i].Stop(stopIn))
	}
	return errors.Join(failed...)
}

func (c *Cluster) joinToken(ctx context.Context, role, name string) (string, error) {
	var answer client.TokenAnswer
	if err := c.Operator().JSON(ctx, &answer, "operator", "token", "create", "--role", role); err != nil {
		return "", err
	}
	file := name + ".join"
	c.tell(Line("operator", "token", "create", "--role", role) + " > " + file)
	if err := os.WriteFile(filepath.Join(c.Dir, file), []byte(answer.Token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep a join token: %w", err)
	}
	return file, nil
}

func (c *Cluster) start(name string, env []string, args ...string) (*Process, error) {
	c.tell(Line(args...) + " &")
	command := append([]string{c.Binary}, args...)
	if c.Net != nil && c.Net.Addr(name) != "" {
		command = append(c.Net.Under(name), command...)
	}
	p, err := start(c.Dir, name, env, command[0], command[1:]...)
	if err == nil {
		c.all = append(c.all, p)
	}
	return p, err
}

func (c *Cluster) tell(line string) {
	if c.Tell != nil {
		c.Tell(line)
	}
}

func (c *Cluster) ready(ctx context.Context, p *Process) error {
	ctx, stop := context.WithTimeout(ctx, readyIn)
	defer stop()
	line, err := p.Ready(ctx)
	if err == nil && !strings.HasPrefix(line, "ready ") {
		err = fmt.Errorf("%s began with %q, not with ready", p.Name, line)
	}
	if err == nil && c.Heard != nil {
		c.Heard(line)
	}
	return err
}

// FreeAddr is a loopback address on which nothing listens.
func FreeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}

// Until waits for something to become true; the last error says why it did not.
func Until(ctx context.Context, patience time.Duration, what string, is func() (bool, error)) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		done, err := is()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(look):
		}
	}
}
