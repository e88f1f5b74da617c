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
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/api/client"
)

const (
	connections  = 64
	roundTime    = 4 * time.Second
	requestsMade = 250_000 // for a round; it ends when they are sent
)

// submission makes requests that submit one small job each. What is the same in all of them is encoded once: the
// sender shares the machine with the server and should take little of it.
type submission struct {
	head string
	body []byte
	at   [5]int // where the keys stand in the body
}

func newSubmission(host, token string, pot client.Secret, job client.JobSpec) (*submission, error) {
	blank := func(c string) string { return strings.Repeat(c, 64) }
	keys := client.Keys{Control: blank("V"), View: blank("W"), Spend: blank("X"), Claim: blank("Y"), Fund: blank("Z")}
	body, err := json.Marshal(client.SubmitRequest{Job: job, Keys: keys, Pot: pot.Key("fund")})
	if err != nil {
		return nil, fmt.Errorf("encode a submission: %w", err)
	}
	s := &submission{body: body}
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

// send makes n requests, and then sends them from many connections, each waiting for its answer, until the time is
// over. It returns how many were accepted, and how long that took.
func (s *submission) send(ctx context.Context, addr string, within time.Duration, n int) (int64, time.Duration, error) {
	requests := make(chan []byte, n)
	for range n {
		requests <- s.next()
	}
	close(requests)
	conns := make([]net.Conn, connections)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return 0, 0, fmt.Errorf("connect to the server: %w", err)
		}
		defer conns[i].Close()
	}
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	var (
		done  atomic.Int64
		group errgroup.Group
		began = time.Now()
	)
	for _, conn := range conns {
		group.Go(func() error {
			r := bufio.NewReader(conn)
			for request := range requests {
				if ctx.Err() != nil {
					return nil
				}
				if _, err := conn.Write(request); err != nil {
					return fmt.Errorf("send a request: %w", err)
				}
				if err := created(r); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	return done.Load(), time.Since(began), err
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
