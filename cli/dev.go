package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler/jobfile"
	"github.com/coinop/coinop/server"
)

// devCredits is what dev's wallet gets, once.
const devCredits = 1_000_000

type devFlags struct {
	dir, http, cpus, level string
	kernel                 string
	executors              int
	gpus                   gpuFlags
}

func (a *app) devVerb() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "a whole cluster in one process: a server, executors, and a wallet with money",
		Long: "A whole cluster in one process, on loopback (elsewhere it speaks HTTPS). Its pool takes requests from this machine without a token, and\n" +
			"the wallet in COINOP_HOME gets 1,000,000 credits, once. Standard output's first line when ready:\n" +
			"ready http://HOST:PORT. Ctrl-C ends its tasks, uncharged; after kill -9 the next start finds them.",
		Example: "  coinop dev\n  coinop dev --dir /tmp/dev --http 127.0.0.1:8080 --executors 3 --cpus 4",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.dev(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "its folder (default: dev in COINOP_HOME; root's: /var/lib/coinop/dev)")
	fl.StringVar(&f.http, "http", DefaultServer, "where to listen")
	fl.IntVar(&f.executors, "executors", 1, "how many executors")
	fl.StringVar(&f.cpus, "cpus", "", "CPUs of each executor, also more than there are (default: all there are)")
	fl.StringVar(&f.kernel, "vm-kernel", "", "the kernel of virtual machines, a `FILE`; without one there are none")
	f.gpus.add(cmd)
	fl.StringVar(&f.level, "log", "", "debug, info, warn or error")
	return cmd
}

