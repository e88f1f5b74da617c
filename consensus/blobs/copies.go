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

// Get reads a whole blob, from this server or, if it lacks it, from a peer; then it is kept here
// too. Reading ends with ErrMismatch if the bytes are not the named ones.
func (s *Store) Get(ctx context.Context, d Digest) (io.ReadCloser, int64, error) {
	if err := s.fetchIfMissing(ctx, d); err != nil {
		return nil, 0, err
	}
	return s.GetLocal(ctx, d)
}

func (s *Store) fetchIfMissing(ctx context.Context, d Digest) error {
	_, ok, err := s.Has(ctx, d)
	if ok || err != nil {
		return err
	}
	var failed []error
	for _, p := range s.cfg.Peers() {
		if err = s.fetch(ctx, p, d); err == nil {
			return nil
		}
		if !errors.Is(err, ErrMissing) {
			failed = append(failed, err)
		}
	}
	return fmt.Errorf("fetch blob %s: %w", d, errors.Join(append([]error{ErrMissing}, failed...)...))
}

func (s *Store) fetch(ctx context.Context, p Peer, d Digest) error {
	r, err := p.Get(ctx, d)
	if err != nil {
		return fmt.Errorf("from server %s: %w", p.Name(), err)
	}
	defer r.Close()
	if _, err := s.PutLocal(ctx, d, r); err != nil {
		return fmt.Errorf("from server %s: %w", p.Name(), err)
	}
	return nil
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

// checked compares the digest when the bytes end, and throws a rotten copy away.
type checked struct {
	r      io.ReadCloser
	store  *Store
	digest Digest
	hash   hash.Hash
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.hash.Write(b[:n])
	if errors.Is(err, io.EOF) && Digest(c.hash.Sum(nil)) != c.digest {
		c.store.rotten(c.digest)
		return n, fmt.Errorf("read blob %s: %w", c.digest, ErrMismatch)
	}
	return n, err
}

func (c *checked) Close() error { return c.r.Close() }

// rotten deletes a copy that decayed, so that the next reader fetches a good one.
func (s *Store) rotten(d Digest) {
	s.cfg.Log.Error("a blob has decayed on this server's disk; it will be fetched from a peer", "digest", d.String())
	if err := s.bucket.Delete(s.life, key(d)); err != nil {
		s.cfg.Log.Error("delete the decayed blob", "digest", d.String(), "error", err)
	}
}

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
