package cli

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
)

// site is where a copy out of a task is unpacked: a folder beside its place, which is gone in the end. What comes is a
// stranger's, so nothing is touched but by way of a root.
type site struct {
	parent *os.Root // of its place
	name   string   // of its place there; ".": it is the parent itself
	stage  string
	root   *os.Root // the stage
	links  []string
	late   []*tar.Header   // folders: their modes and times are set when nothing is put into them any more
	before map[string]bool // folders that were there before, which keep theirs
}

// openSite finds the place: in a folder that is there, under its own name, else as it is called.
func openSite(name, to string) (*site, error) {
	s := &site{name: name, before: map[string]bool{}, stage: ".coinop-cp-" + ulid.Make().String()}
	parent := to
	if info, err := os.Stat(to); err != nil || !info.IsDir() {
		if strings.HasSuffix(to, "/") {
			return nil, fmt.Errorf("there is no folder %s", to)
		}
		parent, s.name = filepath.Split(to)
	} else if name == "/" || name == ".." {
		s.name = "."
	}
	var err error
	if s.parent, err = os.OpenRoot(cmp.Or(parent, ".")); err != nil {
		return nil, err
	}
	if err = s.parent.Mkdir(s.stage, 0o700); err == nil {
		s.root, err = s.parent.OpenRoot(s.stage)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close leaves nothing but what was put into its place.
func (s *site) close() {
	if s.root != nil {
		s.root.Close()
	}
	_ = s.parent.RemoveAll(s.stage) // it may hold folders that their owner cannot write to: made so last
	s.parent.Close()
}

// unpack takes all that comes.
func (s *site) unpack(from io.Reader, count *counter) (got copied, err error) {
	in := tar.NewReader(from)
	single := false
	for first := true; ; first = false {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return got, err
		}
		if first {
			single = h.Typeflag != tar.TypeDir
		}
		name := path.Join(packedName, h.Name)
		if single {
			name = packedName
		}
		why, err := s.take(name, h, io.TeeReader(in, count))
		if err != nil {
			return got, fmt.Errorf("%s: %w", plain(h.Name), err)
		}
		switch {
		case why != "":
			got.LeftOut = append(got.LeftOut, h.Name+": "+why)
		case h.Typeflag != tar.TypeDir:
			got.Files++
		}
	}
	if _, err := io.Copy(io.Discard, from); err != nil { // what tar fills its last block with; and the command's end
		return got, err
	}
	return got, s.finish(&got)
}

// take makes one entry; why not, if it is left out.
func (s *site) take(name string, h *tar.Header, from io.Reader) (why string, err error) {
	if !filepath.IsLocal(path.Join(".", h.Name)) || strings.HasPrefix(h.Name, "/") {
		return "it leads out of the folder", nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := s.root.MkdirAll(parent, 0o700); err != nil {
			return "", err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		s.late = append(s.late, &tar.Header{Name: name, Mode: h.Mode, ModTime: h.ModTime})
		return "", s.root.MkdirAll(name, 0o700)
	case tar.TypeReg, tar.TypeGNUSparse:
		return "", s.takeFile(name, h, from)
	case tar.TypeLink:
		return "", s.root.Link(path.Join(packedName, h.Linkname), name)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(path.Join(".", h.Name)), h.Linkname)) {
			return "a link that leads out, to " + h.Linkname, nil
		}
		s.links = append(s.links, name)
		return "", s.root.Symlink(h.Linkname, name)
	}
	return "neither a file nor a folder", nil
}

func (s *site) takeFile(name string, h *tar.Header, from io.Reader) error {
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return s.settle(name, h)
}

func (s *site) settle(name string, h *tar.Header) error {
	return errors.Join(s.root.Chmod(name, fs.FileMode(h.Mode).Perm()), s.root.Chtimes(name, h.ModTime, h.ModTime))
}

// finish looks again at links, which may lead out by way of each other, and settles folders, the inner ones first.
func (s *site) finish(got *copied) error {
	if _, err := s.root.Lstat(packedName); err != nil {
		return errors.New("nothing came")
	}
	inner, err := s.root.OpenRoot(packedName)
	if err == nil { // a folder, out of which nothing may lead
		defer inner.Close()
		for _, name := range s.links {
			rest := strings.TrimPrefix(name, packedName+"/")
			if _, err := inner.Stat(rest); err == nil || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := inner.Remove(rest); err != nil {
				return err
			}
			got.LeftOut, got.Files = append(got.LeftOut, rest+": a link that leads out"), got.Files-1
		}
	}
	slices.Reverse(s.late)
	return nil
}

// place puts the copy under its final name; what is there is replaced, but a folder takes up what is in the new one.
func (s *site) place() error {
	if err := s.put(path.Join(s.stage, packedName), s.name); err != nil {
		return err
	}
	for _, h := range s.late { // at last: who cannot write to a folder cannot move it either
		name := path.Join(s.name, strings.TrimPrefix(strings.TrimPrefix(h.Name, packedName), "/"))
		if s.before[name] {
			continue
		}
		err := errors.Join(s.parent.Chmod(name, fs.FileMode(h.Mode).Perm()), s.parent.Chtimes(name, h.ModTime, h.ModTime))
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *site) put(from, to string) error {
	source, err := s.parent.Lstat(from)
	if err != nil {
		return err
	}
	target, err := s.parent.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !target.IsDir() && !source.IsDir():
		return s.parent.Rename(from, to)
	case err != nil:
		return err
	case !source.IsDir() || !target.IsDir():
		return fmt.Errorf("%s is there, and a file and a folder cannot take each other's place", path.Join(s.parent.Name(), to))
	}
	s.before[to] = true
	folder, err := s.parent.Open(from)
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(-1)
	if err = errors.Join(err, folder.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.put(path.Join(from, name), path.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}
