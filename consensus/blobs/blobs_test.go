package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cluster is stores that know each other over HTTP.
type cluster struct {
	stores []*Store
	up     []bool
	mu     sync.Mutex
	named  map[Digest]bool
	now    time.Time
}

func newCluster(t *testing.T, n int, change func(i int, c *Config)) *cluster {
	t.Helper()
	c := &cluster{stores: make([]*Store, n), up: make([]bool, n), named: map[Digest]bool{}, now: time.Now()}
	urls := make([]string, n)
	for i := range n {
		c.up[i] = true
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			up := c.up[i]
			c.mu.Unlock()
			if !up {
				panic(http.ErrAbortHandler)
			}
			c.stores[i].Handler().ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		urls[i] = srv.URL
	}
	for i := range n {
		cfg := Config{
			Dir: t.TempDir(),
			Peers: func() []Peer {
				var list []Peer
				for j := range n {
					if j != i {
						list = append(list, HTTPPeer{ID: string(rune('a' + j)), Base: urls[j], Client: http.DefaultClient})
					}
				}
				return list
			},
			Referenced: func(d Digest) bool { c.mu.Lock(); defer c.mu.Unlock(); return c.named[d] },
			Now:        func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now },
		}
		if change != nil {
			change(i, &cfg)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.stores[i] = s
	}
	return c
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func has(t *testing.T, s *Store, d Digest) bool {
	t.Helper()
	_, ok, err := s.Has(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func read(t *testing.T, s *Store, d Digest) (string, error) {
	t.Helper()
	r, _, err := s.Get(t.Context(), d)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestBytesAreOnAMajorityBeforePutReturns(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.set(func() { c.up[2] = false })
	d, n, err := c.stores[0].Add(t.Context(), strings.NewReader("a result"))
	if err != nil || n != 8 {
		t.Fatal(n, err)
	}
	if !has(t, c.stores[0], d) || !has(t, c.stores[1], d) {
		t.Fatal("acknowledged, but not on two of three")
	}
	c.set(func() { c.up[1] = false })
	if _, _, err := c.stores[0].Add(t.Context(), strings.NewReader("another")); !errors.Is(err, ErrMinority) {
		t.Fatalf("alone of three: %v", err)
	}
}

func TestOneServerIsAMajorityOfOne(t *testing.T) {
	c := newCluster(t, 1, nil)
	d, _, err := c.stores[0].Add(t.Context(), strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, c.stores[0], d); err != nil || got != "" {
		t.Fatal(got, err)
	}
}

func TestAServerThatLacksBytesFetchesThem(t *testing.T) {
	c := newCluster(t, 3, nil)
	d := Digest(sha256.Sum256([]byte("input")))
	if _, err := c.stores[1].PutLocal(t.Context(), d, strings.NewReader("input")); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, c.stores[2], d); err != nil || got != "input" {
		t.Fatal(got, err)
	}
	c.set(func() { c.up[1] = false })
	if got, err := read(t, c.stores[2], d); err != nil || got != "input" {
		t.Fatalf("it was not kept: %q, %v", got, err)
	}
	if _, err := read(t, c.stores[0], Digest{1}); !errors.Is(err, ErrMissing) {
		t.Fatalf("bytes that nobody has: %v", err)
	}
}

func TestWrongBytesAreRefusedAndLeaveNothing(t *testing.T) {
	c := newCluster(t, 3, nil)
	d := Digest(sha256.Sum256([]byte("right")))
	if _, err := c.stores[0].Put(t.Context(), d, strings.NewReader("wrong")); !errors.Is(err, ErrMismatch) {
		t.Fatal(err)
	}
	for i, s := range c.stores {
		if has(t, s, d) {
			t.Errorf("server %d kept them", i)
		}
	}
}

// What lies on a disk under a name and is not the named bytes is never handed out: neither to a client nor to a server.
func TestDamagedBytesAreNeverHandedOut(t *testing.T) {
	whole := strings.Repeat("sound ", 1000)
	d := Digest(sha256.Sum256([]byte(whole)))
	for name, bad := range map[string]string{"a bit turned": strings.Replace(whole, "s", "r", 1), "cut short": whole[:5000], "empty": "", "longer": whole + "x"} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			for _, s := range c.stores[:2] {
				if _, err := s.PutLocal(t.Context(), d, strings.NewReader(whole)); err != nil {
					t.Fatal(err)
				}
			}
			spoil := func(i int) {
				t.Helper()
				if err := os.WriteFile(c.stores[i].path(d), []byte(bad), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			spoil(0)
			if got, err := read(t, c.stores[0], d); err != nil || got != whole {
				t.Fatalf("a peer has them whole: %d bytes, %v", len(got), err)
			}
			spoil(0)
			if got, err := read(t, c.stores[2], d); err != nil || got != whole {
				t.Fatalf("the first peer's are damaged: %d bytes, %v", len(got), err)
			}
			for i := range c.stores {
				spoil(i)
			}
			if got, err := read(t, c.stores[0], d); !errors.Is(err, ErrMissing) || got != "" {
				t.Fatalf("nobody has them whole: %d bytes, %v", len(got), err)
			}
			spoil(0)
			if _, err := c.stores[0].Put(t.Context(), d, strings.NewReader(whole)); err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, c.stores[0], d); err != nil || got != whole {
				t.Fatalf("taken again: %d bytes, %v", len(got), err)
			}
		})
	}
}

// A file that decays without being written is found once its last look is old.
func TestDecayIsFound(t *testing.T) {
	c := newCluster(t, 1, nil)
	d, _, err := c.stores[0].Add(t.Context(), strings.NewReader("sound"))
	if err != nil {
		t.Fatal(err)
	}
	path := c.stores[0].path(d)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, c.stores[0], d); err != nil || got != "sound" {
		t.Fatal(got, err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("s0und"), 0o600), os.Chtimes(path, before.ModTime(), before.ModTime())); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.now = c.now.Add(soundFor) })
	if got, err := read(t, c.stores[0], d); !errors.Is(err, ErrMissing) || got != "" {
		t.Fatalf("decay went unnoticed: %q, %v", got, err)
	}
}

