// Package server is one server process: the leader's loops, the executors' streams and the HTTP interface on one replicated truth.
package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/book"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/consensus/pki"
	"github.com/coinop/coinop/consensus/port"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// Config is what a server needs.
type Config struct {
	Dir       string // everything it keeps
	HTTP      string // HOST:PORT of the public interface
	Cluster   string // HOST:PORT of the cluster port
	Advertise string // where other machines reach the cluster port; empty: Cluster
	Bootstrap *Founding
	Restore   *Restore // a saved state to begin with, instead of Bootstrap
	Join      []string // cluster ports of servers to join
	Token     string   // with this join token
	Version   string
	Hosts     []string // names by which this server may be called, beside addresses, localhost and its own
	HTTPSCert string   // files with a certificate and its key; empty: off loopback the cluster's authority makes one
	HTTPSKey  string
	PlainHTTP bool         // no HTTPS off loopback either
	Network   port.Network // nil: TCP
	Tuning    consensus.Tuning
	Wall      func() time.Time // nil: the machine's
	Log       *slog.Logger

	Stores func(consensus.Stores) consensus.Stores // what raft keeps things through; nil: as they are
}

// Server is one server. New makes it, Run does everything.
type Server struct {
	config    Config
	node      *consensus.Node
	keys      *keys
	news      *news
	executors *executors
	blobs     *blobs.Store
	book      *book.Book
	peers     *http.Client // calls other servers
	api       *api.API
	public    *public
	http      net.Listener
	ready     chan struct{}

	restoreFrom string        // a snapshot that has yet to become the state; empty: none
	restored    chan struct{} // closed when there is none (any more)
}

// shutdownMax is how long requests under way may take when a server stops.
const shutdownMax = 3 * time.Second

// New checks the configuration and opens what is needed; nothing runs yet.
func New(c Config) (*Server, error) {
	if c.Dir == "" || c.HTTP == "" || c.Cluster == "" {
		return nil, errors.New("make a server: a folder, an HTTP address and a cluster address are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = port.TCP{}
	}
	if err := folder(c.Dir); err != nil {
		return nil, fmt.Errorf("make a server in %s: %w", c.Dir, err)
	}
	s := &Server{config: c, news: newNews(), ready: make(chan struct{}), restored: make(chan struct{})}
	s.keys = newKeys(filepath.Join(c.Dir, secretFile))
	if err := s.compose(); err != nil {
		return nil, fmt.Errorf("make a server in %s: %w", c.Dir, err)
	}
	return s, nil
}

// folder makes the server's folder, and says so at once where nothing can be written in it: SQLite would speak of a file
// that is not there.
func folder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// compose puts the parts together.
func (s *Server) compose() error {
	c := s.config
	var err error
	if s.public, err = newPublic(c, s.authority); err != nil {
		return err
	}
	config := consensus.Config{
		Dir: c.Dir, ClusterAddr: c.Cluster, Advertise: c.Advertise, HTTPAddr: c.HTTP, Version: c.Version,
		Join: c.Join, Token: c.Token, Secret: s.keys.sealed, SetSecret: s.keys.setSealed, Log: c.Log,
		Network: c.Network, Tuning: c.Tuning, Wall: c.Wall, Stores: c.Stores,
	}
	if s.public.secured() {
		config.HTTPAddr = s.public.base(c.HTTP)
	}
	if c.Restore != nil {
		if err := c.Restore.prepare(c.Dir); err != nil {
			return err
		}
	}
	if s.restoreFrom = toRestore(c.Dir); s.restoreFrom != "" {
		c.Bootstrap = &Founding{}
	} else {
		close(s.restored)
	}
	if c.Bootstrap != nil {
		init, err := found(c.Dir, *c.Bootstrap, time.Now())
		if err != nil {
			return err
		}
		config.Bootstrap = init
	}
	config.Booked = func(ctx context.Context, seq uint64) error { return s.book.WaitFor(ctx, seq) }
	config.Alarm = func() string { return s.book.Alarm() }
	if s.node, err = consensus.New(config); err != nil {
		return err
	}
	s.peers = s.node.PeerClient()
	if s.book, err = book.Open(s.bookConfig()); err != nil {
		return err
	}
	if s.blobs, err = blobs.New(s.blobConfig()); err != nil {
		return err
	}
	s.executors = newExecutors(s)
	s.node.HandleALPN(consensus.ProtoExecutor, func(conn net.Conn, peer *x509.Certificate) {
		if err := s.executors.serve(conn, pki.NameOf(peer), pki.PinOf(peer.Raw)); err != nil {
			s.config.Log.Warn("executor's connection", "err", err)
		}
	})
	s.node.Mux().Handle("/blobs/", s.blobs.Handler())
	s.node.Mux().Handle("/book/", s.book.Handler())
	s.node.Mux().Handle(historyPath, s.past())
	s.node.Mux().Handle(logPath, http.HandlerFunc(s.servePeerLog))
	s.node.Mux().Handle(execPath, http.HandlerFunc(s.servePeerExec))
	s.node.Mux().Handle(gpuUsePath, http.HandlerFunc(s.servePeerGPUUse))
	return s.composeAPI()
}

func (s *Server) composeAPI() error {
	registry := prometheus.NewRegistry()
	err := registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "coinop_alarm", Help: "1 while this server has something that an operator should look at: `coinop operator servers` says what.",
	}, func() float64 {
		if s.node.Alarm() == "" {
			return 0
		}
		return 1
	}))
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	s.api, err = api.New(api.Config{
		Node: s.node, Keyring: s.keys.ring, Cluster: members{s}, Blobs: s.blobs,
		Logs: logs{s}, Commands: commands{s}, GPUs: gpus{s}, Events: events{s}, Book: history{s}, Now: s.now,
		Metrics: registry, Gather: registry, Log: s.config.Log, Version: s.config.Version,
		Hosts: s.public.names(),
	})
	return err
}

