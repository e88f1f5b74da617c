// Package book keeps the history: every event of the machine, once, in SQLite.
package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/coinop/coinop/consensus/machine"
)

// Source is where events come from: this server's node. It never waits for the book.
type Source interface {
	// Events returns up to limit events after seq, waiting for one; an error that is neither the
	// context's nor of another kind means that they are not at hand.
	Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error)
	// EventsBegin is the oldest event at hand.
	EventsBegin() uint64
	// WaitEvent returns when the event of this number has happened.
	WaitEvent(ctx context.Context, seq uint64) error
	// Replay makes the events after seq again from the log, where the log still has them.
	Replay(ctx context.Context, seq uint64, visit func([]machine.Event) error) error
}

// Peer is another server's book.
type Peer interface {
	Name() string
	// Events returns up to limit events after seq; none if the peer does not have them.
	Events(ctx context.Context, seq uint64, limit int) ([]machine.Event, error)
}

// Config is what a book needs.
type Config struct {
	Path   string // of the file
	Source Source
	Peers  func() []Peer
	Gather time.Duration // how long events gather before they are written, 10 ms; each batch is one flush of the disk
	Retry  time.Duration // how long until a missing range is asked for again, 1 s
	Check  time.Duration // how long after the whole file was checked it is checked again, a day
	Log    *slog.Logger
}

// batchMax is how many events are read, checked and written at once.
const batchMax = 4096

// Book is one server's history. Run writes; everything else may be called by any goroutine.
type Book struct {
	cfg Config

	files sync.RWMutex // held by who reads; Run alone exchanges the two below, and only with the lock
	write *sql.DB      // one connection, Run's; nil while there is no file
	read  *sql.DB

	mu      sync.Mutex
	last    uint64        // the newest event that is on the disk
	hash    [32]byte      // its hash
	hole    bool          // the first event that is here is not the first that was
	missing bool          // events are known to be missing now
	damage  error         // how the file was found damaged; nil: it was not
	trouble string        // why the file cannot be written or made anew just now
	rouse   func()        // ends what Run waits for
	grown   chan struct{} // closed when last grows
}

// Open opens the file or makes it.
func Open(cfg Config) (*Book, error) {
	if cfg.Source == nil || cfg.Path == "" {
		return nil, errors.New("open the book: Source and Path must be given")
	}
	if cfg.Peers == nil {
		cfg.Peers = func() []Peer { return nil }
	}
	if cfg.Gather == 0 {
		cfg.Gather = 10 * time.Millisecond
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	if cfg.Check == 0 {
		cfg.Check = 24 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open the book: %w", err)
	}
	b := &Book{cfg: cfg, grown: make(chan struct{}), rouse: func() {}}
	err := b.openFiles()
	if damaged(err) {
		err = b.renew(err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the book %s: %w", cfg.Path, err), b.Close())
	}
	return b, nil
}

// openFiles opens the file, or makes it, and finds where the book ends.
func (b *Book) openFiles() error {
	// FULL: the log forgets what the book says it holds, so that must be on the disk.
	dsn := "file:" + b.cfg.Path + "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000"
	var err error
	if b.write, err = sql.Open("sqlite3", dsn+"&_txlock=immediate"); err != nil {
		return err
	}
	b.write.SetMaxOpenConns(1)
	if _, err := b.write.Exec(schema); err != nil {
		return tables(err)
	}
	if err := checkTables(context.Background(), b.write); err != nil {
		return err
	}
	if b.read, err = sql.Open("sqlite3", dsn+"&_query_only=true"); err != nil {
		return err
	}
	b.read.SetMaxOpenConns(4)
	return b.load()
}

func (b *Book) closeFiles() error {
	var errs []error
	for _, db := range []*sql.DB{b.write, b.read} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	b.write, b.read = nil, nil
	return errors.Join(errs...)
}

// Close closes the file.
func (b *Book) Close() error {
	b.files.Lock()
	defer b.files.Unlock()
	if err := b.closeFiles(); err != nil {
		return fmt.Errorf("close the book: %w", err)
	}
	return nil
}

// load finds where the book ends.
func (b *Book) load() error {
	e, ok, err := b.eventBefore(1<<63 - 1)
	if err != nil {
		return err
	}
	if !ok {
		e = machine.Event{}
	}
	var holes int
	if err := b.read.QueryRow("SELECT count(*) FROM holes").Scan(&holes); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.hash, b.hole = e.Seq, e.Hash, holes > 0
	return nil
}

// Through is the newest event that is on the disk.
func (b *Book) Through() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// Complete says whether the book lacks nothing that it knows of: neither a range that it is
// looking for, nor one that no server has any more.
func (b *Book) Complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.missing && !b.hole
}

// CatchingUp says that events are missing which others may have: ask another server for history.
func (b *Book) CatchingUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missing || b.damage != nil || b.trouble != ""
}

// WaitFor returns when the event of this number is on the disk.
func (b *Book) WaitFor(ctx context.Context, seq uint64) error {
	for {
		b.mu.Lock()
		last, grown := b.last, b.grown
		b.mu.Unlock()
		if last >= seq {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("wait until event %d is in the book, which holds %d: %w", seq, last, ctx.Err())
		}
	}
}

func (b *Book) advance(last uint64, hash [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.hash = last, hash
	close(b.grown)
	b.grown = make(chan struct{})
}

func (b *Book) end() (uint64, [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.hash
}

func (b *Book) setMissing(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing = is
}
