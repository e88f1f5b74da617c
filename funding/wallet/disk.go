package wallet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/coinop/coinop/funding/words"
)

const (
	fileName    = "wallet.db"
	commitsName = "commits"
)

// ErrDamaged says that the file holds what was never written, or has lost what was.
var ErrDamaged = errors.New("the wallet's file is damaged")

// seal is a sum over what a row never changes. SQLite notices a page that makes no sense, and not another number in a row.
func seal(parts ...any) int64 {
	var sum uint32
	between, short := make([]byte, 0, 32), make([]byte, 0, 96)
	for _, part := range parts {
		text, ok := part.([]byte)
		if !ok {
			text = fmt.Append(short, part)
		}
		between = append(strconv.AppendInt(between, int64(len(text)), 10), ' ')
		sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, between), crc32.IEEETable, text)
		between = append(between[:0], ' ')
	}
	return int64(crc32.Update(sum, crc32.IEEETable, between))
}

// broken names what does not have its seal.
func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s is not what was stored", ErrDamaged, fmt.Sprintf(format, args...))
}

// Advice says what to do about an error of the wallet in a folder; it is empty for any other error.
func Advice(err error, dir string) string {
	var (
		lite sqlite3.Error
		path *fs.PathError
	)
	isLite := errors.As(err, &lite)
	if !isLite && !errors.Is(err, ErrDamaged) && (!errors.As(err, &path) || !strings.HasPrefix(path.Path, dir)) {
		return ""
	}
	file := filepath.Join(dir, fileName)
	switch {
	case damaged(err):
		return fmt.Sprintf("%s is damaged. Move %s away, but delete nothing; then `coinop wallet restore @WORDS` brings the coins back. "+
			"If the twelve words are not at hand: `coinop wallet words` reads them from a damaged file too, where they are still whole", file, dir)
	case isLite && lite.Code == sqlite3.ErrFull, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("the disk of %s is full: make room and repeat the command. Nothing is sent before it is stored, and what was sent before is completed then", file)
	case isLite && (lite.Code == sqlite3.ErrReadonly || lite.Code == sqlite3.ErrCantOpen || lite.Code == sqlite3.ErrPerm),
		errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%s cannot be written: make its folder writable, or name another with COINOP_HOME. Nothing was sent", file)
	case isLite && lite.Code == sqlite3.ErrIoErr, errors.Is(err, syscall.EIO):
		return fmt.Sprintf("the disk of %s fails: copy %s to another disk and set COINOP_HOME. Nothing is sent before it is stored, and what was sent before is completed then", file, dir)
	}
	return ""
}

func damaged(err error) bool {
	var lite sqlite3.Error
	return errors.Is(err, ErrDamaged) || errors.As(err, &lite) && (lite.Code == sqlite3.ErrCorrupt || lite.Code == sqlite3.ErrNotADB ||
		lite.ExtendedCode == sqlite3.ErrIoErrShortRead || // the file ends too early
		lite.Code == sqlite3.ErrError) // the tables are not as they were made: our statements fit them
}

// ReadWords reads the recovery words from a wallet that cannot be opened any more.
func ReadWords(dir string) (string, error) {
	path := filepath.Join(dir, fileName)
	db, err := sql.Open("sqlite3", "file:"+escaped(path)+"?mode=ro&immutable=1") // as the file is, without its log
	if err != nil {
		return "", fmt.Errorf("read the words in %s: %w", path, err)
	}
	defer db.Close()
	var said string
	if err := db.QueryRow(`SELECT value FROM meta WHERE name = 'words'`).Scan(&said); err != nil {
		return "", fmt.Errorf("read the words in %s: %w", path, err)
	}
	if _, err := words.Entropy(said); err != nil {
		return "", fmt.Errorf("read the words in %s: %w", path, broken("one of them"))
	}
	return said, nil
}

