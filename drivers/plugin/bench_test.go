package plugin_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/coinop/coinop/drivers"
)

// BenchmarkStart takes no-op tasks with limits on through a plugin, from Start to Remove, beside the bare fork and exec.
func BenchmarkStart(b *testing.B) {
	b.Run("reference", func(b *testing.B) {
		sixteen(b, func(int) error { return exec.Command("/bin/true").Run() })
	})
	b.Run("plugin", func(b *testing.B) {
		dir := b.TempDir()
		client := run(b, pluginConfig(b, "process", dir))
		if _, err := client.Describe(b.Context()); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		statuses, err := client.Watch(ctx, "")
		if err != nil {
			b.Fatal(err)
		}
		var mu sync.Mutex
		ended := map[string]chan drivers.Status{}
		go func() {
			for s := range statuses {
				if s.State.Final() {
					mu.Lock()
					end := ended[s.ID]
					delete(ended, s.ID) // a status may come twice
					mu.Unlock()
					if end != nil {
						end <- s
					}
				}
			}
		}()
		b.ResetTimer()
		sixteen(b, func(n int) error {
			id := fmt.Sprintf("t%d", n)
			end := make(chan drivers.Status, 1)
			mu.Lock()
			ended[id] = end
			mu.Unlock()
			task := drivers.Task{ID: id, Dir: filepath.Join(dir, id), WorkDir: "/", Argv: []string{"/bin/true"},
				CPUMilli: 1000, MemoryBytes: 64 << 20, PidsMax: 100, FilesMax: 1000}
			if os.Geteuid() == 0 {
				task.UID, task.GID = 65534, 65534
			}
			if err := os.Mkdir(task.Dir, 0o700); err != nil {
				return err
			}
			if _, err := client.Start(ctx, task); err != nil {
				return err
			}
			if s := <-end; s.Exit.Code != 0 {
				return fmt.Errorf("%+v", s)
			}
			return client.Remove(ctx, id)
		})
		b.StopTimer()
	})
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
