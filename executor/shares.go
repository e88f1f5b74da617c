package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// checkShares refuses what no pool could share.
func checkShares(dirs []string) error {
	for _, dir := range dirs {
		switch {
		case !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/":
			return fmt.Errorf("executor: shared folder %q: want an absolute path in its short form, like /srv/shared", dir)
		case fact(dir) != dir:
			return fmt.Errorf("executor: shared folder %q: want text of at most %d bytes", dir, factMost)
		}
	}
	if len(dirs) > factsMost {
		return fmt.Errorf("executor: %d shared folders, at most %d can be told", len(dirs), factsMost)
	}
	return nil
}

// startShares begins to look at the folders that this machine has in common with others, and waits a little for what is found:
// else the first facts told would lack them, and work be refused that could be had.
func (e *Executor) startShares(ctx context.Context) {
	if len(e.config.Shares) == 0 {
		return
	}
	looked := make(chan struct{})
	e.wg.Go(func() {
		e.lookAtShares()
		close(looked)
		for pause(ctx, probeEvery) == nil {
			e.lookAtShares()
		}
	})
	most := time.NewTimer(inquireFirst)
	defer most.Stop()
	select {
	case <-looked:
	case <-most.C:
	case <-ctx.Done():
	}
}

// lookAtShares offers those that are there. A file server that is silent holds up nobody but this.
func (e *Executor) lookAtShares() {
	var there, missing []string
	for _, dir := range e.config.Shares {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = errors.New("it is no folder")
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("share %s: %v", dir, err))
			continue
		}
		there = append(there, dir)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(missing, e.apart) {
		e.log.Info("shared folders", "offered", there, "missing", missing)
	}
	e.shared, e.apart = there, missing
	e.tellFacts()
}

// notShared says that the run has not started because this machine does not share the folder that it is to work in.
type notShared struct{ error }

// mayShare says why a run cannot work where it is to work; nil where it can, or where it has only its own folder.
func (r *run) mayShare(ctx context.Context) error {
	share := r.spec().GetShare()
	if share == "" {
		return nil
	}
	can, err := r.describes(ctx, r.spec().GetDriver())
	if err != nil {
		return err
	}
	r.Executor.mu.Lock()
	defer r.Executor.mu.Unlock()
	switch {
	case !slices.Contains(r.shared, share):
		return notShared{fmt.Errorf("this machine does not share %s, or not now", share)}
	case !can.Share:
		return notShared{fmt.Errorf("the driver %s has no shared folders", r.spec().GetDriver())}
	}
	return nil
}
