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

	"github.com/coinop/coinop/api/client"
)

const (
	connections = 64
	roundTime   = 4 * time.Second
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

// next appends one more request; each has keys and an idempotency key of its own.
func (s *submission) next(to []byte) []byte {
	keys := client.NewSecret().Keys()
	to = append(to, s.head...)
	to = append(to, client.HeaderIdempotencyKey+": "+ulid.Make().String()+"\r\n\r\n"...)
	start := len(to)
	to = append(to, s.body...)
	for i, key := range []string{keys.Control, keys.View, keys.Spend, keys.Claim, keys.Fund} {
		copy(to[start+s.at[i]:], key)
	}
	return to
}

// send sends requests from many connections, each waiting for its answer, until the time is over or most of them were
// accepted, and returns how many were.
func (s *submission) send(ctx context.Context, addr string, within time.Duration, most int64) (int64, error) {
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	var (
		begun, done atomic.Int64
		wait        sync.WaitGroup
		failed      = make(chan error, connections)
	)
	for range connections {
		wait.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				failed <- err
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			var request []byte
			for ctx.Err() == nil && begun.Add(1) <= most {
				request = s.next(request[:0])
				if _, err := conn.Write(request); err != nil {
					failed <- err
					return
				}
				if err := created(r); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wait.Wait()
	close(failed)
	var all []error
	for err := range failed {
		all = append(all, err)
	}
	return done.Load(), errors.Join(all...)
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
