package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
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
	next func() []byte
	hold bool // each connection sends one request, and reads its answer for as long as it lasts
}

// readFlood sends a paying client's submissions alone, and then beside each flood. The first reading is the worst of its
// latencies beside a flood, in quiet ones.
func readFlood(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, ours, err := b.taking(ctx, "flood", 1)
	if c != nil {
		defer func() { err = errors.Join(err, c.Stop()) }()
	}
	if err != nil {
		return nil, err
	}
	server := c.Servers[0]
	torrents, err := torrents(ctx, c)
	if err != nil {
		return nil, err
	}
	for range b.rounds {
		round := []reading{{"the slowest", "times as long as alone", 0}}
		for _, t := range torrents {
			quiet, err := ours.send(ctx, server.HTTP, paying)
			if err != nil {
				return nil, err
			}
			flooded, answers, err := beside(ctx, ours, server.HTTP, t)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", t.name, err), errors.New(server.LogTail(10)))
			}
			memory, err := server.Memory()
			if err != nil {
				return nil, err
			}
			alone, with := median(quiet.latencies), median(flooded.latencies)
			round[0].value = max(round[0].value, with/alone)
			round = append(round,
				reading{t.name + ": median latency", "ms", with}, reading{"  alone just before", "ms", alone},
				reading{"  of the flood were answered", "/s", answers}, reading{"  memory of the server", "MiB", float64(memory) / (1 << 20)})
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// beside sends the paying client's submissions while a flood goes on.
func beside(ctx context.Context, ours *submission, addr string, t torrent) (flown, float64, error) {
	flood, stop := context.WithCancel(ctx)
	var (
		parts    sync.WaitGroup
		answered atomic.Int64
	)
	defer parts.Wait()
	defer stop()
	for range floodConnections {
		parts.Go(func() {
			for flood.Err() == nil {
				t.pour(flood, addr, &answered)
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
func (t torrent) pour(ctx context.Context, addr string, answered *atomic.Int64) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(t.from)}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	for {
		if _, err := conn.Write(t.next()); err != nil {
			return
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return
		}
		answered.Add(1)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Close {
			return
		}
		if err := resp.Body.Close(); err != nil || t.hold {
			return
		}
	}
}

// torrents makes the floods that are tried.
func torrents(ctx context.Context, c *cluster.Cluster) ([]torrent, error) {
	addr := c.Servers[0].HTTP
	token, err := os.ReadFile(c.TokenFile())
	if err != nil {
		return nil, fmt.Errorf("read the operator's token: %w", err)
	}
	stranger := c.Home("stranger", c.Addr(), c.TokenFile())
	pot, err := fill(ctx, stranger, "900000", true)
	if err != nil {
		return nil, err
	}
	jobs, err := newSubmission(addr, strings.TrimSpace(string(token)), pot, small)
	if err != nil {
		return nil, err
	}
	var sent struct {
		Token string `json:"token"`
	}
	if err := stranger.JSON(ctx, &sent, "wallet", "send", "1024"); err != nil {
		return nil, err
	}
	coins, err := cashu.DecodeToken(sent.Token)
	if err != nil {
		return nil, err
	}
	api, err := client.New(client.Config{Servers: []string{addr}})
	if err != nil {
		return nil, err
	}
	defer api.CloseIdle()
	keysets, err := api.MintKeys(ctx, "")
	if err != nil {
		return nil, err
	}
	keyset := keysets.Keysets[0].ID
	swap, err := swapOf(coins.Proofs, keyset)
	if err != nil {
		return nil, err
	}
	if _, err := api.Swap(ctx, swap); err != nil {
		return nil, err
	}
	unpaid, err := json.Marshal(client.SubmitRequest{Job: small, Keys: client.NewSecret().Keys()})
	if err != nil {
		return nil, err
	}
	ask := post(addr, "/v1/jobs", unpaid, strings.TrimSpace(string(token)))
	again := post(addr, "/mint/v1/swap", mustJSON(swap), "")
	list := post(addr, "/v1/jobs", []byte(`{"job":{"command":[`+strings.Repeat(`"",`, 300_000)+`""]}}`), "")
	watch := []byte("GET /v1/events?follow=true HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
	return []torrent{
		{"unpaid calls", "127.0.0.2", func() []byte { return ask }, false},
		{"forged coins, 200 each", "127.0.0.3", func() []byte { return forged(addr, keyset, strings.TrimSpace(string(token))) }, false},
		{"free swaps", "127.0.0.4", func() []byte { return again }, false},
		{"one-credit jobs", "127.0.0.5", jobs.next, false},
		{"arrays of 300,000 elements", "127.0.0.6", func() []byte { return list }, false},
		{"streams of all events", "127.0.0.7", func() []byte { return watch }, true},
	}, nil
}

// post is a request as it is sent.
func post(host, path string, body []byte, token string) []byte {
	var b bytes.Buffer
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	if token != "" {
		b.WriteString(client.HeaderToken + ": " + token + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // wire types of our own
	}
	return raw
}

// forged is a submission with coins that nobody has signed; all else about it is right.
func forged(host string, keyset cashu.KeysetID, token string) []byte {
	point, err := cashu.Blind([]byte("no coin"), cashu.Scalar{31: 1})
	if err != nil {
		panic(err) // a constant
	}
	r := client.SubmitRequest{Job: small, Keys: client.NewSecret().Keys(), Payment: client.Payment{Pay: 180}}
	for range 200 { // their input fee is 20
		r.Inputs = append(r.Inputs, cashu.Proof{Amount: 1, ID: keyset, Secret: client.NewSecret().Hex(), C: point})
	}
	return post(host, "/v1/jobs", mustJSON(r), token)
}

// swapOf changes coins for as many outputs as one request may have.
func swapOf(coins []cashu.Proof, keyset cashu.KeysetID) (cashu.SwapRequest, error) {
	r := cashu.SwapRequest{Inputs: cashu.Bare(coins)}
	sum, err := cashu.SumProofs(coins)
	if err != nil {
		return r, err
	}
	left := sum - cashu.Units((100*len(coins)+999)/1000)
	for n := 0; left > 0; n++ {
		amount := cashu.Units(1)
		if n >= 100 {
			split := cashu.Split(left)
			amount = split[len(split)-1]
		}
		left -= amount
		secret := client.NewSecret()
		blinded, err := cashu.Blind([]byte(secret.Hex()), cashu.Scalar{30: 1, 31: byte(n)})
		if err != nil {
			return r, err
		}
		r.Outputs = append(r.Outputs, cashu.BlindedMessage{Amount: amount, ID: keyset, B_: blinded})
	}
	return r, nil
}
