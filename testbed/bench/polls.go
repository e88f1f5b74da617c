package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/time/rate"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	pollers  = 10
	polls    = 500 // a second, of all of them
	pollRest = 200 * time.Millisecond
)

// brief is a shorter full: three of them fit into a round.
var brief = flow{n: 150_000, within: 2 * time.Second}

// readPolls sends submissions alone, beside the polls of owners who ask for their jobs, and beside the same polls at
// another process, which take as much of the machine for themselves.
func readPolls(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withBare(ctx, "polls", func(_ *cluster.Cluster, ours *submission, server *cluster.Server, other string) error {
		poll, err := ours.own(ctx, server.HTTP, "")
		if err != nil {
			return err
		}
		for range b.rounds {
			round, err := pollsRound(ctx, ours, server, other, poll)
			if err != nil {
				return err
			}
			rounds = append(rounds, round)
		}
		return nil
	})
	return rounds, err
}

// pollsRound sends submissions alone before and after, since the machine is not the same from one second to the next.
func pollsRound(ctx context.Context, ours *submission, server *cluster.Server, other string, poll []byte) ([]reading, error) {
	var (
		sent     [4]flown
		spent    [4]float64 // of the server's processor time, microseconds a submission
		answered float64
	)
	for i, asked := range []string{"", server.HTTP, other, ""} {
		before, err := server.CPU()
		if err != nil {
			return nil, err
		}
		flown, answers, err := besidePolls(ctx, ours, server.HTTP, asked, poll)
		if err != nil {
			return nil, err
		}
		after, err := server.CPU()
		if err != nil {
			return nil, err
		}
		sent[i], spent[i] = flown, float64((after-before).Microseconds())/float64(flown.accepted)
		if asked == server.HTTP {
			answered = answers
		}
	}
	alone := (sent[0].rate() + sent[3].rate()) / 2
	return []reading{
		{"ours", "% fewer", 100 * (1 - sent[1].rate()/alone)}, {"with the same polls at another process", "% fewer", 100 * (1 - sent[2].rate()/alone)},
		{"submissions alone", "/s", alone}, {"beside polls", "/s", sent[1].rate()}, {"polls answered", "/s", answered},
		{"the server's processor time for a submission, alone", "µs", (spent[0] + spent[3]) / 2}, {"beside polls, with theirs", "µs", spent[1]},
	}, nil
}

// own submits a job and makes a request of its owner's for what lies below it.
func (s *submission) own(ctx context.Context, addr, below string) ([]byte, error) {
	api, err := client.New(client.Config{Servers: []string{addr}, Token: s.token})
	if err != nil {
		return nil, err
	}
	defer api.CloseIdle()
	job := client.NewSecret()
	answer, err := api.Submit(ctx, ulid.Make().String(), s.pot.Key("spend"), client.SubmitRequest{Job: small, Keys: job.Keys(), Pot: s.pot.Key("fund")})
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "GET /v1/jobs/%d%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", answer.Job, below, addr, job.Key("view")), nil
}

// besidePolls sends submissions while pollers ask that server or another, or where none is named nobody.
func besidePolls(ctx context.Context, ours *submission, addr, polled string, request []byte) (flown, float64, error) {
	asking, stop := context.WithCancel(ctx)
	var (
		parts    sync.WaitGroup
		answered atomic.Int64
		failed   atomic.Pointer[error]
		pace     = rate.NewLimiter(polls, 1)
	)
	defer parts.Wait()
	defer stop()
	for range pollers {
		if polled == "" {
			break
		}
		parts.Go(func() {
			if err := ask(asking, polled, request, pace, &answered); err != nil && asking.Err() == nil {
				failed.Store(&err)
			}
		})
	}
	if err := rest(ctx, pollRest); err != nil {
		return flown{}, 0, err
	}
	before, began := answered.Load(), time.Now()
	sent, err := ours.send(ctx, addr, brief)
	each := float64(answered.Load()-before) / time.Since(began).Seconds()
	if f := failed.Load(); f != nil {
		err = errors.Join(err, *f)
	}
	return sent, each, err
}

// ask sends the same request on one connection until the context ends.
func ask(ctx context.Context, addr string, request []byte, pace *rate.Limiter, answered *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for pace.Wait(ctx) == nil {
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("ask for a job: %w", err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Body.Close() != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("ask for a job: %s", resp.Status)
		}
		answered.Add(1)
	}
	return nil
}
