package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/executor/wire"
)

const (
	// diskLeast is how much must be free below the executor's folder for it to take work.
	diskLeast = 64 << 20
	// probeBytes is what the disk is tried with, in a file of this name.
	probeBytes = 64 << 10
	probeFile  = "probe"
	// probeEvery is how often; while it fails, each heartbeat.
	probeEvery = time.Minute
)

// diskTrouble says whether an error is the disk's: full, read-only or failing. Then it is not the task's, and not this
// attempt's: every other one would meet it here too.
func diskTrouble(err error) bool {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// keepDisk tries the disk again and again. While nothing can be written, the machine says so and takes no work; what
// runs here goes on, and its end is told.
func (e *Executor) keepDisk(ctx context.Context) {
	for {
		wait := probeEvery
		if err := e.probe(); err != nil {
			e.diskFailed(err)
			wait = e.config.Heartbeat
		} else {
			e.diskWorks(ctx)
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
		case <-e.diskNews:
		case <-ctx.Done():
			next.Stop()
			return
		}
		next.Stop()
	}
}

// probe writes a file and has it flushed, as a journal is written.
func (e *Executor) probe() (err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(e.layout.dir, &s); err != nil {
		return fmt.Errorf("look at %s: %w", e.layout.dir, err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < diskLeast {
		return fmt.Errorf("%d MiB are free below %s, %d are needed: %w", free>>20, e.layout.dir, diskLeast>>20, unix.ENOSPC)
	}
	f, err := os.Create(filepath.Join(e.layout.dir, probeFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return err
	}
	return f.Sync()
}

// diskFailed takes in an error of writing; what is not the disk's changes nothing.
func (e *Executor) diskFailed(err error) {
	if !diskTrouble(err) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offerNothing(err)
}

// offerNothing tells the servers, with the next report, that this machine takes no work. The caller holds mu.
func (e *Executor) offerNothing(err error) {
	if e.ill != "" {
		return
	}
	e.ill = "this machine cannot write its disk: " + plainText(err.Error())
	e.log.Error("the disk cannot be written: this machine takes no work until it can", "dir", e.layout.dir, "error", err)
	poke(e.diskNews)
	e.tellFacts()
}

// diskWorks takes work again where none was taken.
func (e *Executor) diskWorks(ctx context.Context) {
	e.mu.Lock()
	was := e.ill
	e.ill = ""
	e.mu.Unlock()
	if was != "" {
		e.log.Info("the disk can be written again", "dir", e.layout.dir)
		e.describe(ctx)
	}
}

// nothing are the facts of a machine that has nothing to offer, and why.
func nothing(facts *wire.NodeFacts, why string) *wire.NodeFacts {
	facts = proto.CloneOf(facts)
	facts.CpuMilli, facts.MemoryBytes, facts.DiskBytes, facts.Gpus, facts.Cards = 0, 0, 0, 0, nil
	facts.Missing = append([]string{fact(why)}, facts.Missing[:min(len(facts.Missing), factsMost-1)]...)
	return facts
}
