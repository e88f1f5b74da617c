// Package blobs keeps bytes under the name of their SHA-256, on a majority of servers before it says so.
package blobs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

// Digest is the SHA-256 of the bytes, which is their name.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads 64 hex digits.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) {
		return Digest{}, fmt.Errorf("digest %q: it must be 64 hex digits", text)
	}
	copy(d[:], b)
	return d, nil
}

// What can go wrong with bytes.
var (
	ErrMissing  = errors.New("no server that answers has these bytes")
	ErrMismatch = errors.New("the bytes are not what their digest says")
	ErrTooBig   = errors.New("too many bytes")
	ErrDiskFull = errors.New("no room on the disk")
	ErrMinority = errors.New("too few servers took the bytes")
)

// Peer is another server's store; its calls touch that server's own bytes only.
type Peer interface {
	Name() string
	Put(ctx context.Context, d Digest, size int64, r io.Reader) error
	Get(ctx context.Context, d Digest) (r io.ReadCloser, size int64, err error) // ErrMissing
}

// Config is what a store needs.
type Config struct {
	Dir     string
	Bucket  *blob.Bucket  // instead of Dir: one bucket that all servers share, so there are no copies
	Peers   func() []Peer // the other servers of the cluster
	SizeMax int64         // of one blob
	// Referenced says whether the applied state names these bytes. It is asked of blobs that are
	// older than Grace, the time between their upload and the entry that names them.
	Referenced func(Digest) bool
	Grace      time.Duration
	SweepEvery time.Duration
	Sweeps     func() bool // whether this server sweeps now; nil: always. With a shared bucket: the leader
	Reserve    uint64      // bytes of free disk that stay free
	Free       func(dir string) (uint64, error)
	Now        func() time.Time
	Log        *slog.Logger
}

// Store is one server's bytes. It is safe for many goroutines.
type Store struct {
	cfg    Config
	bucket *blob.Bucket

	// sweeping keeps the sweep from deleting what is being put again. New files need no lock:
	// they are younger than the grace.
	sweeping sync.RWMutex
	looked   looks
	copies   sync.WaitGroup // to the servers that a Put did not wait for
	life     context.Context
	end      context.CancelFunc
}

const (
	defaultSizeMax = 4 << 30
	copyMax        = 5 * time.Minute
)

// New opens the folder.
func New(cfg Config) (*Store, error) {
	if cfg.Referenced == nil || cfg.Peers == nil {
		return nil, errors.New("open the blobs: Referenced and Peers must be given")
	}
	if cfg.SizeMax == 0 {
		cfg.SizeMax = defaultSizeMax
	}
	if cfg.Grace == 0 {
		cfg.Grace = time.Hour
	}
	if cfg.SweepEvery == 0 {
		cfg.SweepEvery = cfg.Grace / 4
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Free == nil {
		cfg.Free = diskFree
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, bucket: cfg.Bucket}
	if s.bucket == nil {
		// NoTempDir: the rename at the end must not cross file systems.
		b, err := fileblob.OpenBucket(cfg.Dir, &fileblob.Options{
			CreateDir: true, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
		})
		if err != nil {
			return nil, fmt.Errorf("open the blobs in %s: %w", cfg.Dir, err)
		}
		s.bucket = b
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Close waits for copies on their way, after cutting them short, and closes the folder.
func (s *Store) Close() error {
	s.end()
	s.copies.Wait()
	if s.cfg.Bucket != nil {
		return nil // it is whose who made it
	}
	if err := s.bucket.Close(); err != nil {
		return fmt.Errorf("close the blobs: %w", err)
	}
	return nil
}

// key spreads blobs over 256 folders.
func key(d Digest) string { return d.String()[:2] + "/" + d.String() }

func (s *Store) path(d Digest) string { return filepath.Join(s.cfg.Dir, filepath.FromSlash(key(d))) }

// Has says how many bytes this server itself has under a name.
func (s *Store) Has(ctx context.Context, d Digest) (int64, bool, error) {
	attrs, err := s.bucket.Attributes(ctx, key(d))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for blob %s: %w", d, err)
	}
	return attrs.Size, true, nil
}

// PutLocal writes bytes to this server only; it returns when they are on the disk.
func (s *Store) PutLocal(ctx context.Context, d Digest, r io.Reader) (int64, error) {
	if size, ok, err := s.renew(ctx, d); ok || err != nil {
		return size, err
	}
	if err := s.room(0); err != nil {
		return 0, err
	}
	// The bucket writes on Close unless the context ended before: this is how it is told to drop.
	writing, drop := context.WithCancel(ctx)
	defer drop()
	w, err := s.bucket.NewWriter(writing, key(d), &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return 0, fmt.Errorf("write blob %s: %w", d, full(err))
	}
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(w, hash), io.LimitReader(r, s.cfg.SizeMax+1))
	switch {
	case err != nil:
		err = full(err)
	case size > s.cfg.SizeMax:
		err = fmt.Errorf("%w: the limit is %d", ErrTooBig, s.cfg.SizeMax)
	case Digest(hash.Sum(nil)) != d:
		err = ErrMismatch
	}
	if err != nil {
		drop()
		_ = w.Close() // it reports the cancellation that was asked for
		return 0, fmt.Errorf("write blob %s: %w", d, err)
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("write blob %s: %w", d, full(err))
	}
	if err := s.flush(d); err != nil {
		// What could not be flushed may read well until the memory it lies in is needed for something else.
		return 0, errors.Join(fmt.Errorf("write blob %s to the disk: %w", d, full(err)), os.Remove(s.path(d)))
	}
	return size, nil
}

// renew starts the grace of a blob that is there already, and whole.
func (s *Store) renew(ctx context.Context, d Digest) (int64, bool, error) {
	if s.cfg.Bucket != nil {
		return 0, false, nil // written again: a bucket has no other way
	}
	if _, ok, err := s.sound(ctx, d); err != nil || !ok {
		return 0, false, err
	}
	s.sweeping.RLock()
	defer s.sweeping.RUnlock()
	size, ok, err := s.Has(ctx, d)
	if err != nil || !ok {
		return 0, false, err
	}
	now := s.cfg.Now()
	if err := os.Chtimes(s.path(d), now, now); err != nil {
		return 0, false, fmt.Errorf("renew blob %s: %w", d, err)
	}
	return size, true, nil
}

// flush puts file and name on the disk: an entry of the log, which is flushed too, will name them.
func (s *Store) flush(d Digest) error {
	if s.cfg.Bucket != nil {
		return nil
	}
	for _, name := range []string{s.path(d), filepath.Dir(s.path(d)), s.cfg.Dir} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// GetLocal reads a whole blob that this server has. Its file was checked before the first byte is handed out; the digest is
// checked again at the end of the bytes.
func (s *Store) GetLocal(ctx context.Context, d Digest) (io.ReadCloser, int64, error) {
	if _, ok, err := s.sound(ctx, d); err != nil || !ok {
		return nil, 0, fmt.Errorf("read blob %s: %w", d, cmp.Or(err, ErrMissing))
	}
	r, err := s.bucket.NewReader(ctx, key(d), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, 0, fmt.Errorf("read blob %s: %w", d, ErrMissing)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read blob %s: %w", d, err)
	}
	return &checked{r: r, rotten: func(err error) { s.rotten(d, nil, err) }, digest: d, hash: sha256.New()}, r.Size(), nil
}
