package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	idleServers = 3
	idleFew     = 100                       // executors of the reference
	idleRest    = 60 * time.Second          // in which nothing is asked of anybody
	idleSettles = joinTerm + 10*time.Second // before that: what came before has been written down, join tokens are over
	crowdIn     = 10 * time.Minute          // in which all have leases
	shm         = "/dev/shm"                // where executors' folders lie: the servers' disk is not theirs
)

// light is a stream of jobs that the driver ends at once.
var (
	light    = flow{n: 1000, within: time.Minute, perSecond: 50}
	lightJob = client.JobSpec{CPUMilli: 1000, MemoryBytes: 64 << 20, TimeMs: 1000, BidMicro: 1_000_000, Command: []string{"exit", "0"}}
)

// idle is servers and their executors, as the measure has them.
type idle struct {
	*cluster.Cluster
	crowds *crowds
	leader *cluster.Server
	term   uint64
	token  string
	pot    client.Secret
	nodes  int
	lost   int // how often another leader was elected though nobody had killed the one before it
}

// readIdle has executors do nothing, then a few jobs, then look for another leader.
func readIdle(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withGroup(ctx, "idle", idleServers, func(c *cluster.Cluster, s *submission, leader *cluster.Server) (err error) {
		dir, err := os.MkdirTemp(shm, "coinop-idle-")
		if err == nil {
			err = os.Chmod(dir, 0o711)
		}
		if err != nil {
			return fmt.Errorf("make a folder for executors: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		i := &idle{Cluster: c, crowds: &crowds{}, token: s.token, pot: s.pot}
		defer func() { err = errors.Join(err, i.crowds.stop()) }()
		config := crowdConfig{Dir: dir, API: strings.Split(c.Addr(), ","), Token: s.token}
		for _, s := range c.Servers {
			config.Servers = append(config.Servers, s.Cluster)
		}
		few, err := i.grow(ctx, config, max(1, min(idleFew, b.nodes/2)))
		if err != nil {
			return err
		}
		alone, err := i.work(ctx)
		if err != nil {
			return err
		}
		all, err := i.grow(ctx, config, b.nodes)
		if err != nil {
			return err
		}
		for range b.rounds {
			round, err := i.round(ctx, alone)
			if err != nil {
				return errors.Join(err, errors.New(i.leader.LogTail(10)))
			}
			rounds = append(rounds, append(round, few, all))
		}
		return nil
	})
	return rounds, err
}

// grow has executors join until there are so many, and reads how fast they did.
func (i *idle) grow(ctx context.Context, config crowdConfig, nodes int) (reading, error) {
	began, more := time.Now(), nodes-i.nodes
	if err := i.crowds.start(config, i.nodes, nodes); err != nil {
		return reading{}, err
	}
	i.nodes = nodes
	if err := i.allLeased(ctx); err != nil {
		return reading{}, err
	}
	return reading{fmt.Sprintf("%d executors joined", more), "/s", float64(more) / time.Since(began).Seconds()}, nil
}

// allLeased waits until all have leases of the same leader.
func (i *idle) allLeased(ctx context.Context) error {
	var state crowdState
	err := cluster.Until(ctx, crowdIn, "all executors have leases", func() (_ bool, err error) {
		if state, err = i.crowds.state(); err != nil || state.most() < i.nodes {
			return false, errors.Join(err, rest(ctx, crowdTells)) // who asks the servers makes them work
		}
		leader, list, err := i.Leader(ctx)
		i.leader, i.term = leader, list.Term
		return err == nil && state.Leased[list.Term] == i.nodes, err
	})
	if err != nil {
		return fmt.Errorf("%w: %d have joined, leases by term: %v", err, state.Joined, state.Leased)
	}
	return nil
}

func (i *idle) round(ctx context.Context, alone float64) ([]reading, error) {
	resting, err := i.rest(ctx)
	if err != nil {
		return nil, err
	}
	beside, err := i.work(ctx)
	if err != nil {
		return nil, err
	}
	elected, err := i.elect(ctx)
	return append(append(resting,
		reading{"the leader's processor time for a job beside them, from its submission to its end", "ms", beside},
		reading{"the same beside a hundred of them", "ms", alone},
	), elected...), err
}

// rest reads what it costs that nothing happens.
func (i *idle) rest(ctx context.Context) ([]reading, error) {
	before, after, err := i.quiet(ctx)
	for again := 0; errors.Is(err, errElected) && again < 3; again++ { // on a machine that others use too
		i.lost++
		if err := i.allLeased(ctx); err != nil {
			return nil, err
		}
		before, after, err = i.quiet(ctx)
	}
	if err != nil {
		return nil, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	memory, err := i.leader.Memory()
	if err != nil {
		return nil, err
	}
	if after.index != before.index {
		return nil, fmt.Errorf("while %d executors had nothing to do, the log grew by %d entries", i.nodes, after.index-before.index)
	}
	return []reading{
		{"ours", "cores", (after.leader - before.leader).Seconds() / seconds},
		{"executors", "", float64(i.nodes)},
		{"entries in the log since, and bytes", "entries", float64(after.index - before.index)},
		{"the leader's raft folder grew by", "B", float64(after.bytes - before.bytes)},
		{"the two followers together", "cores", (after.followers - before.followers).Seconds() / seconds},
		{"all the executors together", "cores", (after.crowd - before.crowd).Seconds() / seconds},
		{"leaders that were lost so far though nobody killed them", "", float64(i.lost)},
		{"memory of the leader", "MiB", float64(memory) / (1 << 20)},
		{"of that for each executor", "KiB", float64(memory) / (1 << 10) / float64(i.nodes)},
	}, nil
}

var errElected = errors.New("another leader was elected though there was one")

// quiet looks before and after a time in which nobody asks for anything.
func (i *idle) quiet(ctx context.Context) (before, after looked, err error) {
	if err := rest(ctx, idleSettles); err != nil {
		return before, after, err
	}
	if before, err = i.look(ctx); err != nil {
		return before, after, err
	}
	if err := rest(ctx, idleRest); err != nil {
		return before, after, err
	}
	after, err = i.look(ctx)
	return before, after, err
}

// looked is what all of them have used so far.
type looked struct {
	at                       time.Time
	leader, followers, crowd time.Duration
	index                    uint64
	bytes                    int64
}

func (i *idle) look(ctx context.Context) (l looked, err error) {
	leader, list, err := i.Leader(ctx)
	if err != nil {
		return l, err
	}
	if leader != i.leader || list.Term != i.term {
		return l, fmt.Errorf("%w: of term %d after that of term %d", errElected, list.Term, i.term)
	}
	l.index = list.Index
	state, err := i.crowds.state()
	if err != nil {
		return l, err
	}
	l.crowd = state.CPU
	for _, s := range i.Servers {
		used, err := s.CPU()
		if err != nil {
			return l, err
		}
		if s == i.leader {
			l.leader = used
		} else {
			l.followers += used
		}
	}
	l.at = time.Now()
	l.bytes, err = size(filepath.Join(i.leader.Dir, "raft"))
	return l, err
}

// size is how much the files below a folder take on the disk.
func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// work has some executors run a job each, and reads what the leader works for it. What it works for the idle ones
// meanwhile, which is known by now, is not taken off.
func (i *idle) work(ctx context.Context) (ms float64, err error) {
	s, err := newSubmission(i.leader.HTTP, i.token, i.pot, lightJob)
	if err != nil {
		return 0, err
	}
	api, err := client.New(client.Config{Servers: []string{i.leader.HTTP}})
	if err != nil {
		return 0, err
	}
	defer api.CloseIdle()
	before, err := i.leader.CPU()
	if err != nil {
		return 0, err
	}
	sent, err := s.send(ctx, i.leader.HTTP, light)
	if err != nil || sent.accepted != light.n {
		return 0, fmt.Errorf("%d of %d jobs were taken: %w", sent.accepted, light.n, err)
	}
	err = cluster.Until(ctx, 2*time.Minute, "all jobs are settled", func() (bool, error) {
		p, err := api.Pot(ctx, i.pot.Key("fund"), i.pot.Key("view"))
		return err == nil && p.Jobs == 0 && p.HeldMicro == 0, err
	})
	if err != nil {
		return 0, err
	}
	after, err := i.leader.CPU()
	return (after - before).Seconds() * 1000 / float64(sent.accepted), err
}

// elect kills the leader, and times how long it takes until all executors have leases of another one.
func (i *idle) elect(ctx context.Context) ([]reading, error) {
	killed, began := i.leader, time.Now()
	if err := killed.Kill(); err != nil {
		return nil, err
	}
	_, first, err := i.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.allLeased(ctx); err != nil {
		return nil, err
	}
	took := time.Since(began)
	used, err := i.leader.CPU()
	if err != nil {
		return nil, err
	}
	state, err := i.crowds.state()
	if err != nil {
		return nil, err
	}
	readings := []reading{
		{"from kill -9 of the leader until all have leases of another", "s", took.Seconds()},
		{"elections after the first leader's, meanwhile", "elections", float64(i.term - first.Term)},
		{"the new leader's processor time until then", "s", used.Seconds()},
		{"the longest that one was without a new lease so far", "s", state.Gap.Seconds()},
	}
	return readings, errors.Join(i.Restart(ctx, killed), i.Level(ctx), i.allUp(ctx))
}

// allUp wants every executor to have stayed a member that takes work.
func (i *idle) allUp(ctx context.Context) error {
	api, err := client.New(client.Config{Servers: []string{i.leader.HTTP}, Token: i.token})
	if err != nil {
		return err
	}
	defer api.CloseIdle()
	list, err := api.Nodes(ctx)
	if err != nil {
		return err
	}
	up := 0
	for _, n := range list.Nodes {
		if n.State == "up" {
			up++
		}
	}
	if up != i.nodes {
		return fmt.Errorf("%d of %d executors are up", up, i.nodes)
	}
	return nil
}
