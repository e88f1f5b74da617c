package vm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/vmtest"
)

// BenchmarkStart takes a machine of an image that is there from Start to the first word of its command, beside it QEMU alone: the
// same machine, until its first process has spoken.
func BenchmarkStart(b *testing.B) {
	vmtest.Need(b)
	h := newHarness(b, vm.Config{})
	d, ok := h.Driver().(*vm.Driver)
	if !ok {
		b.Fatal("it is another driver")
	}
	n := 0
	once := func() error {
		n++
		folder, err := h.Folder()
		if err != nil {
			return err
		}
		task := drivers.Task{
			ID: fmt.Sprintf("bench-%d", n), Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
			Argv: []string{"/bin/sh", "-c", "echo word; sleep 1000"}, Env: []string{"PATH=/bin"}, CPUMilli: 1000, MemoryBytes: 256 << 20, PidsMax: 100,
		}
		if err := os.Mkdir(task.WorkDir, 0o755); err != nil {
			return err
		}
		if _, err := d.Start(b.Context(), task); err != nil {
			return err
		}
		for {
			u, err := d.Usage(b.Context(), task.ID)
			if err != nil || u.LogBytes > 0 {
				b.StopTimer()
				defer b.StartTimer()
				return d.Remove(b.Context(), task.ID)
			}
			if s, _, err := d.Status(task.ID); err != nil || s.State.Final() {
				return fmt.Errorf("it ended as %+v: %w", s, err)
			}
			time.Sleep(time.Millisecond) // what the figure is too large by, at most
		}
	}
	if err := once(); err != nil { // its disk is made
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{{"qemu", d.Probe}, {"ours", once}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms")
		})
	}
}
