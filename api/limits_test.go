package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/funding/cashu"
)

// limited is a world whose limits are small, behind a guarded listener.
func limited(t *testing.T, change func(*api.Limits)) (w *world, addr string) {
	t.Helper()
	w = newWorld(t, func(c *api.Config) {
		c.Limits = api.DefaultLimits()
		c.Limits.RefusalTime = time.Millisecond
		change(&c.Limits)
	})
	s := httptest.NewUnstartedServer(nil)
	s.Config = w.api.HTTPServer()
	s.Listener = w.api.Guard(s.Listener)
	s.Start()
	t.Cleanup(s.Close)
	return w, s.Listener.Addr().String()
}

// stranger dials from an address that is metered.
func stranger(t *testing.T, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skip("this machine has no 127.0.0.2:", err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// says sends a request and reads the head of its answer, and its body where it has an end.
func says(t *testing.T, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ContentLength < 0 {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

const getPools = "GET /v1/pools HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

func posted(body string) string {
	return fmt.Sprintf("POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestAnAddressThatOwesIsToldToComeBack(t *testing.T) {
	_, addr := limited(t, func(l *api.Limits) { l.AddressRate, l.AddressBurst, l.AddressWork = 0.001, 12, 10 })
	conn := stranger(t, addr)
	if resp, _ := says(t, conn, posted("{}")); resp.StatusCode < 400 || resp.StatusCode == http.StatusTooManyRequests {
		t.Fatalf("the first: %s", resp.Status) // it costs 1 and 10
	}
	if resp, _ := says(t, conn, getPools); resp.StatusCode != http.StatusOK {
		t.Fatalf("with the last point: %s", resp.Status)
	}
	resp, body := says(t, conn, getPools)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too_many_requests") {
		t.Errorf("without one: %s %s", resp.Status, body)
	}
}

func TestAnAddressHasSoManyStreamsRequestsAndConnections(t *testing.T) {
	const follow = "GET /v1/events?follow=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	_, addr := limited(t, func(l *api.Limits) { l.AddressStreams, l.AddressFlight, l.AddressConns = 2, 3, 5 })
	for range 2 {
		if resp, _ := says(t, stranger(t, addr), follow); resp.StatusCode != http.StatusOK {
			t.Fatalf("a stream: %s", resp.Status)
		}
	}
	third := stranger(t, addr)
	if resp, body := says(t, third, follow); resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, "2 logs and events") {
		t.Errorf("a third stream: %s %s", resp.Status, body)
	}
	// Two streams and one body that does not come, though it is asked for, are three requests.
	resp, _ := says(t, third, "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if resp.StatusCode != http.StatusContinue {
		t.Fatalf("a third request: %s", resp.Status)
	}
	fourth := stranger(t, addr)
	resp, body := says(t, fourth, getPools)
	if resp.StatusCode != http.StatusTooManyRequests || !resp.Close || !strings.Contains(body, "3 requests of") {
		t.Errorf("a fourth request: %s, close %t, %s", resp.Status, resp.Close, body)
	}
	if _, err := io.Copy(io.Discard, fourth); err != nil { // it no longer counts once it is closed
		t.Fatal(err)
	}
	for range 2 {
		stranger(t, addr)
	}
	seventh := stranger(t, addr)
	if _, err := io.WriteString(seventh, getPools); err == nil {
		if _, err := seventh.Read(make([]byte, 1)); err == nil {
			t.Error("a sixth connection was answered")
		}
	}
	// This machine's own users are not bounded by what a stranger has.
	if resp, err := http.Get("http://" + addr + "/v1/pools"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("another address: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// until polls what becomes true in a moment.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestABodyHasSoManyBytesAndValues(t *testing.T) {
	w, _ := limited(t, func(l *api.Limits) { l.BodyBytes, l.ValuesMax = 1000, 10 })
	list := func(n int) []byte { return []byte(`{"job":{"command":["` + strings.Repeat(`","`, n-3) + `"]}}`) }
	commas := []byte(`{"job":{"name":"` + strings.Repeat(`,[{\"`, 100) + `"}}`)
	for _, c := range []struct {
		name string
		body []byte
		want string // in the refusal; everything is refused for want of keys at least
	}{
		{"ten values", list(10), "keys.control"},
		{"eleven", list(11), "more than 10 values in one request"},
		{"commas in text", commas, "keys.control"},
		{"1000 bytes", append([]byte(`{"job":{}}`), bytes.Repeat([]byte(" "), 990)...), "keys.control"},
		{"1001 bytes", append([]byte(`{"job":{}}`), bytes.Repeat([]byte(" "), 991)...), "larger than 1000 bytes"},
	} {
		resp, raw := w.post("/v1/jobs", c.body, nil)
		if resp.StatusCode < 400 || !strings.Contains(string(raw), c.want) {
			t.Errorf("%s: %s %s", c.name, resp.Status, raw)
		}
	}
	for _, path := range []string{"/v1/quotes", "/mint/v1/swap", "/v1/pots"} {
		resp, raw := w.post(path, list(11), map[string]string{"Content-Type": "application/json"})
		if resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s: %s %s", path, resp.Status, raw)
		}
	}
}

func TestABodyMustComeInTime(t *testing.T) {
	_, addr := limited(t, func(l *api.Limits) { l.BodyTime = 50 * time.Millisecond })
	conn := stranger(t, addr)
	if _, err := io.WriteString(conn, "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	// The deadline of the test's own connection is much later.
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("it is held open: %v", err)
	}
	// Who is slow to be answered is not cut off: the time is over when the body has come.
	slow := stranger(t, addr)
	resp, _ := says(t, slow, posted("{}"))
	if resp.StatusCode == http.StatusRequestTimeout {
		t.Error(resp.Status)
	}
}

// Signatures are paid for in points before they are made: many requests at once do not make them all first and owe later.
func TestAnAddressHasThePointsBeforeItHasTheSignatures(t *testing.T) {
	w, addr := limited(t, func(l *api.Limits) { l.AddressRate, l.AddressBurst, l.AddressWork = 0.001, 29, 10 })
	p := w.purse()
	swap := cashu.SwapRequest{Inputs: p.issue(64), Outputs: p.outputs(32, 32)}
	if _, err := w.c.Swap(t.Context(), swap); err != nil { // this machine's own is not metered
		t.Fatal(err)
	}
	body := mustJSON(t, swap)
	again := fmt.Sprintf("POST /mint/v1/swap HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	conn := stranger(t, addr)
	for range 2 { // 1, and 10 and a point each
		if resp, raw := says(t, conn, again); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", resp.Status, raw)
		}
	}
	if _, err := io.WriteString(conn, again); err != nil {
		t.Fatal(err)
	}
	until(t, "the purse is empty", func() bool {
		resp, _ := says(t, stranger(t, addr), getPools)
		return resp.StatusCode == http.StatusTooManyRequests
	})
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a third was answered")
	}
}