// A server whose disk takes nothing hands through what its peers have.
func TestAFullServerHandsThrough(t *testing.T) {
	c := newCluster(t, 2, func(i int, cfg *Config) {
		if i == 0 {
			cfg.Free = func(string) (uint64, error) { return 0, nil }
			cfg.Reserve = 1
		}
	})
	d := Digest(sha256.Sum256([]byte("sound")))
	if _, err := c.stores[1].PutLocal(t.Context(), d, strings.NewReader("sound")); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, c.stores[0], d); err != nil || got != "sound" || has(t, c.stores[0], d) {
		t.Fatalf("%q, %v", got, err)
	}
	if err := os.WriteFile(c.stores[1].path(d), []byte("s0und"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, c.stores[0], d); !errors.Is(err, ErrMissing) || got != "" {
		t.Fatalf("damaged at the peer: %q, %v", got, err)
	}
}

func TestTooManyBytes(t *testing.T) {
	c := newCluster(t, 1, func(_ int, cfg *Config) { cfg.SizeMax = 4 })
	if _, _, err := c.stores[0].Add(t.Context(), strings.NewReader("12345")); !errors.Is(err, ErrTooBig) {
		t.Fatal(err)
	}
	d := Digest(sha256.Sum256([]byte("12345")))
	if _, err := c.stores[0].Put(t.Context(), d, strings.NewReader("12345")); !errors.Is(err, ErrTooBig) || has(t, c.stores[0], d) {
		t.Fatal(err)
	}
}

func TestAFullDiskSaysSo(t *testing.T) {
	c := newCluster(t, 3, func(i int, cfg *Config) {
		if i > 0 {
			cfg.Reserve = 100
			cfg.Free = func(string) (uint64, error) { return 50, nil }
		}
	})
	_, _, err := c.stores[0].Add(t.Context(), strings.NewReader("x"))
	if !errors.Is(err, ErrMinority) || !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "50 bytes are free") {
		t.Fatalf("peers: %v", err)
	}
	if _, _, err := c.stores[1].Add(t.Context(), strings.NewReader("x")); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("this server: %v", err)
	}
	if !errors.Is(full(&os.PathError{Err: syscall.ENOSPC}), ErrDiskFull) {
		t.Fatal("the kernel's word for it is not understood")
	}
}

func TestTheSweepSparesWhatIsNamedOrYoung(t *testing.T) {
	c := newCluster(t, 1, nil)
	s := c.stores[0]
	put := func(text string) Digest {
		d, _, err := s.Add(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	named, orphan, again := put("named"), put("orphan"), put("again")
	c.set(func() { c.named[named] = true })
	if n, err := s.Sweep(t.Context()); err != nil || n != 0 {
		t.Fatalf("within the grace: %d, %v", n, err)
	}
	c.set(func() { c.now = c.now.Add(2 * time.Hour) })
	put("again") // a second upload starts the grace anew
	if n, err := s.Sweep(t.Context()); err != nil || n != 1 {
		t.Fatalf("after the grace: %d, %v", n, err)
	}
	if !has(t, s, named) || has(t, s, orphan) || !has(t, s, again) {
		t.Fatal("the wrong ones are gone")
	}
}

func TestAPutThatIsCutOffLeavesNothing(t *testing.T) {
	c := newCluster(t, 1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	d := Digest(sha256.Sum256([]byte("abc")))
	r := io.MultiReader(bytes.NewReader([]byte("ab")), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.ErrUnexpectedEOF
	}))
	if _, err := c.stores[0].Put(ctx, d, r); err == nil || has(t, c.stores[0], d) {
		t.Fatal(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
