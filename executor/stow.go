package executor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

const (
	stateName = "state" // in a run's folder: what a suspended task was
	stowRetry = time.Minute
)

// stateFile is where a run's state lies on its way; empty if it has none.
func (r *run) stateFile(of *wire.Blob) string {
	if of == nil {
		return ""
	}
	return filepath.Join(r.layout.run(r.id), stateName)
}

// stow begins to bring a suspended task to the servers, so that it may go on on another machine, if its driver can do that.
// Nothing waits for it: that may take long.
func (r *run) stow(ctx context.Context) {
	if r.stowing != nil {
		return
	}
	can, err := r.describes(ctx, r.spec().GetDriver())
	if err != nil || can.Moves == "" {
		return
	}
	stowing, cancel := context.WithCancel(ctx)
	before, ended := r.stowed, make(chan struct{})
	r.stowing, r.stowed = cancel, ended
	r.wg.Go(func() {
		defer close(ended)
		if before != nil {
			<-before // it has the file
		}
		for {
			stored, err := r.bringAway(stowing, can.Moves)
			r.mu.Lock()
			over := stowing.Err() != nil
			if err == nil && !over {
				r.stored = stored
			}
			r.mu.Unlock()
			if over {
				return
			}
			if err == nil {
				r.report(r)
				return
			}
			r.log.Warn("a suspended run could not be brought to the servers; trying again", "run", r.id, "error", err)
			if pause(stowing, stowRetry) != nil {
				return
			}
		}
	})
}

// unstow ends that: the task goes on, or has ended.
func (r *run) unstow() {
	if r.stowing == nil {
		return
	}
	r.stowing()
	r.stowing = nil
	r.mu.Lock()
	r.stored = nil
	r.mu.Unlock()
}

// bringAway stores what a suspended task was and what it has printed.
func (r *run) bringAway(ctx context.Context, moves string) (*wire.Stored, error) {
	path := filepath.Join(r.layout.run(r.id), stateName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	defer file.Close()
	if err := r.control(ctx, drivers.Control{Kind: drivers.Export, File: path}); err != nil {
		return nil, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return nil, err
	}
	stored := &wire.Stored{State: &wire.Blob{Digest: sum.Sum(nil), Size: size}, Moves: moves}
	if stored.Stdout, err = r.takeLog(ctx, "stdout"); err != nil {
		return nil, err
	}
	if stored.Stderr, err = r.takeLog(ctx, "stderr"); err != nil {
		return nil, err
	}
	err = r.put(ctx, digest(stored.State.Digest), size, func() (io.Reader, error) { return io.NewSectionReader(file, 0, size), nil })
	if err != nil {
		return nil, fmt.Errorf("store its state: %w", err)
	}
	return stored, nil
}

// bringBack fetches what a task was when it was suspended on another machine.
func (r *run) bringBack(ctx context.Context, from *wire.Blob) error {
	d, err := digestOf(from.GetDigest())
	if err != nil {
		return fmt.Errorf("bring the task back: %w", err)
	}
	file, err := os.OpenFile(r.stateFile(from), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("bring the task back: %w", err)
	}
	sum := sha256.New()
	err = errors.Join(r.fetch(ctx, d, from.GetSize(), io.MultiWriter(file, sum)), file.Close())
	if err == nil && digest(sum.Sum(nil)) != d {
		err = errors.New("its state came damaged")
	}
	if err != nil {
		return fmt.Errorf("bring the task back: %w", err)
	}
	return nil
}
