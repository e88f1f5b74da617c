package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/drivers"
)

// Runs is how many tasks a test of leaks runs, where an environment variable does not say otherwise.
func Runs(t testing.TB, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	runs, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return runs
}

// ManyRuns runs tasks of all sorts, some at a time, and finds the machine as it was: no mount, loop device, cgroup, process or file
// more, neither before the driver restarts nor after it.
func ManyRuns(t testing.TB, h Harness, runs, atOnce int) {
	t.Helper()
	description, err := h.Driver().Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := machine()
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range runs {
		group.Go(func() error { return oneRun(t.Context(), h, description.Suspend, i) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		after, err := machine()
		if err != nil {
			t.Fatal(err)
		}
		if left, err := h.Leaks(); err != nil || len(left) > 0 {
			t.Errorf("left are %q, %v", left, err)
		}
		for what := range after {
			if !before[what] {
				t.Errorf("left is %s", what)
			}
		}
		if err := h.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d runs left nothing", runs)
}

// machine lists what tasks are made of, whoever made it.
func machine() (map[string]bool, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	all := map[string]bool{}
	for _, what := range append(strings.Split(string(mounts), "\n"), loops...) {
		all[what] = true
	}
	return all, err
}

// oneRun is a task that ends well, fails, cannot start, is killed, suspended where that can be, or holds its image and its terminal
// to the last.
func oneRun(ctx context.Context, h Harness, suspends bool, i int) error {
	folder, err := h.Folder()
	if err != nil {
		return err
	}
	task := drivers.Task{
		ID: fmt.Sprintf("run-%d", i), Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
		Argv: [][]string{h.Exit(0), h.Exit(3), {"/nowhere"}, h.Block, {"/bin/sh", "-c", "echo x >/file; sleep 1000 & echo x >file; exit 0"}}[i%5],
		Env:  []string{"PATH=/bin", h.Mark}, MemoryBytes: 64 << 20, PidsMax: 32, CPUMilli: 1000, DiskBytes: 1 << 30, Network: i%2 == 0,
	}
	if err := errors.Join(os.Mkdir(task.WorkDir, 0o755), os.Chown(task.WorkDir, int(h.UID), int(h.GID))); err != nil {
		return err
	}
	d := h.Driver()
	_, err = d.Start(ctx, task)
	if i%5 == 3 {
		if err == nil {
			_, err = d.Exec(ctx, task.ID, drivers.ExecRequest{Argv: []string{"true"}, Terminal: i%2 == 0}, drivers.ExecStreams{})
		}
		if err == nil && suspends {
			err = d.Control(ctx, task.ID, drivers.Control{Kind: drivers.Suspend})
		}
	} else if err == nil {
		err = toItsEnd(ctx, d, task.ID)
	}
	if err := errors.Join(err, d.Remove(ctx, task.ID)); err != nil {
		return fmt.Errorf("task %s: %w", task.ID, err)
	}
	if entries, err := os.ReadDir(task.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("task %s left %s", task.ID, entries[0].Name())
	}
	return os.RemoveAll(folder)
}

func toItsEnd(ctx context.Context, d drivers.Driver, id string) error {
	statuses, err := d.Watch(ctx, id)
	if err != nil {
		return err
	}
	for range statuses { // to its end
	}
	return nil
}
