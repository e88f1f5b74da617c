//go:build e2e

package vm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/testbed/cluster"
)

// A task that looks by itself finds what it is told a moment later, and one that is signalled has been told before; its root may
// be read-only.
func TestANoticeReachesAMachine(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	d := h.Driver()
	task := newTask(t, h, "told", `trap 'cat /run/coinop/notice; exit 5' USR1; echo begun; until grep -s found /run/coinop/notice; do sleep 0.1; done; while :; do sleep 0.1; done`)
	task.NoticeDir, task.ReadOnlyRoot = filepath.Join(filepath.Dir(task.Dir), "notices"), true
	if err := os.Mkdir(task.NoticeDir, 0o755); err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		next := filepath.Join(filepath.Dir(task.NoticeDir), "next")
		if err := os.WriteFile(next, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(task.NoticeDir, "notice")); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(word string) {
		if err := cluster.Until(t.Context(), h.Timeout, "it says "+word, func() (bool, error) {
			chunk, err := logs.Read(filepath.Join(task.Dir, "stdout"), 0, 1000)
			return err == nil && strings.Contains(string(chunk.Data), word), err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	hears("begun")
	say("found by looking")
	hears("found by looking")
	say("told before the signal")
	if err := d.Control(t.Context(), task.ID, drivers.Control{Kind: drivers.Signal, Signal: 10}); err != nil {
		t.Fatal(err)
	}
	hears("told before the signal")
	if err := d.Remove(t.Context(), task.ID); err != nil {
		t.Error(err)
	}
}
