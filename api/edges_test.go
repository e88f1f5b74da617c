package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
)

// from dials from one of this machine's addresses.
func from(t *testing.T, last byte, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skipf("this machine has no 127.0.0.%d: %v", last, err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// closes wants the server to end a connection long before the test's own deadline.
func closes(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("%s is held open: %v", what, err)
	}
}

func TestHeadersHaveSoManyBytes(t *testing.T) {
	const most = 8 << 10
	_, addr := limited(t, func(l *api.Limits) { l.HeaderBytes = most })
	request := func(size int) string {
		text := "GET /v1/pools HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: \r\n\r\n"
		return strings.Replace(text, "X-Long: ", "X-Long: "+strings.Repeat("x", size-len(text)), 1)
	}
	if resp, _ := says(t, stranger(t, addr), request(most+4096)); resp.StatusCode != http.StatusOK { // net/http's own allowance
		t.Errorf("the most: %s", resp.Status)
	}
	if resp, _ := says(t, stranger(t, addr), request(most+4097)); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a byte more: %s", resp.Status)
	}
}

func TestHeadersMustComeInTime(t *testing.T) {
	_, addr := limited(t, func(l *api.Limits) { l.HeaderTime = 50 * time.Millisecond })
	conn := stranger(t, addr)
	if _, err := io.WriteString(conn, "GET /v1/pools HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	closes(t, conn, "a connection with half a request")
}

func TestAConnectionRestsNotForEver(t *testing.T) {
	_, addr := limited(t, func(l *api.Limits) { l.IdleTime = 500 * time.Millisecond })
	conn := stranger(t, addr)
	for range 2 { // it is kept for another request
		if resp, _ := says(t, conn, getPools); resp.StatusCode != http.StatusOK || resp.Close {
			t.Fatal(resp.Status)
		}
	}
	closes(t, conn, "a connection that rests")
}

// A place is not held by not reading.
func TestAnswersAreTakenInTime(t *testing.T) {
	w, addr := limited(t, func(l *api.Limits) {
		l.WriteTime, l.StreamsMax, l.AddressRate, l.AddressBurst = 500*time.Millisecond, 1, 1e9, 1e9
	})
	const events = 8000 // of a kilobyte: more than sockets hold
	w.mu.Lock()
	w.events = nil
	for i := range uint64(events) {
		w.events = append(w.events, machine.Event{Seq: i + 1, Kind: machine.EventKind(strings.Repeat("x", 1000))})
	}
	w.mu.Unlock()
	const all = "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	deaf := stranger(t, addr)
	if err := deaf.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(deaf, all); err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.Read(make([]byte, 1)); err != nil { // it has its place
		t.Fatal(err)
	}
	held := false
	until(t, "the place of one that does not read", func() bool {
		reader := from(t, 3, addr)
		if _, err := io.WriteString(reader, all); err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(raw, []byte("HTTP/1.1 503")) {
			held = true
			return false
		}
		if n := bytes.Count(raw, []byte(`"seq":`)); n != events {
			t.Errorf("who reads got %d events of %d", n, events)
		}
		return true
	})
	if !held {
		t.Error("all was written to who did not read: the test's answer is too small")
	}
}

func TestAServerHasSoManyConnections(t *testing.T) {
	_, addr := limited(t, func(l *api.Limits) { l.ConnsMax = 3 })
	held := make([]net.Conn, 3)
	for i := range held { // of three addresses
		held[i] = from(t, byte(i+1), addr)
		if resp, _ := says(t, held[i], getPools); resp.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %s", i+1, resp.Status)
		}
	}
	answered := func() bool {
		conn := from(t, 5, addr)
		if _, err := io.WriteString(conn, getPools); err != nil {
			return false
		}
		n, err := conn.Read(make([]byte, 1))
		return n == 1 && err == nil
	}
	if answered() {
		t.Error("a fourth connection was answered")
	}
	held[1].Close()
	until(t, "a connection in place of one that has gone", answered)
}

func TestAServerHasSoManyStreams(t *testing.T) {
	const follow = "GET /v1/events?follow=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	_, addr := limited(t, func(l *api.Limits) { l.StreamsMax = 2 })
	first := from(t, 2, addr)
	for _, conn := range []net.Conn{first, from(t, 3, addr)} {
		if resp, _ := says(t, conn, follow); resp.StatusCode != http.StatusOK {
			t.Fatalf("a stream: %s", resp.Status)
		}
	}
	resp, body := says(t, from(t, 4, addr), follow)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "2 logs and events") {
		t.Errorf("a third stream: %s %s", resp.Status, body)
	}
	first.Close()
	until(t, "a stream in place of one that has ended", func() bool {
		resp, _ := says(t, from(t, 4, addr), follow)
		return resp.StatusCode == http.StatusOK
	})
}

