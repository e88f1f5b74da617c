package wallet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const ownersFolder = "owners"

// owner marks the payments of one open handle. It holds a lock on a file of its
// name for as long as it lives; the kernel frees the lock with the process,
// however that ends. So whoever can take the lock knows that the owner is gone
// and that its unfinished payments are there to be taken over.
type owner struct {
	id   string
	dir  string
	file *os.File
}

func newOwner(dir, id string) (*owner, error) {
	path := filepath.Join(dir, ownersFolder, id)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return &owner{id: id, dir: dir, file: file}, nil
}

func (o *owner) close() error {
	return errors.Join(os.Remove(o.file.Name()), o.file.Close())
}

// gone reports whether another owner lives no more. It must be another: to ask
// about oneself would give up one's own lock.
func (o *owner) gone(id string) (bool, error) {
	path := filepath.Join(o.dir, ownersFolder, filepath.Base(id))
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	_ = os.Remove(path) // another may have done so
	return true, nil
}

// lockFile waits for an exclusive lock on a file.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
}

// pause waits a while or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
