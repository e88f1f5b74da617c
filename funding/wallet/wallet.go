package wallet

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/funding/words"
)

// Config says where a wallet lies and how it reaches mints.
type Config struct {
	// Dir is the wallet's folder; it is made with mode 0700.
	Dir string
	// Mint makes the client for a mint's URL.
	Mint func(url string) MintClient
	// Words are the twelve recovery words, for a folder that has no wallet yet.
	// Without them a new wallet draws its own.
	Words string
	// Wait is how long a payment waits for coins that other payments of this
	// wallet still hold as change. Zero is half a minute.
	Wait time.Duration
	// Now and Random replace the clock and the source of randomness in tests.
	Now    func() time.Time
	Random io.Reader
}

// Wallet is one open handle. It is safe for several goroutines, and any number
// of handles and processes may be open on one folder.
type Wallet struct {
	config  Config
	db      *sql.DB
	file    local    // db, for questions outside of transactions
	commits *os.File // how many changes were made
	owner   *owner
	words   string
	seed    []byte
}

// Open opens the wallet in a folder and makes one where there is none.
func Open(ctx context.Context, config Config) (*Wallet, error) {
	if config.Dir == "" || config.Mint == nil {
		return nil, errors.New("open wallet: the folder and the way to mints are needed")
	}
	if config.Wait == 0 {
		config.Wait = 30 * time.Second
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if err := os.MkdirAll(filepath.Join(config.Dir, ownersFolder), 0o700); err != nil {
		return nil, fmt.Errorf("open wallet: %w", err)
	}
	w := &Wallet{config: config}
	if err := w.open(ctx); err != nil {
		w.Close()
		return nil, fmt.Errorf("open wallet in %s: %w", config.Dir, err)
	}
	return w, nil
}

func (w *Wallet) open(ctx context.Context) error {
	// The first to come makes the file; the others wait for it to be whole.
	unlock, err := lockFile(ctx, filepath.Join(w.config.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	given := strings.Join(strings.Fields(strings.ToLower(w.config.Words)), " ")
	if given != "" {
		if _, err := words.Entropy(given); err != nil {
			return err
		}
	}
	path := filepath.Join(w.config.Dir, fileName)
	if w.commits, err = os.OpenFile(filepath.Join(w.config.Dir, commitsName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(w.commits.Truncate(0), w.newFile(ctx, path, given)); err != nil {
			return err
		}
	}
	noted, err := w.commitsNoted() // before the file is read: meanwhile others go on
	if err != nil {
		return err
	}
	if w.db, err = w.openDB(path); err != nil {
		return err
	}
	w.file = local{w.db}
	if _, err := w.file.Exec(`PRAGMA wal_autocheckpoint = 300`); err != nil {
		return err
	}
	if err := w.readFile(ctx, given, noted); err != nil {
		return err
	}
	id, err := w.newID()
	if err != nil {
		return err
	}
	w.owner, err = newOwner(w.config.Dir, id)
	return err
}

// openDB opens a file of SQLite's.
func (w *Wallet) openDB(path string) (*sql.DB, error) {
	// FULL: a commit is on the disk before anything is sent. A process may leave
	// the log behind, see Leave; the next one reads all of it, so it stays short.
	db, err := sql.Open("sqlite3", "file:"+escaped(path)+
		"?_busy_timeout=60000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_secure_delete=on&_stmt_cache_size=64")
	if err == nil {
		db.SetMaxOpenConns(1) // a second one would read the schema again, and wait for the first
	}
	return db, err
}

// readFile reads the words, and whether the file is what was written.
func (w *Wallet) readFile(ctx context.Context, given string, noted int64) error {
	meta, err := w.readMeta(ctx)
	if err != nil {
		return err
	}
	if format, ok := meta["format"]; ok && format != schemaFormat {
		return fmt.Errorf("the file has format %s, this program knows %s", format, schemaFormat)
	}
	if err := checkMeta(meta, noted); err != nil {
		return err
	}
	w.words = meta["words"]
	if given != "" && given != w.words {
		return errors.New("there is a wallet with other recovery words here; restore into an empty folder")
	}
	if w.seed, err = hex.DecodeString(meta["seed"]); err != nil {
		return err
	}
	if err := w.checkAddresses(ctx); err != nil {
		return err
	}
	return w.checkDaily(ctx, meta["checked"])
}

// readMeta is empty for a file without tables.
func (w *Wallet) readMeta(ctx context.Context) (map[string]string, error) {
	meta := make(map[string]string)
	rows, err := w.file.QueryContext(ctx, `SELECT name, value FROM meta`)
	if err != nil {
		var tables int
		if failed := w.file.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&tables); failed != nil || tables != 0 {
			return nil, errors.Join(err, failed)
		}
		return meta, nil
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		meta[name] = value
	}
	return meta, rows.Err()
}

// makeFile makes the tables. The seed is kept beside the words that it follows
// from: deriving it takes longer than all else that a start does.
func (w *Wallet) makeFile(tx local, given string) error {
	if given == "" {
		entropy := make([]byte, 16)
		if _, err := io.ReadFull(w.config.Random, entropy); err != nil {
			return err
		}
		var err error
		if given, err = words.From(entropy); err != nil {
			return err
		}
	}
	seed, err := words.Seed(given)
	if err != nil {
		return err
	}
	w.words, w.seed = given, seed
	if _, err := tx.Exec(schema); err != nil {
		return err
	}
	meta := map[string]string{"format": schemaFormat, "words": w.words, "seed": hex.EncodeToString(w.seed)}
	_, err = tx.Exec(`INSERT INTO meta (name, value) VALUES ('format', ?), ('words', ?), ('seed', ?), ('seal', ?), ('commits', '0'), ('checked', ?)`,
		meta["format"], meta["words"], meta["seed"], sealOfMeta(meta), w.today())
	return err
}

// Words are the wallet's twelve recovery words. Whoever has them has the coins.
func (w *Wallet) Words() string { return w.words }

// Leave is Close for a process that ends at once. The file is left as a crash
// would leave it, whole: the last to close it would copy the log into it, wait
// for the disk twice more, and delete what the next process has to make again.
func (w *Wallet) Leave() error { return errors.Join(w.owner.close(), w.commits.Close()) }

// Close leaves the wallet. Payments in flight are found by the next start.
func (w *Wallet) Close() error {
	var errs []error
	if w.db != nil {
		errs = append(errs, w.db.Close())
	}
	if w.commits != nil {
		errs = append(errs, w.commits.Close())
	}
	if w.owner != nil {
		errs = append(errs, w.owner.close())
	}
	return errors.Join(errs...)
}

func (w *Wallet) newID() (string, error) {
	id, err := ulid.New(ulid.Timestamp(w.config.Now()), w.config.Random)
	if err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return id.String(), nil
}
