package book

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

var errBehind = errors.New("not at hand")

// source is a node's events: a history of which the newest are at hand, and some in the log.
type source struct {
	mu      sync.Mutex
	all     []machine.Event // event 1 is at 0
	begin   uint64          // the oldest at hand
	logFrom uint64          // the oldest that the log can make again; zero: none
	grown   chan struct{}
	replays int
}

func newSource() *source { return &source{begin: 1, grown: make(chan struct{})} }

// happen adds events and keeps keep of them at hand; zero keeps all.
func (s *source) happen(t testing.TB, keep int, events ...machine.Event) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		var before [32]byte
		if n := len(s.all); n > 0 {
			before = s.all[n-1].Hash
		}
		e.Seq = uint64(len(s.all) + 1)
		e.Index = e.Seq
		var err error
		if e.Hash, err = machine.ChainHash(before, e); err != nil {
			t.Fatal(err)
		}
		s.all = append(s.all, e)
	}
	if keep > 0 && len(s.all) > keep {
		s.begin = max(s.begin, uint64(len(s.all)-keep+1))
	}
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *source) Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error) {
	if err := s.WaitEvent(ctx, seq+1); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq+1 < s.begin || seq > uint64(len(s.all)) {
		return nil, errBehind
	}
	list := s.all[seq:]
	return append([]machine.Event(nil), list[:min(limit, len(list))]...), nil
}

func (s *source) EventsBegin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin
}

