package blobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
	"time"
)

// Put takes bytes whose digest is known. It returns when they are on the disks of a majority of
// servers; the others get them meanwhile, or fetch them when they are asked.
func (s *Store) Put(ctx context.Context, d Digest, r io.Reader) (int64, error) {
	size, err := s.PutLocal(ctx, d, r)
	if err != nil {
		return 0, err
	}
	if err := s.spread(ctx, d, size); err != nil {
		return 0, err
	}
	return size, nil
}

// Add takes bytes whose digest is not known yet: they pass through a file.
func (s *Store) Add(ctx context.Context, r io.Reader) (Digest, int64, error) {
	if err := s.room(0); err != nil {
		return Digest{}, 0, err
	}
	f, err := os.CreateTemp("", "coinop-blob-*")
	if err != nil {
		return Digest{}, 0, fmt.Errorf("take bytes: %w", full(err))
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(r, s.cfg.SizeMax+1))
	if err != nil {
		return Digest{}, 0, fmt.Errorf("take bytes: %w", full(err))
	}
	if n > s.cfg.SizeMax {
		return Digest{}, 0, fmt.Errorf("take bytes: %w: the limit is %d", ErrTooBig, s.cfg.SizeMax)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Digest{}, 0, fmt.Errorf("take bytes: %w", err)
	}
	d := Digest(sum.Sum(nil))
	size, err := s.Put(ctx, d, f)
	return d, size, err
}

// spread copies a blob to the peers and waits until a majority of all servers has it.
func (s *Store) spread(ctx context.Context, d Digest, size int64) error {
	if s.cfg.Bucket != nil {
		return nil
	}
	peers := s.cfg.Peers()
	need := (len(peers) + 1) / 2 // with this server, a majority of all
	if need == 0 {
		return nil
	}
	results := make(chan error, len(peers))
	for _, p := range peers {
		s.copies.Go(func() {
			// The caller stops waiting at a majority; the copy goes on, and ends with the store.
			copying, cancel := context.WithTimeout(s.life, copyMax)
			defer cancel()
			results <- s.copyTo(copying, p, d, size)
		})
	}
	var failed []error
	for range peers {
		select {
		case err := <-results:
			if err == nil {
				if need--; need == 0 {
					return nil
				}
				continue
			}
			failed = append(failed, err)
		case <-ctx.Done():
			return fmt.Errorf("spread blob %s: %w", d, ctx.Err())
		}
	}
	return fmt.Errorf("spread blob %s: %w: %w", d, ErrMinority, errors.Join(failed...))
}

func (s *Store) copyTo(ctx context.Context, p Peer, d Digest, size int64) error {
	r, _, err := s.GetLocal(ctx, d)
	if err != nil {
		return fmt.Errorf("copy to server %s: %w", p.Name(), err)
	}
	defer r.Close()
	if err := p.Put(ctx, d, size, r); err != nil {
		return fmt.Errorf("copy to server %s: %w", p.Name(), err)
	}
	return nil
}

// Get reads a whole blob, from this server or, if it lacks it, from a peer; then it is kept here too, if that is possible.
func (s *Store) Get(ctx context.Context, d Digest) (io.ReadCloser, int64, error) {
	_, ok, err := s.sound(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	if ok {
		return s.GetLocal(ctx, d)
	}
	var failed []error
	for _, p := range s.cfg.Peers() {
		err := s.fetch(ctx, p, d)
		var ours *unkept
		switch {
		case err == nil:
			return s.GetLocal(ctx, d)
		case errors.As(err, &ours):
			s.cfg.Log.Warn("a blob cannot be kept on this server; it is handed through", "digest", d.String(), "error", err)
			return pass(ctx, p, d)
		case !errors.Is(err, ErrMissing):
			failed = append(failed, err)
		}
	}
	return nil, 0, fmt.Errorf("fetch blob %s: %w", d, errors.Join(append([]error{ErrMissing}, failed...)...))
}

// unkept says that the bytes came, and this server's own disk did not take them.
type unkept struct{ error }

func (u *unkept) Unwrap() error { return u.error }

func (s *Store) fetch(ctx context.Context, p Peer, d Digest) error {
	r, _, err := p.Get(ctx, d)
	if err != nil {
		return fmt.Errorf("from server %s: %w", p.Name(), err)
	}
	defer r.Close()
	from := &source{r: r}
	_, err = s.PutLocal(ctx, d, from)
	if err != nil && from.err == nil && ctx.Err() == nil && !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrTooBig) {
		err = &unkept{err}
	}
	if err != nil {
		return fmt.Errorf("from server %s: %w", p.Name(), err)
	}
	return nil
}

// source remembers why it could not be read.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// pass hands through what a peer has, which has checked it.
func pass(ctx context.Context, p Peer, d Digest) (io.ReadCloser, int64, error) {
	r, size, err := p.Get(ctx, d)
	if err != nil {
		return nil, 0, fmt.Errorf("from server %s: %w", p.Name(), err)
	}
	return &checked{r: r, rotten: func(error) {}, digest: d, hash: sha256.New()}, size, nil
}

// room says whether so many bytes leave the reserve untouched.
func (s *Store) room(size int64) error {
	if s.cfg.Bucket != nil {
		return nil
	}
	free, err := s.cfg.Free(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("ask for free disk: %w", err)
	}
	if free < s.cfg.Reserve+uint64(size) {
		return fmt.Errorf("%w: %d bytes are free, %d of them stay in reserve", ErrDiskFull, free, s.cfg.Reserve)
	}
	return nil
}

// full names the one error of a disk that its user can do something about.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

func diskFree(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// checked compares the digest when the bytes end.
type checked struct {
	r      io.ReadCloser
	rotten func(error) // is told that they are others
	digest Digest
	hash   hash.Hash
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.hash.Write(b[:n])
	if errors.Is(err, io.EOF) && Digest(c.hash.Sum(nil)) != c.digest {
		c.rotten(ErrMismatch)
		return n, fmt.Errorf("read blob %s: %w", c.digest, ErrMismatch)
	}
	return n, err
}

func (c *checked) Close() error { return c.r.Close() }

// Run sweeps until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.cfg.Sweeps != nil && !s.cfg.Sweeps() {
			continue
		}
		if n, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("sweep the blobs", "error", err)
		} else if n > 0 {
			s.cfg.Log.Info("swept the blobs", "deleted", n)
		}
	}
}
