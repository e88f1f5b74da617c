package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
)

// control carries out a command. Only a lease for a task that has none is refused.
func (k *keeper) control(c drivers.Control) bool {
	switch c.Kind {
	case drivers.Signal:
		to := k.pid
		if c.Group {
			to = -k.pid
		}
		_ = unix.Kill(to, unix.Signal(c.Signal)) // it may be ending
	case drivers.Freeze, drivers.Thaw:
		k.byControl = c.Kind == drivers.Freeze
		k.freeze()
	case drivers.Stop:
		k.stop(c)
	case drivers.Kill:
		k.kill(drivers.CauseStopped)
	case drivers.Lease:
		if k.until == 0 || c.Until <= 0 {
			return false
		}
		k.until = c.Until
		k.heed(boottime())
	}
	return true
}

func (k *keeper) stop(c drivers.Control) {
	delay, signal := c.KillDelayMillis, unix.Signal(c.Signal)
	if delay == 0 {
		delay = k.spec.KillDelayMillis
	}
	if signal == 0 {
		signal = unix.SIGTERM
	}
	if delay == 0 || k.status.State == drivers.StateFrozen {
		k.kill(drivers.CauseStopped)
		return
	}
	k.cause = drivers.CauseStopped
	_ = unix.Kill(-k.pid, signal) // it may be ending
	if at := boottime() + delay*int64(time.Millisecond); k.killAt == 0 || at < k.killAt {
		k.killAt = at
	}
}

func (k *keeper) kill(cause drivers.ExitCause) {
	k.cause = cause
	_ = unix.Kill(-1, unix.SIGKILL)
}

// heed does what is due: the lease, its grace, the kill after a stop.
func (k *keeper) heed(now int64) {
	lapsed := k.until != 0 && k.until <= now
	if lapsed != k.byLease {
		k.byLease = lapsed
		k.freeze()
	}
	switch grace := k.spec.LeaseGraceMillis * int64(time.Millisecond); {
	case k.killAt != 0 && (now >= k.killAt || lapsed):
		k.kill(drivers.CauseStopped)
	case lapsed && grace > 0 && now >= k.until+grace:
		k.kill(drivers.CauseLease)
	}
}

// next is how long nothing will be due.
func (k *keeper) next(now int64) time.Duration {
	at := int64(math.MaxInt64)
	if k.until > now {
		at = k.until
	}
	if grace := k.spec.LeaseGraceMillis * int64(time.Millisecond); k.byLease && grace > 0 && k.cause == "" {
		at = min(at, k.until+grace)
	}
	if k.killAt > now {
		at = min(at, k.killAt)
	}
	return time.Duration(max(0, at-now))
}

// freeze makes the processes follow byControl and byLease, and notes since when and why.
func (k *keeper) freeze() {
	cause := drivers.FreezeCause("")
	switch {
	case k.byLease:
		cause = drivers.FrozenByLease
	case k.byControl:
		cause = drivers.FrozenByControl
	}
	before := k.status.State
	k.status.State = drivers.StateRunning
	if cause != "" {
		k.status.State = drivers.StateFrozen
	}
	switch {
	case k.status.State == before:
	case cause != "":
		_ = unix.Kill(-1, unix.SIGSTOP) // the kernel lets no fork slip through
	default:
		_ = unix.Kill(-1, unix.SIGCONT)
	}
	if k.span(cause, boottime()) {
		k.tell()
	}
}

// span ends the open span of being frozen and begins another, where the cause has changed.
func (k *keeper) span(cause drivers.FreezeCause, now int64) bool {
	open := drivers.FreezeCause("")
	n := len(k.status.Frozen)
	if n > 0 && k.status.Frozen[n-1].To == 0 {
		open = k.status.Frozen[n-1].Cause
	}
	if open == cause {
		return false
	}
	at := max(1, now-k.status.StartedBoot)
	if open != "" {
		k.status.Frozen[n-1].To = at
	}
	if cause != "" {
		k.status.Frozen = append(k.status.Frozen, drivers.Span{From: at, Cause: cause})
	}
	return true
}

// usage adds what has ended, and was waited for, to what lives.
func (k *keeper) usage() (u drivers.Usage) {
	var ended unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &ended) == nil {
		u.CPUMillis = (ended.Utime.Nano() + ended.Stime.Nano()) / int64(time.Millisecond)
		u.MemoryPeakBytes = ended.Maxrss << 10 // of the largest process
	}
	living, _ := filepath.Glob("/proc/[0-9]*/stat") // the namespace's own
	for _, path := range living {
		text, err := os.ReadFile(path)
		_, rest, found := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); err == nil && found && path != "/proc/1/stat" && len(fields) > 21 {
			var ticks, pages [4]int64
			for i := range ticks {
				_, _ = fmt.Sscan(fields[11+i], &ticks[i]) // the kernel writes numbers
			}
			_, _ = fmt.Sscan(fields[21], &pages[0])
			u.CPUMillis += 10 * (ticks[0] + ticks[1] + ticks[2] + ticks[3])
			u.MemoryPeakBytes = max(u.MemoryPeakBytes, pages[0]*int64(os.Getpagesize()))
		}
	}
	for _, stream := range streams() {
		if size, err := logs.Size(filepath.Join(k.spec.Dir, stream)); err == nil {
			u.LogBytes += size
		}
	}
	return u
}
