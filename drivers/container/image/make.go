package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// make has an item there and holds it: it is there, or somebody else is making it, or fill makes it in a folder that
// takes its place when it is whole. fill asks for room before it uses it. Work is shared with those who get the item from
// the same place: whoever names a place of his own could let everybody wait for it.
func (s *Store) make(ctx context.Context, key, place string, fill func(dir string, grow func(int64) error) error) error {
	shared := place + " " + key
	for {
		s.mu.Lock()
		if s.items[key] != nil {
			s.hold(key)
			s.mu.Unlock()
			s.touch(key)
			return nil
		}
		other, busy := s.making[shared]
		if !busy {
			break
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-other: // if it went wrong there it may go right here: with other credentials, in another place
		}
	}
	done := make(chan struct{})
	s.making[shared] = done
	s.mu.Unlock()
	err := s.build(key, fill)
	s.mu.Lock()
	delete(s.making, shared)
	s.mu.Unlock()
	close(done)
	return err
}

// build makes an item and holds it.
func (s *Store) build(key string, fill func(string, func(int64) error) error) (err error) {
	var bytes int64
	dir, err := os.MkdirTemp(s.path("tmp"), "")
	if err != nil {
		return err
	}
	defer func() {
		if dir != "" {
			os.RemoveAll(dir)
			s.mu.Lock()
			s.bytes -= bytes
			s.mu.Unlock()
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = fmt.Errorf("%w: its disk has no room or no inodes left, below its limit of %d MiB: free some, or lower the limit", ErrFull, s.config.LimitBytes>>20)
		}
	}()
	grow := func(more int64) error {
		if err := s.grow(more); err != nil {
			return err
		}
		bytes += more
		return nil
	}
	if err := fill(dir, grow); err != nil {
		return err
	}
	if err := syncAll(dir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items[key] == nil { // or somebody was faster, with the same from another place
		if err := os.Rename(dir, s.path(key)); err != nil {
			return err
		}
		s.items[key] = &item{bytes: bytes}
		dir = ""
	}
	s.hold(key)
	return nil
}

// hold is to be called with mu held.
func (s *Store) hold(keys ...string) {
	for _, key := range keys {
		s.items[key].held++
		s.items[key].used = time.Now()
	}
}

// release is to be called with mu held.
func (s *Store) release(keys ...string) {
	for _, key := range keys {
		s.items[key].held--
		s.items[key].used = time.Now()
	}
}

// touch notes on disk when an item was used last, for the next process.
func (s *Store) touch(keys ...string) {
	for _, key := range keys {
		now := time.Now()
		_ = os.Chtimes(s.path(key), now, now) // at worst it goes too early
	}
}

// take holds items if all of them are there.
func (s *Store) take(keys []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if s.items[key] == nil {
			return false
		}
	}
	s.hold(keys...)
	return true
}

// give gives back what take or make held.
func (s *Store) give(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(keys...)
}

// grow takes room. Where there is none, what was not used for the longest time goes, unless it is in use.
func (s *Store) grow(more int64) error {
	gone, err := s.evict(more)
	for _, dir := range gone {
		os.RemoveAll(dir)
	}
	return err
}

// evict takes room, and moves what has to go for it out of the way.
func (s *Store) evict(more int64) (gone []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes+more > s.config.LimitBytes {
		oldest := ""
		for key, it := range s.items {
			if it.held == 0 && (oldest == "" || it.used.Before(s.items[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return gone, fmt.Errorf("%w: all of the %d MiB that it may hold are in use, by %d tasks and by images that are being fetched: raise its limit, or run fewer different images at a time", ErrFull, s.config.LimitBytes>>20, len(s.tasks))
		}
		to := s.path("tmp", filepath.Base(oldest)+"."+time.Now().Format("150405.000000000"))
		if err := os.Rename(s.path(oldest), to); err != nil {
			return gone, fmt.Errorf("make room in the image store: %w", err)
		}
		gone = append(gone, to)
		s.bytes -= s.items[oldest].bytes
		delete(s.items, oldest)
	}
	s.bytes += more
	return gone, nil
}
