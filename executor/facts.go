package executor

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// describe finds out what this machine is and has, and reports it if that has changed.
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
	if ctx.Err() != nil {
		return
	}
	offered, missing := e.offered()
	facts.Drivers = offered
	facts.Missing = append(facts.Missing, missing...)
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
	facts.Shares, facts.Missing = e.shared, append(facts.Missing, e.apart...)
	facts.Missing = facts.Missing[:min(len(facts.Missing), factsMost)]
	for i, text := range facts.Missing {
		facts.Missing[i] = fact(text)
	}
	if e.ill != "" {
		facts = nothing(facts, e.ill)
	}
	if !proto.Equal(facts, e.facts) {
		e.facts = facts
		poke(e.send)
	}
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
