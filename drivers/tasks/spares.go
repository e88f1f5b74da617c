package tasks

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// sparesMax bounds the files that wait for a task; each takes a few blocks of the disk.
const sparesMax = 256

// spares are status files of tasks that were removed, kept for the next ones: a file system that just removed a file may have
// to search long for one to make. Nobody has them open, and a kill leaves none that counts: they are not kept from one process
// of the driver to the next.
type spares struct {
	dir string

	mu   sync.Mutex
	made int // files that were ever put here; the next one's name
	kept []string
}

func (s *spares) open() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("clear spare files: %w", err)
	}
	return os.Mkdir(s.dir, 0o700)
}

// take returns the path of a file for the caller alone, "" if there is none.
func (s *spares) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return ""
	}
	last := s.kept[len(s.kept)-1]
	s.kept = s.kept[:len(s.kept)-1]
	return last
}

// place says where a file is to be put, "" if there are enough; keep is called when it is there.
func (s *spares) place() (path string, keep func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= sparesMax {
		return "", func() {}
	}
	s.made++
	path = filepath.Join(s.dir, strconv.Itoa(s.made))
	return path, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept = append(s.kept, path)
	}
}
