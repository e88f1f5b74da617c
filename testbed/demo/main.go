// Command demo plays the way of a job's money in five acts, with real processes, jobs and coins.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

const acts = `coinop in five acts, while it is being built:

  1  a job ends early and gets its change
  2  a stream runs dry, is paused, and is topped up by another wallet that knows only the fund id
  3  two jobs wait for one taken place, alike but for what they brought
  4  three servers: the leader is killed while a job runs and another is being sent
  5  receipts, and the wallets' balance to the credit
`

func main() {
	binary := flag.String("coinop", "", "a built coinop; without it one is built from here")
	out := flag.String("out", "demo-out", "where receipts and the picture go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *out, os.Getenv("KEEP") == "1"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one performance.
type demo struct {
	*screen
	checks
	dir, out string
	dev      *cluster.Cluster
	three    *cluster.Cluster
	you      cluster.Home // dev's wallet
	friend   cluster.Home // another one at dev
	team     cluster.Home // a wallet at the three servers
	other    cluster.Home // another one there
	current  cluster.Home // whose commands are printed without their wallet's name
	jobs     map[string]uint64
	receipts []kept
	failover failover

	initial, wallets, charged, fees int64 // of all wallets, in micro-units
}

func run(ctx context.Context, binary, out string, keep bool) (err error) {
	s := newScreen(os.Stdout)
	s.say(heading, "%s", acts)
	dir, err := cluster.TempDir("coinop-demo-")
	if err != nil {
		return err
	}
	d := &demo{screen: s, checks: checks{screen: s}, dir: dir, out: out, jobs: map[string]uint64{}}
	defer func() { err = errors.Join(err, d.end(keep && err == nil)) }()
	built := filepath.Join(dir, "bin", "coinop")
	if err := d.build(ctx, binary, built); err != nil {
		return err
	}
	if err := d.prepare(built); err != nil {
		return err
	}
	began := time.Now()
	for _, act := range []func(context.Context) error{d.early, d.stream, d.better, d.threeServers, d.books} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if !keep {
		if err := d.stopAll(); err != nil {
			return err
		}
		left, err := cluster.Left(dir)
		if err != nil {
			return err
		}
		equal(&d.checks, "processes, mounts and cgroups that are left", fmt.Sprint(left), "[]")
	}
	d.say(aside, "played in %s; receipts, the killed server and Raft's terms are in %s", time.Since(began).Round(time.Second), out)
	return d.finish()
}

func (d *demo) build(ctx context.Context, binary, built string) error {
	if err := os.MkdirAll(filepath.Dir(built), 0o755); err != nil {
		return fmt.Errorf("make a folder for coinop: %w", err)
	}
	if binary != "" {
		whole, err := os.ReadFile(binary)
		if err != nil {
			return fmt.Errorf("take a built coinop: %w", err)
		}
		return os.WriteFile(built, whole, 0o755)
	}
	began := time.Now()
	if err := cluster.Build(ctx, ".", built); err != nil {
		return err
	}
	d.say(aside, "built in %s", time.Since(began).Round(time.Second))
	return nil
}

func (d *demo) prepare(binary string) error {
	if err := os.RemoveAll(d.out); err != nil {
		return fmt.Errorf("clear %s: %w", d.out, err)
	}
	if err := os.MkdirAll(filepath.Join(d.out, "receipts"), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", d.out, err)
	}
	var err error
	if d.dev, err = cluster.New(filepath.Join(d.dir, "one"), binary); err != nil {
		return err
	}
	if d.three, err = cluster.New(filepath.Join(d.dir, "three"), binary); err != nil {
		return err
	}
	tell := func(line string) { d.say(command, "$ %s", line) }
	heard := func(line string) { d.say(plain, "%s", line) }
	d.dev.Tell, d.three.Tell, d.dev.Heard, d.three.Heard = tell, tell, heard, heard
	return nil
}

// finish prints the last line, draws the picture and says whether all checks held.
func (d *demo) finish() error {
	if err := d.checks.err(); err != nil {
		return err
	}
	d.say(heading, "demo: %d checks passed, initial = wallet + charged + input fees (%s)", d.passed, d.sum())
	f, err := os.Create(filepath.Join(d.out, "demo.svg"))
	if err != nil {
		return fmt.Errorf("draw the demo: %w", err)
	}
	return errors.Join(svg(f, d.all()), f.Close())
}

func (d *demo) stopAll() error {
	var failed []error
	for _, c := range []*cluster.Cluster{d.dev, d.three} {
		if c != nil {
			failed = append(failed, c.Stop())
		}
	}
	return errors.Join(failed...)
}

// end leaves nothing, or all of it and three things to try.
func (d *demo) end(keep bool) error {
	if keep {
		d.leave()
		return nil
	}
	return errors.Join(d.stopAll(), cluster.Clear(d.dir), os.RemoveAll(d.dir))
}