// escaped makes a path fit for a file: URI.
func escaped(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

// The number of changes is kept in the file, with each change, and after it in a file beside it. The newest changes lie in
// SQLite's log, of which it takes what is whole and no more; that something was lost is seen by the number beside it.
// That one is not flushed: it may be behind, and is never ahead of what the disk had taken.
const commitsForm = "%020d %08x\n"

func (w *Wallet) noteCommits(n int64) error {
	text := strconv.FormatInt(n, 10)
	_, err := w.commits.WriteAt(fmt.Appendf(nil, commitsForm, n, crc32.ChecksumIEEE([]byte(text))), 0)
	return err
}

// commitsNoted is zero where nothing, or nothing whole, was noted.
func (w *Wallet) commitsNoted() (int64, error) {
	b, err := os.ReadFile(w.commits.Name())
	if err != nil {
		return 0, err
	}
	var n int64
	var sum uint32
	if _, err := fmt.Sscanf(string(b), commitsForm, &n, &sum); err != nil || sum != crc32.ChecksumIEEE([]byte(strconv.FormatInt(n, 10))) {
		return 0, nil //nolint:nilerr // what cannot be read says nothing
	}
	return n, nil
}

// checkMeta holds what was read of a wallet against its seal, and its changes against those that were noted.
func checkMeta(meta map[string]string, noted int64) error {
	if len(meta) == 0 {
		return fmt.Errorf("%w: nothing is in it", ErrDamaged)
	}
	if meta["seal"] != sealOfMeta(meta) {
		return broken("the seed")
	}
	have, err := strconv.ParseInt(meta["commits"], 10, 64)
	if err != nil {
		return broken("the number of changes")
	}
	if have < noted {
		return fmt.Errorf("%w: its newest changes are lost, %d of %d", ErrDamaged, noted-have, noted)
	}
	return nil
}

func sealOfMeta(meta map[string]string) string {
	return strconv.FormatInt(seal(meta["format"], meta["words"], meta["seed"]), 10)
}

// counted runs a change and counts it, if it changes anything. It returns the new number, zero if nothing has changed.
func counted(tx local, change func(tx local) error) (n int64, err error) {
	var before int64
	if err := tx.QueryRow(`SELECT total_changes()`).Scan(&before); err != nil {
		return 0, err
	}
	if err := change(tx); err != nil {
		return 0, err
	}
	return countOne(tx, before)
}

// countOne counts a change where there were more on this connection than before.
func countOne(tx local, before int64) (n int64, err error) {
	// RETURNING would make a table for its one row, with twenty pages of memory to begin with.
	result, err := tx.Exec(`UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'commits' AND total_changes() > ?`, before)
	if err != nil {
		return 0, err
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return 0, err
	}
	err = tx.QueryRow(`SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'commits'`).Scan(&n)
	return n, err
}

// void makes sure that a change whose flush has failed does not come back: it lies in the log, whole, and only this
// machine's memory of the log says that it was not taken. Another change, of nothing, takes its place there.
func void(tx local) {
	if _, err := tx.Exec(`BEGIN IMMEDIATE`); err != nil {
		return // nothing can be written at all
	}
	if _, err := countOne(tx, -1); err == nil {
		if _, err = tx.Exec(`COMMIT`); err == nil {
			return
		}
	}
	_, _ = tx.Exec(`ROLLBACK`) // the first failure is the one that is told
}

// newFile makes the wallet's file beside its place and moves it there when it is whole: one that is empty was not made so.
func (w *Wallet) newFile(ctx context.Context, path, words string) error {
	if _, err := os.Lstat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is gone, and its log is there", errors.Join(ErrDamaged, err), path)
	}
	part := path + ".new"
	for _, left := range []string{part, part + "-wal", part + "-shm"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return err
	}
	db, err := w.openDB(part)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		err = errors.Join(within(local{conn}, func(tx local) error { return w.makeFile(tx, words) }), conn.Close())
	}
	if err := errors.Join(err, db.Close()); err != nil { // closing brings the log into the file
		return err
	}
	return os.Rename(part, path)
}

// checkCoins holds every coin against its seal: what is shown must be there.
func (w *Wallet) checkCoins(ctx context.Context) error {
	rows, err := w.file.QueryContext(ctx, `SELECT secret, keyset, amount, c, e, s, r, seal FROM coins`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var secret, keyset string
		var amount, sealed int64
		var c, e, s, r []byte
		if err := rows.Scan(&secret, &keyset, &amount, &c, &e, &s, &r, &sealed); err != nil {
			return err
		}
		if sealed != seal(secret, keyset, amount, c, e, s, r) {
			return broken("a coin of %d", amount)
		}
	}
	return rows.Err()
}

// checkAddresses holds the mints' addresses against their seals: coins go there.
func (w *Wallet) checkAddresses(ctx context.Context) error {
	rows, err := w.file.QueryContext(ctx, `SELECT url, 0, seal FROM mints UNION ALL SELECT url, mint, seal FROM addresses`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var url string
		var mint, sealed int64
		if err := rows.Scan(&url, &mint, &sealed); err != nil {
			return err
		}
		if sealed != seal(url) && (mint == 0 || sealed != seal(url, mint)) {
			return broken("the address %s", url)
		}
	}
	return rows.Err()
}

// checkDaily has SQLite go over all pages, with the day's first command: that takes a millisecond for each 100 kB.
func (w *Wallet) checkDaily(ctx context.Context, checked string) error {
	today := w.today()
	if checked == today {
		return nil
	}
	var said string
	if err := w.file.QueryRow(`PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, said)
	}
	var strays int
	if err := w.file.QueryRow(`SELECT count(*) FROM pragma_foreign_key_check`).Scan(&strays); err != nil {
		return err
	}
	if strays > 0 {
		return broken("what belongs to %d rows", strays)
	}
	return w.transact(ctx, func(tx local) error {
		_, err := tx.Exec(`UPDATE meta SET value = ? WHERE name = 'checked'`, today)
		return err
	})
}

func (w *Wallet) today() string { return w.config.Now().UTC().Format(time.DateOnly) }