func (s *source) WaitEvent(ctx context.Context, seq uint64) error {
	for {
		s.mu.Lock()
		n, grown := uint64(len(s.all)), s.grown
		s.mu.Unlock()
		if n >= seq {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *source) Replay(_ context.Context, seq uint64, visit func([]machine.Event) error) error {
	s.mu.Lock()
	s.replays++
	from, all := s.logFrom, s.all
	s.mu.Unlock()
	if from == 0 || seq+1 < from {
		return errBehind
	}
	return visit(all[seq:])
}

type reader struct {
	*Book
	stop func()
}

// start opens a book and lets it run.
func start(t testing.TB, path string, s *source, peers ...Peer) *reader {
	t.Helper()
	b, err := Open(Config{Path: path, Source: s, Peers: func() []Peer { return peers }, Gather: time.Millisecond, Retry: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	r := &reader{Book: b}
	r.stop = sync.OnceFunc(func() {
		if err := b.check(ctx); err != nil {
			t.Errorf("a sound book: %v", err)
		}
		cancel()
		if err := errors.Join(<-done, b.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *reader) reaches(t testing.TB, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.WaitFor(ctx, seq); err != nil {
		t.Fatal(err)
	}
}

// holds says which events are there, and that each follows the one before it.
func (r *reader) holds(t testing.TB, want int) {
	t.Helper()
	list, err := r.After(t.Context(), 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != want {
		t.Fatalf("%d events, not %d", len(list), want)
	}
	for i, e := range list {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d stands at place %d", e.Seq, i+1)
		}
	}
}

func prices(n int) []machine.Event {
	list := make([]machine.Event, n)
	for i := range list {
		list[i] = machine.Event{Kind: machine.EventPrice, Pool: 1, Rate: funding.Rate(i + 1), At: funding.Millis(1000 * (i + 1))}
	}
	return list
}

func TestAJobsHistory(t *testing.T) {
	s := newSource()
	r := start(t, filepath.Join(t.TempDir(), "book"), s)
	s.happen(t, 0,
		machine.Event{Kind: machine.EventSubmitted, Job: 1, Pool: 1, Pot: 5, Rate: 13, Weight: 2000, At: 100},
		machine.Event{Kind: machine.EventSubmitted, Job: 2, Pool: 2, Pot: 6, At: 101},
		machine.Event{Kind: machine.EventTransfer, Pot: 5, Debit: "coins", Credit: "pot 5", Amount: 7},
		machine.Event{Kind: machine.EventStarted, Job: 1, Run: 1, At: 110},
		machine.Event{Kind: machine.EventStarted, Job: 1, Run: 2, At: 120},
		machine.Event{Kind: machine.EventEnded, Job: 1, Reason: scheduler.ReasonExited, Exit: 3, Amount: 77, Body: []byte{0xa0}, At: 500},
		machine.Event{Kind: machine.EventEnded, Job: 2, Reason: scheduler.ReasonCancelled, At: 600},
	)
	r.reaches(t, 7)
	list, err := r.Jobs(t.Context(), Query{})
	if err != nil || len(list) != 2 || list[0].ID != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	j, ok, err := r.Job(t.Context(), 1)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if j.Started != 110 || j.Ended != 500 || j.Exit != 3 || j.Charged != 77 || j.Bid != 13 || j.Weight != 2000 || string(j.Receipt) != "\xa0" {
		t.Fatalf("%+v", j)
	}
	for what, q := range map[string]Query{
		"since": {Since: 501}, "pool": {Pool: 2}, "ids": {IDs: []scheduler.JobID{2, 9}}, "newest": {Limit: 1},
	} {
		if list, err := r.Jobs(t.Context(), q); err != nil || len(list) != 1 || list[0].ID != 2 {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
	}
	if list, err := r.Jobs(t.Context(), Query{Before: 2}); err != nil || len(list) != 1 || list[0].ID != 1 {
		t.Errorf("before: %+v, %v", list, err)
	}
	if list, err := r.Jobs(t.Context(), Query{IDs: []scheduler.JobID{}}); err != nil || len(list) != 0 {
		t.Errorf("none of mine: %+v, %v", list, err)
	}
	events, err := r.After(t.Context(), 1, 1, 10)
	if err != nil || len(events) != 3 || events[0].Kind != machine.EventStarted {
		t.Errorf("events of a job: %+v, %v", events, err)
	}
	moved, err := r.Transfers(t.Context(), 5, 0, 10)
	if err != nil || len(moved) != 1 || moved[0].Credit != "pot 5" {
		t.Errorf("transfers: %+v, %v", moved, err)
	}
}

func TestPricesBeginWithTheOneInForce(t *testing.T) {
	s := newSource()
	r := start(t, filepath.Join(t.TempDir(), "book"), s)
	s.happen(t, 0, prices(5)...)
	r.reaches(t, 5)
	for since, want := range map[funding.Millis]int{0: 5, 1000: 5, 2500: 4, 5000: 1, 99_000: 1} {
		list, err := r.Prices(t.Context(), 1, since, 0)
		if err != nil || len(list) != want {
			t.Errorf("since %d: %d prices, %v", since, len(list), err)
		}
	}
}

func TestARestartWritesNothingTwice(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book"), newSource()
	r := start(t, path, s)
	s.happen(t, 0, prices(300)...)
	r.reaches(t, 300)
	r.stop()
	s.happen(t, 0, prices(10)...)
	r = start(t, path, s)
	r.reaches(t, 310)
	r.holds(t, 310)
}

func TestAMissingRangeComesFromAPeer(t *testing.T) {
	s := newSource()
	full := start(t, filepath.Join(t.TempDir(), "book"), s)
	s.happen(t, 0, prices(9000)...)
	full.reaches(t, 9000)
	srv := httptest.NewServer(full.Handler())
	defer srv.Close()

	late := newSource()
	late.happen(t, 10, prices(9000)...) // the same history, its beginning not at hand
	r := start(t, filepath.Join(t.TempDir(), "book"), late, HTTPPeer{ID: "s1", Base: srv.URL, Client: srv.Client()})
	r.reaches(t, 9000)
	r.holds(t, 9000)
	if !r.Complete() || late.replays != 0 {
		t.Errorf("complete %v, %d replays", r.Complete(), late.replays)
	}
}

// liar is a peer that changes what it tells.
type liar struct{ s *source }

func (liar) Name() string { return "liar" }
func (l liar) Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error) {
	list, err := l.s.Events(ctx, seq, limit)
	for i := range list {
		list[i].Rate++
	}
	return list, err
}

func TestAPeerThatLiesIsNotBelieved(t *testing.T) {
	s, full := newSource(), newSource()
	full.happen(t, 0, prices(100)...)
	s.happen(t, 10, prices(100)...)
	s.logFrom = 1
	r := start(t, filepath.Join(t.TempDir(), "book"), s, liar{full})
	r.reaches(t, 100)
	list, err := r.After(t.Context(), 0, 0, 0)
	if err != nil || len(list) != 100 || list[0].Rate != 1 {
		t.Fatalf("%d events, %v", len(list), err)
	}
	if s.replays == 0 {
		t.Error("where did they come from?")
	}
}

func TestAloneTheBookMakesEventsAgainFromTheLog(t *testing.T) {
	s := newSource()
	s.happen(t, 10, prices(100)...)
	s.logFrom = 1
	r := start(t, filepath.Join(t.TempDir(), "book"), s)
	r.reaches(t, 100)
	r.holds(t, 100)
}

func TestWhatNobodyHasIsAHoleThatIsTold(t *testing.T) {
	s := newSource()
	s.happen(t, 10, prices(100)...)
	r := start(t, filepath.Join(t.TempDir(), "book"), s)
	r.reaches(t, 100)
	if r.Complete() {
		t.Error("the book says that nothing is missing")
	}
	list, err := r.After(t.Context(), 0, 0, 0)
	if err != nil || len(list) != 10 || list[0].Seq != 91 {
		t.Fatalf("%d events, %v", len(list), err)
	}
}

// away is a peer that does not answer.
type away struct{}

func (away) Name() string { return "away" }
func (away) Events(context.Context, uint64, int) ([]machine.Event, error) {
	return nil, errors.New("no answer")
}

func TestWhileAPeerMayStillHaveARangeTheBookWaits(t *testing.T) {
	s := newSource()
	s.happen(t, 10, prices(100)...)
	r := start(t, filepath.Join(t.TempDir(), "book"), s, away{})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 5000 {
		<-tick.C
		s.mu.Lock()
		tried := s.replays
		s.mu.Unlock()
		if tried >= 3 {
			break
		}
	}
	if r.Through() != 0 || !r.CatchingUp() {
		t.Fatalf("it went on to %d", r.Through())
	}
}

func TestAfterARestoreTheBookFollowsTheState(t *testing.T) {
	path, s := filepath.Join(t.TempDir(), "book"), newSource()
	r := start(t, path, s)
	s.happen(t, 0, prices(40)...)
	s.happen(t, 0, machine.Event{Kind: machine.EventSubmitted, Job: 1}, machine.Event{Kind: machine.EventSubmitted, Job: 2})
	r.reaches(t, 42)
	r.stop()
	s.mu.Lock()
	s.all, s.begin = s.all[:41:41], 42 // a snapshot from between
	s.mu.Unlock()
	r = start(t, path, s)
	s.happen(t, 0, machine.Event{Kind: machine.EventSubmitted, Job: 2, At: 5}, machine.Event{Kind: machine.EventEnded, Job: 2, At: 9})
	r.reaches(t, 43)
	r.holds(t, 43)
	if j, ok, err := r.Job(t.Context(), 2); err != nil || !ok || j.Submitted != 5 {
		t.Fatalf("%+v, %v, %v", j, ok, err)
	}
}

func TestABrokenChainIsNoticed(t *testing.T) {
	s := newSource()
	s.happen(t, 0, prices(3)...)
	s.all[1].Rate = 99 // the planted fault
	r := start(t, filepath.Join(t.TempDir(), "book"), s)
	if err := r.append(s.all); !errors.Is(err, errChain) {
		t.Fatal(err)
	}
}

func BenchmarkBook(b *testing.B) {
	s := newSource()
	events := make([]machine.Event, 30_000)
	for i := range events {
		events[i] = machine.Event{Kind: machine.EventSubmitted, Job: scheduler.JobID(i + 1), Pot: 1, Pool: 1, Text: fmt.Sprint(i)}
	}
	s.happen(b, 0, events...)
	for b.Loop() {
		r := start(b, filepath.Join(b.TempDir(), "book"), s)
		r.reaches(b, uint64(len(events)))
		r.stop()
	}
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
