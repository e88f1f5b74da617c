package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/process"
)

func cpuSeconds(who int) float64 {
	var r syscall.Rusage
	if syscall.Getrusage(who, &r) != nil {
		return 0
	}
	return float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
}

// reportCPU adds what a task cost in processor time, its own included: ours and our children's, the shims among them.
func reportCPU(b *testing.B, before float64) {
	b.ReportMetric((cpuSeconds(syscall.RUSAGE_SELF)+cpuSeconds(syscall.RUSAGE_CHILDREN)-before)*1e6/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkStart takes no-op tasks with limits on from Start to Remove, sixteen at once, and beside it the bare fork and exec of
// the same program, so that a figure can be judged on any machine.
func BenchmarkStart(b *testing.B) {
	b.Run("reference", func(b *testing.B) {
		before := cpuSeconds(syscall.RUSAGE_SELF) + cpuSeconds(syscall.RUSAGE_CHILDREN)
		sixteen(b, func(int) error { return exec.Command("/bin/true").Run() })
		reportCPU(b, before)
	})
	for _, limits := range []bool{false, true} {
		b.Run(fmt.Sprintf("limits=%v", limits), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			d, err := process.New(process.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- d.Run(ctx) }()
			dir := b.TempDir()
			before := cpuSeconds(syscall.RUSAGE_SELF) + cpuSeconds(syscall.RUSAGE_CHILDREN)
			b.ResetTimer()
			sixteen(b, func(n int) error { return oneTask(ctx, d, dir, n, limits) })
			b.StopTimer()
			reportCPU(b, before)
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func sixteen(b *testing.B, do func(n int) error) {
	numbers := make(chan int)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for n := range numbers {
				if err := do(n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := range b.N {
		numbers <- n
	}
	close(numbers)
	group.Wait()
}

func oneTask(ctx context.Context, d drivers.Driver, parent string, n int, limits bool) error {
	dir := filepath.Join(parent, fmt.Sprint(n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	task := drivers.Task{ID: fmt.Sprintf("t%d", n), Dir: dir, WorkDir: "/", Argv: []string{"/bin/true"}, AllowRoot: true}
	if limits {
		task.UID, task.GID, task.AllowRoot = 65534, 65534, false
		if os.Geteuid() != 0 {
			task.UID, task.GID = 0, 0
		}
		task.CPUMilli, task.MemoryBytes, task.PidsMax, task.FilesMax = 1000, 64<<20, 100, 1000
	}
	if _, err := d.Start(ctx, task); err != nil {
		return err
	}
	statuses, err := d.Watch(ctx, task.ID)
	if err != nil {
		return err
	}
	var last drivers.Status
	for last = range statuses {
	}
	if last.State != drivers.StateExited || last.Exit.Code != 0 {
		return fmt.Errorf("task %s: %+v", task.ID, last)
	}
	if err := d.Remove(ctx, task.ID); err != nil {
		return err
	}
	return os.Remove(dir)
}