// sink takes blobs as the disk would.
type sink struct{ api.Blobs }

func (sink) Put(_ context.Context, _ blobs.Digest, r io.Reader) (int64, error) {
	return io.Copy(io.Discard, r)
}

func TestABlobHasSoManyBytes(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Limits, c.Blobs = api.DefaultLimits(), sink{}; c.Limits.BlobBytes = 1000 })
	put := func(size int, told bool) int {
		var body io.Reader = bytes.NewReader(make([]byte, size))
		if !told {
			body = io.MultiReader(body) // in chunks, without a length
		}
		req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/v1/blobs/%x", w.http.URL, sha256.Sum256(nil)), body)
		if err != nil {
			t.Fatal(err)
		}
		resp, _ := w.send(req)
		return resp.StatusCode
	}
	for _, told := range []bool{true, false} {
		if got := put(1000, told); got != http.StatusCreated {
			t.Errorf("1000 bytes, length told %t: %d", told, got)
		}
		if got := put(1001, told); got != http.StatusRequestEntityTooLarge {
			t.Errorf("1001 bytes, length told %t: %d", told, got)
		}
	}
}

func TestAnswersHaveSoManyParts(t *testing.T) {
	w := newWorld(t, func(c *api.Config) {
		c.Limits = api.DefaultLimits()
		c.Limits.JobsPage, c.Limits.ChecksMax, c.Limits.OutputsMax = 2, 2, 2
	})
	pot := w.filled()
	var jobs []client.JobKey
	for range 3 {
		jobs = append(jobs, w.from(pot, "x"))
	}
	for _, c := range []struct {
		name string
		ask  func(n int) (int, error)
		code string // of one more
	}{
		{"own jobs", func(n int) (int, error) {
			list, err := w.c.OwnJobs(t.Context(), client.OwnRequest{Jobs: jobs[:n]})
			return len(list.Jobs), err
		}, "at most 2"},
		{"jobs by number", func(n int) (int, error) {
			list, err := w.c.Jobs(t.Context(), client.JobFilter{Only: []uint64{1, 2, 3}[:n]})
			return len(list.Jobs), err
		}, "at most 2"},
	} {
		if n, err := c.ask(2); err != nil || n != 2 {
			t.Errorf("%s: %d of 2, %v", c.name, n, err)
		}
		if _, err := c.ask(3); err == nil || !strings.Contains(err.Error(), c.code) {
			t.Errorf("%s: a third: %v", c.name, err)
		}
	}
	for _, limit := range []int{0, 2, 3, 1_000_000} {
		if list, err := w.c.Jobs(t.Context(), client.JobFilter{Limit: limit}); err != nil || len(list.Jobs) != 2 || list.Next == "" {
			t.Errorf("a page of %d: %d jobs, %v", limit, len(list.Jobs), err)
		}
	}
	outputs := w.purse().blanks(3)
	points := []cashu.Point{outputs[0].B_, outputs[1].B_, outputs[2].B_}
	for n, want := range map[int]int{2: http.StatusOK, 3: http.StatusBadRequest} {
		for path, body := range map[string]any{
			"checkstate": cashu.CheckStateRequest{Ys: points[:n]}, "restore": cashu.RestoreRequest{Outputs: outputs[:n]},
		} {
			resp, raw := w.post("/mint/v1/"+path, []byte(mustJSON(t, body)), nil)
			if refused := strings.Contains(string(raw), "the limit is 2"); resp.StatusCode != want || refused != (n == 3) {
				t.Errorf("%s of %d: %s %s", path, n, resp.Status, raw)
			}
		}
	}
}

// stuck is a node whose log takes no more entries.
type stuck struct{ api.Node }

func (stuck) Propose(ctx context.Context, _ machine.Command) (machine.Result, error) {
	<-ctx.Done()
	return machine.Result{}, consensus.ErrUnknown
}

func TestRequestsAreAnsweredInTime(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second) // without these limits both take longer
	defer stop()
	with := func(change func(*api.Config)) *world {
		return newWorld(t, func(c *api.Config) { c.Limits = api.DefaultLimits(); change(c) })
	}
	w := with(func(c *api.Config) { c.Limits.AnswerTime, c.Node = 50*time.Millisecond, stuck{c.Node} })
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, w.http.URL+"/v1/jobs/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, raw := w.send(req); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(raw), "outcome_unknown") {
		t.Errorf("an entry that is not carried out: %s %s", resp.Status, raw)
	}
	w = with(func(c *api.Config) { c.Limits.WaitMax = 50 * time.Millisecond })
	job := w.from(w.filled(), "x")
	if j, err := w.c.WaitJob(ctx, job.Job, job.Key, time.Hour); err != nil || j.State != "queued" {
		t.Errorf("a job that does not end: %+v, %v", j, err)
	}
}
