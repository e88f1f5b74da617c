package blobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// soundFor is how long a file that was checked is taken for sound: a log's last lines must not cost its whole length
	// each time. One that was written since is checked again.
	soundFor = 10 * time.Minute
	// looksMax bounds what is remembered; beyond it all is forgotten, and checked again.
	looksMax = 4096
	// lookBytes is how much is read before it is asked whether anybody still waits.
	lookBytes = 4 << 20
)

// looks remembers which files were sound when they were last looked at.
type looks struct {
	mu   sync.Mutex
	seen map[Digest]look
}

type look struct {
	at      time.Time
	size    int64
	written time.Time
}

func (l *looks) has(d Digest, info fs.FileInfo, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.seen[d]
	return ok && k.size == info.Size() && k.written.Equal(info.ModTime()) && now.Sub(k.at) < soundFor
}

func (l *looks) note(d Digest, info fs.FileInfo, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= looksMax {
		l.seen = map[Digest]look{}
	}
	l.seen[d] = look{at: now, size: info.Size(), written: info.ModTime()}
}

// sound says how many bytes this server itself has under a name, if they are the named ones. A copy that has decayed, was
// cut short or cannot be read is thrown away, so that it is fetched from a peer or taken again. What lies in a bucket is
// the bucket's to keep.
func (s *Store) sound(ctx context.Context, d Digest) (int64, bool, error) {
	if s.cfg.Bucket != nil {
		return s.Has(ctx, d)
	}
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		s.rotten(d, nil, err)
		return 0, false, nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, false, fmt.Errorf("look at blob %s: %w", d, err)
	}
	if s.looked.has(d, info, s.cfg.Now()) {
		return info.Size(), true, nil
	}
	sum := sha256.New()
	for err == nil && ctx.Err() == nil {
		_, err = io.CopyN(sum, f, lookBytes)
	}
	switch {
	case ctx.Err() != nil:
		return 0, false, fmt.Errorf("look at blob %s: %w", d, ctx.Err())
	case errors.Is(err, io.EOF) && Digest(sum.Sum(nil)) == d:
		s.looked.note(d, info, s.cfg.Now())
		return info.Size(), true, nil
	case errors.Is(err, io.EOF):
		err = ErrMismatch
	}
	s.rotten(d, info, err)
	return 0, false, nil
}

// rotten throws a copy away that is of no use, unless another has taken its place since it was looked at.
func (s *Store) rotten(d Digest, looked fs.FileInfo, why error) {
	if s.cfg.Bucket != nil {
		err := s.bucket.Delete(s.life, key(d))
		s.cfg.Log.Error("a blob is damaged in the bucket and was thrown away", "digest", d.String(), "error", errors.Join(why, err))
		return
	}
	path := s.path(d)
	s.cfg.Log.Error("a blob is damaged on this server's disk; it is thrown away and fetched from a peer when it is asked for", "file", path, "error", why)
	if now, err := os.Stat(path); err != nil || looked != nil && !os.SameFile(now, looked) {
		return
	}
	if err := os.Remove(path); err != nil {
		s.cfg.Log.Error("throw the damaged blob away", "file", path, "error", err)
	}
}
