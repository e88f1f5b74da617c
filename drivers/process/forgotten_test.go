package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/process"
	"github.com/coinop/coinop/drivers/shim"
)

// A task whose files somebody has removed ends, its driver says that it is lost, and its id can be used again.
func TestATaskWithoutFilesEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	config := process.Config{Dir: t.TempDir()}
	l := begin(t, config, nil)
	h := harness(t, config.Dir)
	folder, err := h.Folder()
	if err != nil {
		t.Fatal(err)
	}
	task := drivers.Task{ID: "forgotten", Dir: filepath.Join(folder, "driver"), WorkDir: "/", Argv: h.Block, Env: []string{h.Mark}, UID: h.UID, GID: h.GID}
	for range 2 {
		task.LeaseUntil = shim.Boottime() + int64(300*time.Millisecond) // at its end the shim looks
		if _, err := l.Driver.Start(ctx, task); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Driver.Running(ctx, task.ID); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(folder), os.Remove(filepath.Join(config.Dir, "tasks", task.ID))); err != nil {
			t.Fatal(err)
		}
		statuses, err := l.Driver.Watch(ctx, task.ID)
		if err != nil {
			t.Fatal(err)
		}
		var last drivers.Status
		for last = range statuses {
		}
		if last.State != drivers.StateLost || last.Exit.Cause != drivers.CauseShimLost {
			t.Errorf("it ended as %+v", last)
		}
		if err := l.Driver.Remove(ctx, task.ID); err != nil {
			t.Error(err)
		}
		if left, err := h.Leaks(); err != nil || len(left) > 0 {
			t.Errorf("left are %q, %v", left, err)
		}
	}
}
