package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/drivers/shim"
)

// Usage implements drivers.Driver.
func (d *Set) Usage(_ context.Context, id string) (drivers.Usage, error) {
	t, err := d.find(id)
	if err != nil {
		return drivers.Usage{}, err
	}
	t.mu.Lock()
	r, final := t.record, t.final
	t.mu.Unlock()
	if final {
		usage := drivers.Usage{CPUMillis: int64(r.CPUMicros / 1000), MemoryPeakBytes: int64(r.MemoryPeak), PidsPeak: int64(r.PidsPeak),
			LogBytes: int64(r.LogBytes)}
		if teller, ok := d.config.Kind.(Teller); ok {
			teller.Measure(t.logDir, &usage)
		}
		return usage, nil
	}
	usage := d.cgroups.usage(id)
	if usage.CPUMillis == 0 || usage.MemoryPeakBytes == 0 {
		found, err := processUsage(int(r.ShimPid))
		if err != nil {
			return drivers.Usage{}, fmt.Errorf("usage of task %s: %w", id, err)
		}
		usage.CPUMillis = max(usage.CPUMillis, found.CPUMillis)
		if usage.MemoryPeakBytes == 0 {
			usage.MemoryPeakBytes = found.MemoryPeakBytes
		}
	}
	for _, name := range []string{shim.StdoutFile, shim.StderrFile} {
		size, err := logs.Size(filepath.Join(t.logDir, name))
		if err != nil {
			return drivers.Usage{}, fmt.Errorf("usage of task %s: %w", id, err)
		}
		usage.LogBytes += size
	}
	return usage, nil
}

func (c *cgroups) usage(id string) (u drivers.Usage) {
	dirs := c.all(id)
	if dir := dirs[shim.Unified]; dir != "" {
		u.CPUMillis = cgroupNumber(dir, "cpu.stat", "usage_usec") / 1000
		u.MemoryPeakBytes = cgroupNumber(dir, "memory.peak", "")
		u.PidsPeak = cgroupNumber(dir, "pids.peak", "")
	}
	if dir := dirs[shim.CPUAcct]; dir != "" && u.CPUMillis == 0 {
		u.CPUMillis = cgroupNumber(dir, "cpuacct.usage", "") / 1_000_000
	}
	if dir := dirs[shim.Memory]; dir != "" && u.MemoryPeakBytes == 0 {
		u.MemoryPeakBytes = cgroupNumber(dir, "memory.max_usage_in_bytes", "")
	}
	return u
}

// cgroupNumber reads the number in a file, or behind a key in it; 0 where the kernel has none.
func cgroupNumber(dir, file, key string) int64 {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || key != "" && fields[0] != key {
			continue
		}
		if n, err := strconv.ParseInt(fields[len(fields)-1], 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// processUsage adds up the descendants of a shim, for want of a cgroup that counts. The peak is of what lives now.
func processUsage(shimPid int) (drivers.Usage, error) {
	const ticksPerSecond = 100 // USER_HZ, the same on all architectures that Go knows
	all, err := descendants(shimPid)
	var u drivers.Usage
	for _, p := range all {
		u.CPUMillis += p.ticks * 1000 / ticksPerSecond
		u.MemoryPeakBytes += p.bytes
	}
	return u, err
}

// destroy kills whatever is in the task's cgroups and removes them, in the stead of a shim that died.
func (c *cgroups) destroy(id string) error {
	dirs := c.all(id)
	if dir := dirs[shim.Freezer]; dir != "" {
		_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0) // absent if it was never made
	}
	if dir := dirs[shim.Unified]; dir != "" {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) // older kernels lack it; then as in version 1
	}
	deadline := time.Now().Add(5 * time.Second)
	paths := append(slices.Collect(maps.Values(dirs)), c.foreign(id)...)
	for _, dir := range paths {
		for {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", dir, err)
			}
			killAll(dir)
			time.Sleep(2 * time.Millisecond) // the kernel tells nobody when the last one has left
		}
	}
	return nil
}

func killAll(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL) // gone meanwhile is fine
		}
	}
}

// explain turns the shim's "errno 13" into words.
func explain(message string) string {
	before, number, found := strings.Cut(message, "errno ")
	if n, err := strconv.Atoi(number); found && err == nil {
		return before + unix.Errno(n).Error()
	}
	return message
}