func (a *app) dev(ctx context.Context, f devFlags) error {
	if f.executors < 1 || f.executors > 64 {
		return usageError{fmt.Errorf("--executors %d: dev has 1 to 64", f.executors)}
	}
	var cpuMilli int64
	if f.cpus != "" {
		var err error
		if cpuMilli, err = jobfile.ParseCPUs(f.cpus); err != nil {
			return usageError{fmt.Errorf("--cpus: %w", err)}
		}
	}
	if f.dir == "" {
		var err error
		if f.dir, err = devDir(); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil { // tasks' folders lie below
		return fmt.Errorf("start dev: %w", err)
	}
	cluster, err := devClusterPort(dir)
	if err != nil {
		return err
	}
	log := a.devLogger(f.level)
	spendMemory()
	s, err := server.New(server.Config{
		Dir: filepath.Join(dir, "server"), HTTP: f.http, Cluster: cluster, Version: a.version, Log: log,
		Bootstrap: server.DevFounding(),
	})
	if err != nil {
		return err
	}
	d := &devCluster{app: a, dir: dir, cluster: cluster, cpuMilli: cpuMilli, kernel: f.kernel, gpus: f.gpus, log: log}
	return d.run(ctx, s, f.executors)
}

// devLogger is quiet about elections: with one server they mean nothing but that it has started.
func (a *app) devLogger(level string) *slog.Logger {
	log := a.logger(level)
	if level != "" {
		return log
	}
	return slog.New(calm{log.Handler()})
}

// calm leaves out raft's warnings.
type calm struct{ slog.Handler }

func (c calm) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError && strings.HasPrefix(r.Message, "raft") {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler { return calm{c.Handler.WithAttrs(attrs)} }
func (c calm) WithGroup(name string) slog.Handler       { return calm{c.Handler.WithGroup(name)} }

// devDir is where dev keeps everything. Root's tasks run as another user, who can't enter root's own home.
func devDir() (string, error) {
	if os.Geteuid() == 0 && os.Getenv("COINOP_HOME") == "" {
		return "/var/lib/coinop/dev", nil
	}
	dir, err := home()
	return filepath.Join(dir, "dev"), err
}

// devClusterPort is a free port that stays the same, since the executors remember it.
func devClusterPort(dir string) (string, error) {
	path := filepath.Join(dir, "cluster.addr")
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("start dev: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start dev: %w", err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return "", fmt.Errorf("start dev: %w", err)
	}
	return addr, os.WriteFile(path, []byte(addr+"\n"), 0o600)
}

// devCluster is a server and its executors in one process.
type devCluster struct {
	app      *app
	dir      string
	cluster  string
	cpuMilli int64
	kernel   string
	gpus     gpuFlags
	log      *slog.Logger
}

// run keeps all parts going until ctx ends or one fails. The executors end first: they stop their tasks, and the
// server has to hear of it.
func (d *devCluster) run(ctx context.Context, s *server.Server, executors int) error {
	serve, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	served := make(chan error, 1)
	go func() {
		served <- s.Run(serve)
		stopWork()
	}()
	select {
	case <-s.Ready():
	case err := <-served:
		return err
	case <-ctx.Done():
		stopServer()
		return <-served
	}
	var (
		parts  sync.WaitGroup
		mu     sync.Mutex
		failed []error
	)
	fail := func(err error) {
		if err != nil && work.Err() == nil {
			mu.Lock()
			failed = append(failed, err)
			mu.Unlock()
			stopWork()
		}
	}
	url, err := s.URL(ctx)
	if err != nil {
		fail(err)
	}
	for i := range executors {
		parts.Go(func() { fail(d.executor(work, url, i)) })
	}
	if err := d.money(work, url); err != nil {
		fail(fmt.Errorf("fill dev's wallet: %w", err))
	} else if d.await(work, url, executors) {
		fmt.Fprintf(d.app.out, "ready %s\n", url)
	}
	parts.Wait()
	stopServer()
	return errors.Join(append(failed, <-served)...)
}

// await returns true when all executors have told that they run processes, a driver that may answer later than another: what
// is sent then finds a place.
func (d *devCluster) await(ctx context.Context, url string, executors int) bool {
	own, err := d.client(url)
	if err != nil {
		return false
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		up := 0
		if list, err := own.api.Nodes(ctx); err == nil {
			for _, n := range list.Nodes {
				if n.State == "up" && slices.Contains(n.Drivers, "process") {
					up++
				}
			}
		}
		if up >= executors {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
	}
}

// client speaks to dev's own server as its operator.
func (d *devCluster) client(url string) (*app, error) {
	own := &app{version: d.app.version, in: d.app.in, out: d.app.out, err: d.app.err, quiet: true,
		servers: url, tokenFile: filepath.Join(d.dir, "server", "operator.token")}
	_, err := own.connect()
	return own, err
}

// executor joins once and then runs, its tasks ending with it.
func (d *devCluster) executor(ctx context.Context, url string, i int) error {
	name := fmt.Sprintf("n%d", i+1)
	c := machineConfig{
		dir: filepath.Join(d.dir, name), servers: []string{d.cluster}, name: name, pool: "default", cpuMilli: d.cpuMilli, stopTasks: true, localImages: true,
		kernel: d.kernel, gpus: d.gpus,
	}
	if i > 0 {
		c.gpus.none = "they are the first executor's of this machine"
	}
	if _, err := os.Stat(filepath.Join(c.dir, "identity")); errors.Is(err, os.ErrNotExist) {
		own, err := d.client(url)
		if err != nil {
			return err
		}
		token, err := own.api.CreateToken(ctx, client.TokenRequest{Role: "executor"})
		if err != nil {
			return fmt.Errorf("let executor %s join: %w", name, err)
		}
		c.token = token.Token
	}
	return d.app.runMachine(ctx, c, d.log, nil)
}

// money gives the wallet its credits, once for this cluster.
func (d *devCluster) money(ctx context.Context, url string) error {
	marker := filepath.Join(d.dir, "funded")
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	own, err := d.client(url)
	if err != nil {
		return err
	}
	defer own.close()
	if err := own.issue(ctx, devCredits, ""); err != nil {
		return err
	}
	return os.WriteFile(marker, nil, 0o600)
}