// now is cluster time.
func (s *Server) now() funding.Millis { return s.node.Now() }

// Leads says whether this server leads and has applied all that came before.
func (s *Server) Leads() bool { return s.node.Leads() }

// View is the state as it is applied here.
func (s *Server) View() *machine.View { return s.node.View() }

// Ready is closed when the server votes and answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// HTTPAddr is where it listens; empty before Run.
func (s *Server) HTTPAddr() string {
	if s.http == nil {
		return ""
	}
	return s.http.Addr().String()
}

// URL is where clients reach it, with a fingerprint where they need one; there is none before Run.
func (s *Server) URL(ctx context.Context) (string, error) {
	if s.http == nil {
		return "", errors.New("the server does not listen yet")
	}
	return s.public.url(ctx, s.HTTPAddr())
}

// authority is the cluster's, once this server belongs to it.
func (s *Server) authority(ctx context.Context) (*pki.Authority, error) {
	select {
	case <-s.node.Ready():
		return s.node.Authority(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Run serves until ctx ends, or something makes that impossible.
func (s *Server) Run(ctx context.Context) error {
	ln, err := s.config.Network.Listen(s.config.HTTP)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.config.HTTP, err)
	}
	s.http = ln
	if !s.public.secured() && !client.OnLoopback(s.config.HTTP) {
		s.config.Log.Warn("plain HTTP off loopback: whoever is on the way can read keys and take coins", "address", s.config.HTTP)
	}
	web := s.api.HTTPServer()
	group, ctx := errgroup.WithContext(ctx)
	web.BaseContext = func(net.Listener) context.Context { return ctx }
	group.Go(func() error { return s.node.Run(ctx) })
	group.Go(func() error { return s.blobs.Run(ctx) })
	group.Go(func() error { return s.book.Run(ctx) })
	group.Go(func() error { return s.work(ctx) })
	group.Go(func() error {
		select { // who came before would speak with a state that is about to be replaced
		case <-s.restored:
		case <-ctx.Done():
		}
		if err := web.Serve(s.public.secure(s.api.Guard(ln))); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownMax)
		defer cancel()
		if err := web.Shutdown(end); err != nil {
			return web.Close()
		}
		return nil
	})
	err = group.Wait()
	s.peers.CloseIdleConnections()
	return errors.Join(err, s.book.Close())
}

