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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/api/client"
)

const connections = 64

// submission makes requests that submit one small job each. What is the same in all of them is encoded once: the
// sender shares the machine with the server and should take little of it.
type submission struct {
	head  string
	body  []byte
	at    [5]int // where the keys stand in the body
	token string
	pot   client.Secret
}

func newSubmission(host, token string, pot client.Secret, job client.JobSpec) (*submission, error) {
	blank := func(c string) string { return strings.Repeat(c, 64) }
	keys := client.Keys{Control: blank("V"), View: blank("W"), Spend: blank("X"), Claim: blank("Y"), Fund: blank("Z")}
	body, err := json.Marshal(client.SubmitRequest{Job: job, Keys: keys, Pot: pot.Key("fund")})
	if err != nil {
		return nil, fmt.Errorf("encode a submission: %w", err)
	}
	s := &submission{body: body, token: token, pot: pot}
	for i, key := range []string{keys.Control, keys.View, keys.Spend, keys.Claim, keys.Fund} {
		s.at[i] = bytes.Index(body, []byte(key))
	}
	s.head = "POST /v1/jobs HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nAuthorization: Bearer " + pot.Key("spend") +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	if token != "" {
		s.head += client.HeaderToken + ": " + token + "\r\n"
	}
	return s, nil
}

// next is one more request; each has keys and an idempotency key of its own.
func (s *submission) next() []byte {
	keys := client.NewSecret().Keys()
	request := append([]byte(s.head), client.HeaderIdempotencyKey+": "+ulid.Make().String()+"\r\n\r\n"...)
	start := len(request)
	request = append(request, s.body...)
	for i, key := range []string{keys.Control, keys.View, keys.Spend, keys.Claim, keys.Fund} {
		copy(request[start+s.at[i]:], key)
	}
	return request
}

// flow is how requests are sent: n at most, from many connections, each of which waits for its answer.
type flow struct {
	n         int
	within    time.Duration
	perSecond float64 // zero: as fast as they are answered
}

// flown is what came of a flow. Latencies are in milliseconds, and from the moment at which a request was due: what
// waits for a connection has waited for its answer too.
type flown struct {
	accepted  int
	took      time.Duration
	latencies []float64
}

func (f flown) rate() float64 { return float64(f.accepted) / f.took.Seconds() }

// send makes the requests, and then sends them until all are sent or the time is over.
func (s *submission) send(ctx context.Context, addr string, f flow) (flown, error) {
	requests := make([][]byte, f.n)
	for i := range requests {
		requests[i] = s.next()
	}
	conns := make([]net.Conn, connections)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return flown{}, fmt.Errorf("connect to the server: %w", err)
		}
		defer conns[i].Close()
	}
	ctx, stop := context.WithTimeout(ctx, f.within)
	defer stop()
	var (
		next  atomic.Int64
		mu    sync.Mutex
		out   flown
		group errgroup.Group
		began = time.Now()
	)
	for _, conn := range conns {
		group.Go(func() error {
			var latencies []float64
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				out.latencies = append(out.latencies, latencies...)
			}()
			r := bufio.NewReader(conn)
			for {
				i, due := int(next.Add(1))-1, time.Now()
				if i >= len(requests) || ctx.Err() != nil {
					return nil
				}
				if f.perSecond > 0 {
					due = began.Add(time.Duration(float64(i) / f.perSecond * float64(time.Second)))
					if wait := time.Until(due); wait > 0 {
						if rest(ctx, wait) != nil {
							return nil
						}
						due = time.Now() // timers are up to a millisecond late, which is not the server's
					}
				}
				if _, err := conn.Write(requests[i]); err != nil {
					return fmt.Errorf("send a request: %w", err)
				}
				if err := created(r); err != nil {
					return err
				}
				latencies = append(latencies, time.Since(due).Seconds()*1000)
			}
		})
	}
	err := group.Wait()
	out.accepted, out.took = len(out.latencies), time.Since(began)
	return out, err
}

// created reads one answer and wants it to be 201.
func created(r *bufio.Reader) error {
	status, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return fmt.Errorf("read an answer: %w", err)
			}
		}
	}
	if !strings.HasPrefix(status, "HTTP/1.1 201") {
		body, err := io.ReadAll(io.LimitReader(r, int64(length)))
		return errors.Join(fmt.Errorf("the answer is %s: %s", strings.TrimSpace(status), body), err)
	}
	_, err = r.Discard(length)
	return err
}
