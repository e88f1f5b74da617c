package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// describe finds out what this machine is and has, and reports it if that has changed. A driver that does not answer is
// left out until it does.
func (e *Executor) describe(ctx context.Context) {
	e.describing.Lock()
	defer e.describing.Unlock()
	facts := &wire.NodeFacts{
		Name: e.config.Name, Pool: e.config.Pool, Version: e.config.Version, Labels: e.config.Labels,
		Os: runtime.GOOS, Arch: runtime.GOARCH, BootId: e.boot,
		CpuMilli: e.config.CPUMilli, MemoryBytes: e.config.MemoryBytes, DiskBytes: e.config.DiskBytes,
		CpuMilliReal: 1000 * int64(runtime.NumCPU()), MemoryBytesReal: MemoryBytes(),
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		facts.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if facts.CpuMilli == 0 {
		facts.CpuMilli = facts.CpuMilliReal
	}
	if facts.MemoryBytes == 0 {
		facts.MemoryBytes = facts.MemoryBytesReal
	}
	if facts.DiskBytes == 0 {
		facts.DiskBytes = e.diskBytes()
	}
	user, err := e.users.find("", e.config.User)
	if err != nil {
		facts.Missing = append(facts.Missing, err.Error())
	}
	facts.User = user.name
	if user.why != "" {
		facts.Missing = append(facts.Missing, "user: "+user.why)
	}
	for _, name := range slices.Sorted(maps.Keys(e.config.Absent)) {
		facts.Missing = append(facts.Missing, fmt.Sprintf("driver %s: %s", name, e.config.Absent[name]))
	}
	for _, name := range sortedNames(e.config.Drivers) {
		d, err := e.config.Drivers[name].Describe(ctx)
		if err == nil && d.ProtocolVersion != drivers.ProtocolVersion {
			err = fmt.Errorf("it speaks version %d of the contract, this executor %d", d.ProtocolVersion, drivers.ProtocolVersion)
		}
		if ctx.Err() != nil {
			return // this executor ends: that it got no answer says nothing of the driver
		}
		if err != nil {
			e.log.Warn("a driver cannot be used", "driver", name, "error", err)
			if errors.Is(err, drivers.ErrUnsupported) {
				facts.Missing = append(facts.Missing, fmt.Sprintf("driver %s: %s", name, err))
			}
			continue
		}
		e.mu.Lock()
		e.can[name] = d
		e.mu.Unlock()
		facts.Drivers = append(facts.Drivers, &wire.DriverFacts{
			Name: name, Isolation: string(d.Isolation), Pause: d.Pause, Exec: d.Exec, Network: d.Network, Devices: d.Devices,
		})
		facts.Missing = append(facts.Missing, shortcomings(name, d)...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.own = facts
	e.tellFacts()
}

// tellFacts has the facts reported if they have changed. The caller holds mu.
func (e *Executor) tellFacts() {
	if e.own == nil || e.config.GPUs != nil && !e.gpus.asked {
		return
	}
	facts := proto.CloneOf(e.own)
	e.addGPUs(facts)
	if e.ill != "" {
		facts = nothing(facts, e.ill)
	}
	if !proto.Equal(facts, e.facts) {
		e.facts = facts
		poke(e.send)
	}
}

// shortcomings are what people should know of a driver that can be used.
func shortcomings(name string, d drivers.Description) (all []string) {
	if d.Note != "" {
		all = append(all, fmt.Sprintf("driver %s: %s", name, d.Note))
	}
	for _, limit := range d.Limits {
		if limit.Reason != "" || !limit.Supported {
			all = append(all, fmt.Sprintf("%s of driver %s: %s", limit.Limit, name, limit.Reason))
		}
	}
	return all
}

// describes is what a driver says of itself, asked for where it has not been yet.
func (e *Executor) describes(ctx context.Context, name string) (d drivers.Description, err error) {
	e.mu.Lock()
	d, ok := e.can[name]
	e.mu.Unlock()
	if ok {
		return d, nil
	}
	err = again(ctx, func() error {
		d, err = e.config.Drivers[name].Describe(ctx)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("ask driver %s what it can do: %w", name, err)
	}
	return d, nil
}

func sortedNames(m map[string]drivers.Driver) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// diskBytes is what is free for tasks, in whole GiB: a number that changes with every file would be news all the time.
func (e *Executor) diskBytes() int64 {
	const gib = 1 << 30
	e.mu.Lock()
	known, ill := e.facts, e.ill
	e.mu.Unlock()
	if ill == "" && known.GetDiskBytes() != 0 {
		return known.GetDiskBytes()
	}
	var s unix.Statfs_t
	if err := unix.Statfs(e.layout.dir, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize / gib * gib
}

// MemoryBytes is the machine's memory, or that of the control group around it where that is less.
func MemoryBytes() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	total := int64(info.Totalram) * int64(info.Unit)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		var limit int64
		if b, err := os.ReadFile(path); err == nil {
			if n, _ := fmt.Sscan(strings.TrimSpace(string(b)), &limit); n == 1 && limit > 0 && limit < total {
				total = limit
			}
		}
	}
	return total
}
