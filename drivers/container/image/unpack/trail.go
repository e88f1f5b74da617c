package unpack

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// step is a folder on the way from the root to where the last entry was made. Each is open, so that the next entry, which
// most often is a neighbour, costs no walk, and no entry's name is ever looked up in more than one folder.
type step struct {
	name  string
	root  *os.Root
	file  *os.File  // the same folder, for calls that os.Root lacks; nil until it is needed
	mtime time.Time // as it is to be when the last entry is in it
}

// linksMax is how many symbolic links one path may go through, as in the kernel.
const linksMax = 40

// walk goes to a folder, making what is missing on the way. A symbolic link on the way is followed as long as it stays in
// the layer.
func (m *maker) walk(parts []string) error {
	for links := 0; ; {
		same := 0
		for same < len(parts) && same+1 < len(m.trail) && m.trail[same+1].name == parts[same] {
			same++
		}
		if err := m.leave(same + 1); err != nil {
			return err
		}
		target, err := m.down(parts[same:])
		if err != nil || target == nil {
			return err
		}
		if links++; links > linksMax {
			return bad.Errorf("its path goes through more than %d symbolic links", linksMax)
		}
		parts = target
	}
}

// down goes down from the trail's end. If there is a symbolic link on the way it stops, and says where the whole path
// truly leads.
func (m *maker) down(parts []string) ([]string, error) {
	for i, part := range parts {
		if m.steps++; m.steps > stepsMax {
			return nil, bad.Errorf("the paths of the layer lead through more than %d folders", stepsMax)
		}
		if strings.HasPrefix(part, whiteoutPrefix) {
			return nil, bad.Errorf("a whiteout is no folder")
		}
		here := m.here()
		info, err := here.root.Lstat(part)
		switch {
		case err == nil && info.Mode()&fs.ModeSymlink != 0:
			target, err := here.root.Readlink(part)
			if err != nil {
				return nil, err
			}
			return m.through(target, parts[i+1:])
		case err == nil && isWhiteout(info), os.IsNotExist(err):
			if err := m.implicitly(part, err == nil); err != nil {
				return nil, err
			}
			if info, err = here.root.Lstat(part); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case !info.IsDir():
			return nil, bad.Errorf("%s is no folder", short(path.Join(m.path(), part)))
		}
		below, err := here.root.OpenRoot(part)
		if err != nil {
			return nil, err
		}
		m.enter(part, below)
		m.here().mtime = info.ModTime()
	}
	return nil, nil
}

// through is the path that a link at the trail's end and the rest of a path make.
func (m *maker) through(target string, rest []string) ([]string, error) {
	if path.IsAbs(target) {
		return nil, bad.Errorf("its path goes through the link %s to %s, which leads out of the layer", short(m.path()), short(target))
	}
	way := m.parts()
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part == ".." && len(way) == 0:
			return nil, bad.Errorf("its path goes through a link to %s, which leads out of the layer", short(target))
		case part == "..":
			way = way[:len(way)-1]
		default:
			way = append(way, part)
		}
	}
	if way = append(way, rest...); len(way) > depthMax {
		return nil, bad.Errorf("it is nested more than %d deep", depthMax)
	}
	return way, nil
}

// implicitly makes a folder that no entry speaks of, or none before those in it.
func (m *maker) implicitly(name string, hidden bool) error {
	if err := m.charge(blockSize); err != nil {
		return err
	}
	here := m.here()
	if hidden {
		if err := here.root.Remove(name); err != nil {
			return err
		}
	} else {
		at := path.Join(m.path(), name)
		if m.names += len(at); m.names > namesMax {
			return bad.Errorf("the layer has too many folders that no entry describes")
		}
		m.implicit[at] = true
	}
	if err := here.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	if err := here.root.Chmod(name, 0o755); err != nil { // whatever the umask
		return err
	}
	if err := here.root.Chtimes(name, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		return err
	}
	if hidden {
		return m.hideBelow(name)
	}
	return nil
}

// stepsMax bounds the work that names alone can ask for. In a layer that was made from a file tree each folder is a step.
const stepsMax = 16 << 20

// namesMax bounds what is remembered of a layer while it is unpacked.
const namesMax = 16 << 20

func (m *maker) here() *step { return m.trail[len(m.trail)-1] }

// parts are the names on the way to the present folder.
func (m *maker) parts() []string {
	var parts []string
	for _, s := range m.trail[1:] {
		parts = append(parts, s.name)
	}
	return parts
}

func (m *maker) path() string { return path.Join(m.parts()...) }

func (m *maker) enter(name string, root *os.Root) {
	m.trail = append(m.trail, &step{name: name, root: root, mtime: time.Unix(0, 0)})
}

// leave closes the trail down to its first keep steps, and sets the times of what it leaves: making entries has changed them.
func (m *maker) leave(keep int) error {
	var first error
	for len(m.trail) > keep {
		last := m.here()
		m.trail = m.trail[:len(m.trail)-1]
		err := last.root.Chtimes(".", last.mtime, last.mtime)
		if last.file != nil {
			last.file.Close()
		}
		last.root.Close()
		if first == nil {
			first = err
		}
	}
	return first
}
