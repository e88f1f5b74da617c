package inproc

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// awayFor is how long a killed server is away: the others have chosen another leader.
const awayFor = 2 * time.Second

// crash ends a server as SIGKILL does: nothing that it says is heard from here on, and its folder is kept as it is at
// this moment. What runs on is a ghost, until it is buried.
func (s *Server) crash() {
	s.cluster.Isolate(s.Name)
	s.lives++
	s.kept = filepath.Join(s.cluster.dir, fmt.Sprintf("%s-%d", s.Name, s.lives))
	if err := keep(s.Config.Dir, s.kept); err != nil {
		s.cluster.T.Errorf("keep the folder of %s: %v", s.Name, err)
	}
}

// bury ends the ghost. What it says of its end is of no interest.
func (s *Server) bury() {
	s.cancel()
	<-s.done //nolint:errcheck // see above
	s.cancel = nil
	if err := os.RemoveAll(s.Config.Dir); err != nil {
		s.cluster.T.Error(err)
	}
	s.Config.Dir = s.kept
}

const (
	quietFor = 10 * time.Millisecond // longer than a file system's grain of time
	keepMost = 500                   // attempts
)

// keep copies a folder as it is at one moment: nothing in it has changed while it was copied. The cluster's time stands
// still meanwhile, so that writers soon come to an end.
func keep(from, to string) error {
	for range keepMost {
		before := stamps(from)
		grain := unix.NsecToTimespec(int64(quietFor))
		if err := unix.Nanosleep(&grain, nil); err != nil { // of the real clock
			continue
		}
		if !slices.Equal(before, stamps(from)) {
			continue
		}
		if err := copyAll(from, to); err == nil && slices.Equal(before, stamps(from)) {
			return nil
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s never stands still", from)
}

// stamps tell whether a folder has changed. SQLite's shared memory is written without a trace, and made anew by whoever
// opens the file first.
func stamps(dir string) (list []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what has just gone is no stamp
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			list = append(list, fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()))
		}
		return nil
	})
	return list
}

func copyAll(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, info.Mode().Perm())
	})
}
