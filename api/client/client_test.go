package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

func TestKeysFollowFromTheSecret(t *testing.T) {
	secret, err := client.ParseSecret(strings.Repeat("00", 32))
	if err != nil {
		t.Fatal(err)
	}
	// sha256("coinop/1/fund/" ‖ 64 zeros)
	if len(secret.Key("fund")) != 64 || secret.Key("fund") == secret.Key("view") || secret.Keys().Fund != secret.Key("fund") {
		t.Fatal("the fund id is not the fund key")
	}
	if secret.Keys().View != client.HashKey(secret.Key("view")) {
		t.Fatal("the server is told something else than the view key's hash")
	}
	if secret.String() != "secret" {
		t.Fatal("a secret prints itself")
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAllServersAreTriedAndNamed(t *testing.T) {
	a, b := closedPort(t), closedPort(t)
	c, err := client.New(client.Config{Servers: []string{a, b}, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Pools(context.Background())
	var gone *client.Unreachable
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) {
		t.Fatalf("error %v", err)
	}
}

func TestAnUnknownOutcomeIsRepeatedVerbatim(t *testing.T) {
	var (
		mu           sync.Mutex // each connection has a goroutine of its own
		bodies, keys []string
		calls        atomic.Int32
	)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies, keys = append(bodies, string(raw)), append(keys, r.Header.Get(client.HeaderIdempotencyKey))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/problem+json")
		switch calls.Add(1) {
		case 1:
			w.WriteHeader(503)
			_, _ = w.Write([]byte(`{"code":"outcome_unknown","title":"x","detail":"d","do":"repeat"}`))
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			w.Header().Set(client.HeaderIndex, "42")
			_, _ = w.Write([]byte(`{"job":7}`))
		}
	}))
	defer s.Close()
	c, err := client.New(client.Config{Servers: []string{closedPort(t), s.URL}, Patience: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Submit(context.Background(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "", client.SubmitRequest{Pot: "x"})
	if err != nil || answer.Job != 7 || seen(c) != 42 {
		t.Fatalf("answer %+v, %v, index %d", answer, err, seen(c))
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range bodies {
		if bodies[i] != bodies[0] || keys[i] != "01ARZ3NDEKTSV4RRFFQ69G5FAV" {
			t.Fatalf("request %d: %s %s", i, keys[i], bodies[i])
		}
	}
}

func TestWhatStaysUnknownIsSaidSo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	c, err := client.New(client.Config{Servers: []string{s.URL}, Patience: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var unknown *client.Unknown
	if _, err = c.Submit(context.Background(), "k", "", client.SubmitRequest{}); !errors.As(err, &unknown) {
		t.Fatalf("error %v", err)
	}
	var gone *client.Unreachable
	if _, err = c.Pools(context.Background()); !errors.As(err, &gone) {
		t.Fatalf("a read that failed is %v", err)
	}
}

func TestARefusalIsNotRepeated(t *testing.T) {
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(402)
		_, _ = w.Write([]byte(`{"code":"money_short","title":"Payment Required","detail":"too little","do":"pay more"}`))
	}))
	defer s.Close()
	c, err := client.New(client.Config{Servers: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Submit(context.Background(), "k", "", client.SubmitRequest{})
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != "money_short" || p.Status != 402 || calls.Load() != 1 || err.Error() != "too little (pay more)" {
		t.Fatalf("%v after %d calls", err, calls.Load())
	}
}

func TestAStreamGoesOnAtTheNextServer(t *testing.T) {
	var asked []string
	serve := func(body string, cut bool) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.RawQuery)
			_, _ = w.Write([]byte(body))
			if cut {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		}))
	}
	first := serve(`{"run":3,"offset":0,"data":"aGVsbG8="}`+"\n", true)
	defer first.Close()
	c, err := client.New(client.Config{Servers: []string{first.URL}, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	_ = c.Logs(context.Background(), client.LogQuery{Job: 1, Stream: "stdout", Follow: true}, func(client.LogChunk) error {
		if pieces++; pieces == 3 {
			return client.Stop()
		}
		return nil
	})
	if len(asked) < 2 || !strings.Contains(asked[1], "run=3") || !strings.Contains(asked[1], "offset=5") {
		t.Fatalf("asked %v", asked)
	}
}

func seen(c *client.Client) uint64 {
	_, index := c.Seen()
	return index
}

// behind is a server that has applied only so many entries, of one cluster.
func behind(t *testing.T, cluster string, applied uint64, asked *[]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get(client.HeaderIndex)
		*asked = append(*asked, r.Header.Get(client.HeaderCluster)+"/"+text)
		w.Header().Set(client.HeaderCluster, cluster)
		w.Header().Set(client.HeaderIndex, strconv.FormatUint(applied, 10))
		if wants, _ := strconv.ParseUint(text, 10, 64); wants > applied && r.Header.Get(client.HeaderCluster) == cluster {
			w.WriteHeader(503)
			_, _ = w.Write([]byte(`{"code":"index_ahead","title":"x","detail":"d","do":"ask another"}`))
			return
		}
		_, _ = w.Write([]byte(`{"pools":[]}`))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAServerThatLagsIsPassedBy(t *testing.T) {
	var late, fresh []string
	servers := []string{behind(t, "aa", 10, &late), behind(t, "aa", 12, &fresh)}
	c, err := client.New(client.Config{Servers: servers, Cluster: "aa", Index: 11, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pools(context.Background()); err != nil {
		t.Fatal(err)
	}
	if cluster, index := c.Seen(); cluster != "aa" || index != 12 || len(late) != 1 || late[0] != "aa/11" {
		t.Fatalf("saw %s %d; the late one was asked %v", cluster, index, late)
	}
}

func TestAnotherClusterAtTheAddressCountsAnew(t *testing.T) {
	var asked []string
	c, err := client.New(client.Config{Servers: []string{behind(t, "bb", 3, &asked)}, Cluster: "aa", Index: 900, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pools(context.Background()); err != nil {
		t.Fatal(err)
	}
	if cluster, index := c.Seen(); cluster != "bb" || index != 3 || len(asked) != 1 {
		t.Fatalf("saw %s %d; asked %v", cluster, index, asked)
	}
}

func TestWhatNoServerHasIsForgotten(t *testing.T) {
	var asked []string
	c, err := client.New(client.Config{Servers: []string{behind(t, "aa", 5, &asked), closedPort(t)}, Cluster: "aa", Index: 900, Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pools(context.Background()); err != nil {
		t.Fatalf("a cluster that was restored from an older state is not usable: %v", err)
	}
	if _, index := c.Seen(); index != 5 {
		t.Fatalf("saw %d", index)
	}
}
