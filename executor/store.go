package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// digest is the SHA-256 of some bytes.
type digest [sha256.Size]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

func digestOf(b []byte) (digest, error) {
	if len(b) != sha256.Size {
		return digest{}, fmt.Errorf("a digest has %d bytes, not %d", sha256.Size, len(b))
	}
	return digest(b), nil
}

// fetchFunc writes the bytes of a digest to w.
type fetchFunc func(ctx context.Context, d digest, size int64, w io.Writer) error

// store keeps inputs for the next task that wants them, up to a size; what was used longest ago goes first. Bytes are
// checked on their way in and again on their way to each task, so a store that rots costs a fetch and nothing else.
type store struct {
	dir   string
	limit int64

	mu       sync.Mutex
	kept     map[digest]*keptInput
	total    int64
	fetching map[digest]chan struct{} // closed when that fetch is over
}

type keptInput struct {
	size int64
	used time.Time
}

func newStore(dir string, limit int64) *store {
	return &store{dir: dir, limit: limit, kept: map[digest]*keptInput{}, fetching: map[digest]chan struct{}{}}
}

// open finds what earlier executors kept; half-fetched files go.
func (s *store) open() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entry := range entries {
		name, err := hex.DecodeString(entry.Name())
		info, infoErr := entry.Info()
		if err != nil || len(name) != sha256.Size || infoErr != nil || !info.Mode().IsRegular() {
			if err := os.RemoveAll(filepath.Join(s.dir, entry.Name())); err != nil {
				return err
			}
			continue
		}
		s.kept[digest(name)] = &keptInput{size: info.Size(), used: info.ModTime()}
		s.total += info.Size()
	}
	s.shrink()
	return nil
}

var errRotten = errors.New("the bytes are not those of the digest")

// copy writes the bytes of d to the empty file to, fetching them if they are not here.
func (s *store) copy(ctx context.Context, to *os.File, d digest, size int64, fetch fetchFunc) error {
	for attempt := 0; ; attempt++ {
		from, err := s.get(ctx, d, size, fetch)
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(io.MultiWriter(to, sum), from)
		err = errors.Join(err, from.Close())
		if err == nil && digest(sum.Sum(nil)) != d {
			err = errRotten
		}
		if err == nil || attempt > 0 {
			return err
		}
		s.remove(d)
		if err := to.Truncate(0); err != nil {
			return err
		}
		if _, err := to.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// get opens the bytes of d. Of many that want the same bytes at once, one fetches.
func (s *store) get(ctx context.Context, d digest, size int64, fetch fetchFunc) (*os.File, error) {
	for {
		s.mu.Lock()
		if k := s.kept[d]; k != nil {
			f, err := os.Open(s.path(d)) // under the lock: it must not be shrunk away in between
			if err == nil {
				k.used = time.Now()
				s.mu.Unlock()
				return f, nil
			}
			s.forget(d)
		}
		other := s.fetching[d]
		if other == nil {
			done := make(chan struct{})
			s.fetching[d] = done
			s.mu.Unlock()
			f, err := s.bring(ctx, d, size, fetch)
			s.mu.Lock()
			delete(s.fetching, d)
			s.mu.Unlock()
			close(done)
			return f, err
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// bring fetches bytes into the store and opens them. They may exceed the limit until the next ones come.
func (s *store) bring(ctx context.Context, d digest, size int64, fetch fetchFunc) (_ *os.File, err error) {
	f, err := os.CreateTemp(s.dir, "fetch-*")
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", d, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("fetch %s: %w", d, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	sum := &sumWriter{to: f, sum: sha256.New(), most: size}
	if err := fetch(ctx, d, size, sum); err != nil {
		return nil, err
	}
	if sum.n != size || digest(sum.sum.Sum(nil)) != d {
		return nil, errRotten
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), s.path(d)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[d] = &keptInput{size: size, used: time.Now()}
	s.total += size
	s.shrink()
	return f, nil
}

func (s *store) path(d digest) string { return filepath.Join(s.dir, d.String()) }

func (s *store) remove(d digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(d)
}

// forget takes bytes out of the store; who reads them goes on. The caller holds mu.
func (s *store) forget(d digest) {
	k := s.kept[d]
	if k == nil {
		return
	}
	_ = os.Remove(s.path(d)) // if it stays it is found again at the next start
	delete(s.kept, d)
	s.total -= k.size
}

// shrink drops what was used longest ago until the rest fits. The caller holds mu.
func (s *store) shrink() {
	if s.total <= s.limit {
		return
	}
	oldest := make([]digest, 0, len(s.kept))
	for d := range s.kept {
		oldest = append(oldest, d)
	}
	slices.SortFunc(oldest, func(a, b digest) int { return s.kept[a].used.Compare(s.kept[b].used) })
	for _, d := range oldest {
		if s.total <= s.limit {
			return
		}
		s.forget(d)
	}
}

// sumWriter sums what passes and refuses more than was promised.
type sumWriter struct {
	to   io.Writer
	sum  hash.Hash
	n    int64
	most int64
}

func (w *sumWriter) Write(p []byte) (int, error) {
	if w.n+int64(len(p)) > w.most {
		return 0, errRotten
	}
	n, err := w.to.Write(p)
	w.sum.Write(p[:n])
	w.n += int64(n)
	return n, err
}
