package book

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
)

var (
	// errDamaged means that the file holds what was never written.
	errDamaged = errors.New("the file is damaged")
	errNoFile  = errors.New("the book has no file just now")
)

// damaged says whether an error is the file's, and will not go away. What the disk does not give back counts as damage too:
// a new file lies elsewhere on it.
func damaged(err error) bool {
	var lite sqlite3.Error
	if errors.Is(err, errDamaged) {
		return true
	}
	return errors.As(err, &lite) && (lite.Code == sqlite3.ErrCorrupt || lite.Code == sqlite3.ErrNotADB ||
		lite.ExtendedCode == sqlite3.ErrIoErrRead || lite.ExtendedCode == sqlite3.ErrIoErrShortRead)
}

// spoilt says that what was read is not what was written, unless reading itself failed.
func spoilt(ctx context.Context, err error) error {
	var lite sqlite3.Error
	if ctx.Err() != nil || errors.As(err, &lite) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// tables says that the tables are not those that were made, if a statement that always fits does not fit them.
func tables(err error) error {
	var lite sqlite3.Error
	if errors.As(err, &lite) && lite.Code == sqlite3.ErrError {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// suspect takes in an error of the file, from whoever met it. If it is damage, questions go elsewhere from now on, and Run
// makes the book anew.
func (b *Book) suspect(err error) {
	if !damaged(err) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.damage == nil {
		b.damage = err
		b.rouse()
	}
}

// found says how the book is damaged, and has rouse called when it is found to be.
func (b *Book) found(rouse func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rouse = rouse
	return b.damage
}

// renew sets a damaged file aside and begins a new one, which is then filled as any book that is behind.
func (b *Book) renew(why error) error {
	b.files.Lock()
	defer b.files.Unlock()
	if err := b.closeFiles(); err != nil {
		b.cfg.Log.Warn("close the damaged book", "file", b.cfg.Path, "error", err)
	}
	aside, err := b.setAside()
	if err != nil {
		return fmt.Errorf("the book %s is damaged (%w) and cannot be set aside: %w", b.cfg.Path, why, err)
	}
	if aside != "" {
		b.cfg.Log.Error("the book is damaged: it was set aside and is made anew", "file", b.cfg.Path, "aside", aside, "error", why)
	}
	if err := b.openFiles(); err != nil {
		return errors.Join(fmt.Errorf("begin a new book %s: %w", b.cfg.Path, err), b.closeFiles())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.damage, b.missing = nil, true // until it has what is at hand
	return nil
}

const (
	asideMark = ".damaged-"
	// asideMax bounds how many damaged files are kept. A disk that has spoilt more than that must be replaced, not filled.
	asideMax = 3
)

// setAside gives a damaged file another name; none if there is no file.
func (b *Book) setAside() (string, error) {
	if _, err := os.Lstat(b.cfg.Path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if n := len(b.asides()); n >= asideMax {
		return "", fmt.Errorf("%d damaged books lie beside it: replace the disk, or delete them", n)
	}
	aside := b.cfg.Path + asideMark + time.Now().UTC().Format("20060102T150405.000Z")
	for _, part := range []string{"-wal", "-shm", ""} { // the file last: until then it is found damaged again
		if err := os.Rename(b.cfg.Path+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// asides lists the damaged files that were set aside, the oldest first.
func (b *Book) asides() []string {
	list, _ := filepath.Glob(globEscaped(b.cfg.Path) + asideMark + "*Z") // the pattern is well formed
	return list
}

// globEscaped takes the meaning from what would have one in a pattern.
func globEscaped(path string) string {
	var out []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}

// setTrouble keeps why the file cannot be written. That events are not to be had is no trouble of the file's.
func (b *Book) setTrouble(err error) {
	var lite sqlite3.Error
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = ""
	if b.damage != nil || errors.As(err, &lite) {
		b.trouble = err.Error()
	}
}

// Alarm is what an operator should look at; empty when all is well. A file that was set aside is one until it is deleted.
func (b *Book) Alarm() string {
	b.mu.Lock()
	trouble, missing, hole := b.trouble, b.missing, b.hole
	b.mu.Unlock()
	if trouble != "" {
		return fmt.Sprintf("the book %s cannot be written: %s", b.cfg.Path, trouble)
	}
	asides := b.asides()
	if len(asides) == 0 {
		return ""
	}
	now := "it was made again whole"
	switch {
	case missing:
		now = "it is being made again"
	case hole:
		now = "it was made again but for what nobody has any more (the log says which events)"
	}
	return fmt.Sprintf("the book %s was damaged; %s; delete %s when you have looked at it", b.cfg.Path, now, asides[len(asides)-1])
}