// work follows the state and, in office, leads.
func (s *Server) work(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.node.Ready():
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { s.keys.follow(ctx, s.node, s.config.Log) })
	loops.Go(func() {
		s.news.run(ctx, s.node.View().Seq(), s.node.Events, func() uint64 { return s.node.View().Seq() })
	})
	loops.Go(func() { s.executors.run(ctx) })
	loops.Go(func() { s.becomeReady(ctx) })
	s.govern(ctx)
	return nil
}

// becomeReady waits for the cluster to exist as this server sees it, and for its own vote: who waits for three servers
// to be ready may kill one.
func (s *Server) becomeReady(ctx context.Context) {
	select {
	case <-s.restored:
	case <-ctx.Done():
		return
	}
	for {
		changed := s.node.Changed()
		if s.node.View().Format() != 0 && s.keys.ring() != nil && s.node.Seated() {
			close(s.ready)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(50 * time.Millisecond): // the keys follow the state a moment later, and votes are no entries
		}
	}
}

// govern leads whenever this server is elected, until ctx ends.
func (s *Server) govern(ctx context.Context) {
	var (
		stop func()
		done chan struct{}
	)
	resign := func() {
		if stop != nil {
			stop()
			<-done
			stop = nil
		}
	}
	defer resign()
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-s.node.LeaderCh():
			resign()
			if !leads {
				continue
			}
			term, cancel := context.WithCancel(ctx)
			stop, done = cancel, make(chan struct{})
			go func() {
				defer close(done)
				s.lead(term)
			}()
		}
	}
}

// lead decides and answers executors for one term.
func (s *Server) lead(ctx context.Context) {
	if s.restoreFrom != "" {
		if err := s.restore(ctx); err != nil {
			s.config.Log.Error("the saved state was not taken up; begin again with an empty folder", "err", err)
			return
		}
		s.restoreFrom = ""
		close(s.restored)
	}
	s.config.Log.Info("leads", "term", s.node.Term())
	s.executors.takeOffice(s.node.Term())
	defer s.executors.leaveOffice()
	l := &leader{truth: s.node, news: s.news, lost: s.executors.lost, rest: s.node.Rested(), log: s.config.Log}
	l.run(ctx)
}

// keys are the mint's private keys, as far as the state's keysets go.
type keys struct {
	path string

	mu      sync.Mutex
	current *mint.Keyring // guarded by mu; nil until the state's keysets are opened
	opened  string        // guarded by mu: which keysets current was made of
}

func newKeys(path string) *keys { return &keys{path: path} }

func (k *keys) ring() *mint.Keyring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

func (k *keys) sealed() ([]byte, error) { return os.ReadFile(k.path) }

func (k *keys) setSealed(b []byte) error {
	epochs, err := mint.ParseSealed(string(b))
	if err != nil {
		return err
	}
	return mint.WriteSealed(k.path, epochs)
}

// follow makes a new keyring whenever the state's keysets change. A server whose secret gives other keys than the
// state's signs nothing, and says so.
func (k *keys) follow(ctx context.Context, node *consensus.Node, log *slog.Logger) {
	for {
		changed := node.Changed()
		if err := k.open(node.View()); err != nil {
			log.Error("the mint's keys cannot be opened: this server signs nothing", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (k *keys) open(view *machine.View) error {
	records := view.Keysets()
	var names []string
	keysets := make([]mint.Keyset, 0, len(records))
	for _, r := range records {
		names = append(names, fmt.Sprint(r.ID, r.State))
		keysets = append(keysets, r.Keyset)
	}
	name := strings.Join(names, " ")
	k.mu.Lock()
	known := k.opened == name
	k.mu.Unlock()
	if known || len(keysets) == 0 {
		return nil
	}
	epochs, err := mint.ReadSealed(k.path)
	if err != nil {
		return err
	}
	ring, err := mint.NewKeyring(epochs, keysets)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opened = name // a failure is told once, not at every entry
	if err != nil {
		k.current = nil
		return err
	}
	k.current = ring
	return nil
}
