package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// mark is a file that tells an entry which the log, or a snapshot, once held: with less a server must not start.
type mark struct {
	file string
	at   uint64
}

func readMark(file string) (mark, error) {
	m := mark{file: file}
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	var text string
	if err == nil {
		err = unseal(b, &text)
	}
	if err == nil {
		m.at, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		return m, fmt.Errorf("read %s, which tells how far the log went: %w; if nothing else is damaged, remove it", file, err)
	}
	return m, nil
}

// put writes in place, a line as long as the last one and shorter than a sector.
func (m *mark) put(at uint64) error {
	if at == m.at {
		return nil
	}
	line, err := seal(fmt.Sprintf("%020d", at))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note how far the log goes: %w", err)
	}
	_, err = f.WriteAt(line, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && m.at == 0 {
		err = syncFolder(filepath.Dir(m.file))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note how far the log goes in %s: %w", m.file, err)
	}
	m.at = at
	return nil
}
