package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/coinop/coinop/testbed/cluster"
)

const (
	floodConnections = 64
	floodBegins      = 3 * time.Second // the burst that every address has is over then
)

// paying is a client that pays for each job, at a pace that leaves the server mostly idle.
var paying = flow{n: 600, within: 10 * time.Second, perSecond: 200}

// torrent is one way to flood a server: requests that are sent again and again, from an address of its own.
type torrent struct {
	name string
	from string
	open func() dialogue // for one connection
	hold bool            // each connection sends one request, and reads its answer for as long as it lasts
}

// dialogue is the next request of a connection, after the answer to the one before it; first there is none.
type dialogue func(answer []byte) []byte

// again sends the same request again and again, or one that differs in nothing that matters.
func again(request func() []byte) func() dialogue {
	return func() dialogue { return func([]byte) []byte { return request() } }
}

// readFlood sends a paying client's submissions alone, beside each flood, and beside the same flood, as fast, at another
// process: what it waits longer then is for the machine's processors, which the flood's sender takes too. The first
// reading is the worst of its latencies beside a flood, in quiet ones.
func readFlood(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	err = b.withBare(ctx, "flood", func(c *cluster.Cluster, ours *submission, server *cluster.Server, other string) error {
		torrents, err := torrents(ctx, c)
		if err != nil {
			return err
		}
		for range b.rounds {
			round := []reading{{"the slowest", "times as long as alone", 0}, {"the same beside floods of another process", "times as long as alone", 0}}
			for _, t := range torrents {
				more, err := floodOnce(ctx, server, other, ours, t, round[:2])
				if err != nil {
					return fmt.Errorf("%s: %w", t.name, err)
				}
				round = append(round, more...)
			}
			rounds = append(rounds, round)
		}
		return nil
	})
	return rounds, err
}

// floodOnce tries one torrent, and raises the worst ratios.
func floodOnce(ctx context.Context, server *cluster.Server, other string, ours *submission, t torrent, worst []reading) ([]reading, error) {
	quiet, err := ours.send(ctx, server.HTTP, paying)
	if err != nil {
		return nil, err
	}
	flooded, answers, err := beside(ctx, ours, server.HTTP, server.HTTP, t, rate.Inf)
	if err != nil {
		return nil, err
	}
	memory, err := server.Memory()
	if err != nil {
		return nil, err
	}
	alone, with := median(quiet.latencies), median(flooded.latencies)
	worst[0].value = max(worst[0].value, with/alone)
	round := []reading{{t.name + ": median latency", "ms", with}, {"  alone just before", "ms", alone}}
	if !t.hold {
		shared, _, err := beside(ctx, ours, server.HTTP, other, t, rate.Limit(answers))
		if err != nil {
			return nil, err
		}
		elsewhere := median(shared.latencies)
		worst[1].value = max(worst[1].value, elsewhere/alone)
		round = append(round, reading{"  beside the same at another process", "ms", elsewhere})
	}
	return append(round, reading{"  of the flood were answered", "/s", answers}, reading{"  memory of the server", "MiB", float64(memory) / (1 << 20)}), nil
}

// beside sends the paying client's submissions while a flood goes on, against that server or another.
func beside(ctx context.Context, ours *submission, addr, flooded string, t torrent, most rate.Limit) (flown, float64, error) {
	flood, stop := context.WithCancel(ctx)
	var (
		parts    sync.WaitGroup
		answered atomic.Int64
		pace     = rate.NewLimiter(most, floodConnections)
	)
	defer parts.Wait()
	defer stop()
	for range floodConnections {
		parts.Go(func() {
			next := t.open()
			for flood.Err() == nil {
				t.pour(flood, flooded, next, pace, &answered)
			}
		})
	}
	if err := rest(ctx, floodBegins); err != nil {
		return flown{}, 0, err
	}
	before, began := answered.Load(), time.Now()
	sent, err := ours.send(ctx, addr, paying)
	return sent, float64(answered.Load()-before) / time.Since(began).Seconds(), err
}

// pour sends requests on one connection until it breaks: a flood does not mind.
func (t torrent) pour(ctx context.Context, addr string, next dialogue, pace *rate.Limiter, answered *atomic.Int64) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(t.from)}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	var answer bytes.Buffer
	for {
		if pace.Wait(ctx) != nil {
			return
		}
		if _, err := conn.Write(next(answer.Bytes())); err != nil {
			return
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return
		}
		answered.Add(1)
		if t.hold {
			_, _ = io.Copy(io.Discard, resp.Body)
			return
		}
		answer.Reset()
		if _, err := answer.ReadFrom(resp.Body); err != nil || resp.Close || resp.Body.Close() != nil {
			return
		}
	}
}
