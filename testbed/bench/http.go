package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// small is a job of which the pot can pay nearly two millions.
var small = client.JobSpec{CPUMilli: 1000, MemoryBytes: 64 << 20, TimeMs: 1000, BidMicro: 1_000_000, Command: []string{"true"}}

// full is as many submissions as are taken in a round; it ends when they are sent.
var full = flow{n: 250_000, within: 4 * time.Second}

// taking is servers without nodes, so that nothing but taking submissions in is measured, and what to send them.
func (b *bench) taking(ctx context.Context, name string, servers int) (*cluster.Cluster, *submission, error) {
	c, err := b.cluster(name)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(c.Plan(servers), c.StartServers(ctx)); err != nil {
		return c, nil, err
	}
	token, err := os.ReadFile(c.TokenFile())
	if err != nil {
		return c, nil, fmt.Errorf("read the operator's token: %w", err)
	}
	pot, err := fill(ctx, c.Home("payer", c.Addr(), c.TokenFile()), "1900000", true)
	if err != nil {
		return c, nil, err
	}
	leader, _, err := c.Leader(ctx)
	if err != nil {
		return c, nil, err
	}
	s, err := newSubmission(leader.HTTP, strings.TrimSpace(string(token)), pot, small)
	return c, s, err
}

// readHTTP sends submissions to one server.
func readHTTP(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withGroup(ctx, "http", 1, func(_ *cluster.Cluster, ours *submission, server *cluster.Server) error {
		raftOnly := filepath.Join(b.dir, "consensus.test")
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", raftOnly, "./consensus").CombinedOutput(); err != nil {
			return fmt.Errorf("build the bare Raft: %w\n%s", err, out)
		}
		for range b.rounds {
			round, err := httpRound(ctx, ours, server, raftOnly)
			if err != nil {
				return err
			}
			rounds = append(rounds, round)
		}
		return nil
	})
	return rounds, err
}

func httpRound(ctx context.Context, ours *submission, server *cluster.Server, raftOnly string) ([]reading, error) {
	bare, err := bareHTTP(ctx, ours)
	if err != nil {
		return nil, err
	}
	text, err := exec.CommandContext(ctx, raftOnly, "-test.run", "^$", "-test.bench", "^BenchmarkPropose$/^bare$", "-test.benchtime", "2s").CombinedOutput()
	entries := parseBench(string(text))["BenchmarkPropose/bare entries/s"]
	if err != nil || len(entries) != 1 {
		return nil, fmt.Errorf("measure bare Raft: %w\n%s", err, text)
	}
	before, err := server.CPU()
	if err != nil {
		return nil, err
	}
	sent, err := ours.send(ctx, server.HTTP, full)
	if err != nil {
		return nil, err
	}
	after, err := server.CPU()
	return []reading{
		{"ours", "/s", sent.rate()},
		{"bare HTTP, another process, same requests", "/s", bare},
		{"bare Raft, one server, small entries", "/s", entries[0]},
		{"the server's processor time for each", "µs", float64((after - before).Microseconds()) / float64(sent.accepted)},
	}, err
}

// bareHTTP sends the same requests to a server that reads them and answers, and does nothing else.
func bareHTTP(ctx context.Context, s *submission) (perSecond float64, err error) {
	addr, stop, err := startBare(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	sent, err := s.send(ctx, addr, full)
	return sent.rate(), err
}

// startBare starts that server as another process.
func startBare(ctx context.Context) (addr string, stop func() error, err error) {
	if addr, err = cluster.FreeAddr(); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(os.Args[0], "-bare", addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the bare HTTP server: %w", err)
	}
	stop = func() error { return errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()) }
	err = cluster.Until(ctx, 10*time.Second, "the bare HTTP server listens", func() (bool, error) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false, err
		}
		return true, conn.Close()
	})
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return addr, stop, nil
}

// serveBare answers every request as a submission is answered.
func serveBare(ctx context.Context, addr string) error {
	answer, err := json.Marshal(client.SubmitAnswer{Job: 1, State: "queued", FundID: strings.Repeat("f", 64), HeldMicro: 1, BidMicro: 1, WeightMilli: 1})
	if err != nil {
		return err
	}
	s := &http.Server{Addr: addr, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	})}
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (b *bench) cluster(name string) (*cluster.Cluster, error) {
	return cluster.New(filepath.Join(b.dir, name), b.binary)
}

// fill makes a pot for a user and returns its secret.
func fill(ctx context.Context, h cluster.Home, units string, issue bool) (client.Secret, error) {
	for range 2 { // a million is the most at once
		if !issue {
			break
		}
		if r, err := h.Run(ctx, "operator", "issue", "1000000"); err != nil || r.Code != 0 {
			return client.Secret{}, fmt.Errorf("issue %s: %w%s", units, err, r.Stderr)
		}
	}
	var made struct {
		File string `json:"file"`
	}
	if err := h.JSON(ctx, &made, "pot", "create", units); err != nil {
		return client.Secret{}, err
	}
	return cluster.ReadPot(made.File)
}
