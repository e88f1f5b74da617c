package fake_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/fake"
)

func harness(t *testing.T, d *fake.Driver) drivertest.Harness {
	base := t.TempDir()
	return drivertest.Harness{
		Driver: func() drivers.Driver { return d }, Now: d.Now, Advance: d.Advance,
		Folder: func() (string, error) { return os.MkdirTemp(base, "task-") },
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Block:  []string{"block"}, Stubborn: []string{"stubborn"},
	}
}

func TestFakeDriver(t *testing.T) {
	drivertest.Run(t, harness(t, fake.New(fake.Config{})))
}

func TestFakeDriverWithADisk(t *testing.T) {
	h := harness(t, fake.New(fake.Config{Disk: true, Moves: "here"}))
	other := fake.New(fake.Config{Disk: true, Moves: "here"})
	h.Elsewhere = func() drivers.Driver { return other }
	drivertest.Run(t, h)
}

// A task of ten seconds that has run for three has seven before it, wherever it goes on.
func TestWhatMovedGoesOn(t *testing.T) {
	config := fake.Config{Disk: true, Moves: "here"}
	one, other := fake.New(config), fake.New(config)
	task := drivers.Task{ID: "a", Argv: []string{"run", "10s", "3"}}
	if _, err := one.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	one.Advance(3 * time.Second)
	task.From = filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(task.From, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []drivers.Control{{Kind: drivers.Suspend}, {Kind: drivers.Export, File: task.From}} {
		if err := one.Control(t.Context(), "a", c); err != nil {
			t.Fatal(err)
		}
	}
	begin := other.Now()
	if _, err := other.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	other.Advance(time.Hour)
	statuses, err := other.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	if last.StartedBoot != begin || last.EndedBoot != begin+int64(7*time.Second) || last.Exit.Code != 3 {
		t.Errorf("it went on as %+v", last)
	}
}

// A task of ten seconds that was frozen for an hour ends an hour and ten seconds after its start, to the nanosecond.
func TestFrozenTimeDoesNotCount(t *testing.T) {
	var ends []drivers.Status
	d := fake.New(fake.Config{Changed: func(s drivers.Status) {
		if s.State.Final() {
			ends = append(ends, s)
		}
	}})
	begin := d.Now()
	start := func(id string, lease time.Duration) {
		task := drivers.Task{ID: id, Argv: []string{"run", "10s", "3"}, LeaseUntil: begin + int64(lease)}
		if _, err := d.Start(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	control := func(id string, c drivers.Control) {
		if err := d.Control(t.Context(), id, c); err != nil {
			t.Fatal(err)
		}
	}
	start("paused", 10*time.Hour)
	start("plain", 10*time.Hour)
	start("leased", 4*time.Second)
	d.Advance(3 * time.Second)
	control("paused", drivers.Control{Kind: drivers.Freeze})
	d.Advance(time.Hour)
	control("paused", drivers.Control{Kind: drivers.Thaw})
	control("leased", drivers.Control{Kind: drivers.Lease, Until: begin + int64(10*time.Hour)})
	d.Advance(time.Hour)
	want := map[string]time.Duration{"plain": 10 * time.Second, "paused": time.Hour + 10*time.Second, "leased": time.Hour + 9*time.Second}
	if len(ends) != 3 || ends[0].ID != "plain" || ends[1].ID != "leased" {
		t.Fatalf("tasks ended as %+v", ends)
	}
	for _, s := range ends {
		if got := time.Duration(s.EndedBoot - begin); got != want[s.ID] || s.Exit.Code != 3 {
			t.Errorf("%s ended after %v with %+v, want %v", s.ID, got, s.Exit, want[s.ID])
		}
	}
	if f := ends[1].Frozen; len(f) != 1 || f[0].From != 4e9 || f[0].To != int64(time.Hour)+3e9 {
		t.Errorf("the leased task was frozen %+v", f)
	}
}

func TestOwnerEndsTasks(t *testing.T) {
	d := fake.New(fake.Config{Missing: []drivers.Limit{drivers.LimitMemory}})
	for _, id := range []string{"a", "b"} {
		s, err := d.Start(t.Context(), drivers.Task{ID: id, Argv: []string{"block"}, MemoryBytes: 1})
		if err != nil || len(s.Missing) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	statuses, err := d.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.End("a", drivers.Exit{Code: 137, Signal: 9, Cause: drivers.CauseOOM, OOMSeen: true}); err != nil {
		t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	if last.Exit.Cause != drivers.CauseOOM {
		t.Errorf("ended as %+v", last)
	}
	if err := d.Lose("b"); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Start(t.Context(), drivers.Task{ID: "b", Argv: []string{"block"}}); err != nil || s.State != drivers.StateLost {
		t.Errorf("%+v, %v", s, err)
	}
}

// Run ends with its context, and ends every watch.
func TestRunEnds(t *testing.T) {
	d := fake.New(fake.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	statuses, err := d.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range statuses {
		t.Error("a status of nothing")
	}
}
