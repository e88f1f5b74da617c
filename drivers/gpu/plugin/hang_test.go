package plugin_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/nvml"
	"github.com/coinop/coinop/drivers/gpu/plugin"
	"github.com/coinop/coinop/drivers/plugin/keep"
	"github.com/coinop/coinop/testbed/cluster"
	fake "github.com/coinop/coinop/testbed/nvml"
)

// notes are the lines of a log.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, string(line))
	return len(line), nil
}

// with are the lines that have a text in them.
func (n *notes) with(text string) (found []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, line := range n.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// until fails the test unless the lines with a text come to be more than so many.
func (n *notes) until(t *testing.T, text string, more int) {
	t.Helper()
	if err := cluster.Until(t.Context(), time.Minute, "its log tells "+text, func() (bool, error) { return len(n.with(text)) > more, nil }); err != nil {
		t.Fatal(err)
	}
}

// hung is a provider whose plugin will hang, and a task that has two GPUs of it.
type hung struct {
	*plugin.Client
	machine *fake.Machine
	log     *notes
	dir     string
	granted []string
	used    int64
}

func aboutToHang(t *testing.T) *hung {
	h := &hung{machine: build(t), log: &notes{}}
	config := nvml.Config{Dir: t.TempDir(), Library: h.machine.Library(), Root: h.machine.Root()}
	var end func()
	h.Client, h.dir, end = startAs(t, keep.Config{Ask: 50 * time.Millisecond, Answer: 3 * time.Second, Log: slog.New(slog.NewTextHandler(h.log, nil))}, config)
	t.Cleanup(end)
	g, err := h.Allocate(t.Context(), gpu.Request{Task: "t", Model: "A100-SXM4-40GB", Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range g.Devices {
		h.granted = append(h.granted, d.Device)
	}
	slices.Sort(h.granted)
	used, err := h.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.used = used["t"].EnergyMillijoules
	return h
}

// knows fails the test unless the provider answers again, and knows what the task has and what it has used.
func (h *hung) knows(t *testing.T) {
	t.Helper()
	var now gpu.Inventory
	if err := cluster.Until(t.Context(), time.Minute, "the provider answers again", func() (ok bool, err error) {
		now, err = h.Inventory(t.Context())
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
	var has []string
	for _, d := range now.Devices {
		if slices.Contains(d.Tasks, "t") {
			has = append(has, d.ID)
		}
	}
	slices.Sort(has)
	if !slices.Equal(has, h.granted) {
		t.Fatalf("the task had %q, and has %q", h.granted, has)
	}
	if err := h.machine.Burn(slices.IndexFunc(now.Devices, func(d gpu.Device) bool { return d.ID == has[0] }), 50_000); err != nil {
		t.Fatal(err)
	}
	if used, err := h.Usage(t.Context()); err != nil || used["t"].EnergyMillijoules < h.used+50_000 {
		t.Errorf("it had used %d mJ, and has %+v, %v", h.used, used, err)
	}
	if _, err := h.Release(t.Context(), "t"); err != nil {
		t.Error(err)
	}
}

// A provider that lives and does not answer is ended and started again; what it had allocated is so still, with its energy.
func TestAStoppedPluginIsReplacedAndKnowsWhatWasAllocated(t *testing.T) {
	h := aboutToHang(t)
	before := pid(h.dir)
	if err := syscall.Kill(before, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.log.until(t, "does not answer, ending it", 0)
	h.knows(t)
	if pid(h.dir) == before {
		t.Error("the process that hung answers")
	}
}

// So is one whose library does not return. The next one hangs before it serves, and is tried again and again, ever more slowly.
func TestAPluginWhoseLibraryHangsIsTriedAgainUntilItDoesNot(t *testing.T) {
	h := aboutToHang(t)
	if err := h.machine.Hang("nvmlDeviceGetMemoryInfo", true); err != nil {
		t.Fatal(err)
	}
	h.log.until(t, "does not answer, ending it", 0)
	h.log.until(t, "does not start", 1)
	asking, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := h.Inventory(asking); !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("while it cannot be started: %v", err)
	}
	if tries := h.log.with("does not start"); !strings.Contains(tries[0], "again_in=100ms") || !strings.Contains(tries[1], "again_in=200ms") {
		t.Errorf("it is tried again without a growing pause: %q", tries)
	}
	if err := h.machine.Hang("nvmlDeviceGetMemoryInfo", false); err != nil {
		t.Fatal(err)
	}
	h.knows(t)
}
