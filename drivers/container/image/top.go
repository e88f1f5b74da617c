package image

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/unpack"
)

// describe writes what is known of an image, and the folder above its layers if it needs one.
func (s *Store) describe(ctx context.Context, dir string, r *record, layers []unpack.Layer, grow func(int64) error) error {
	st := &stack{}
	defer st.close()
	for _, l := range layers {
		if err := st.add(s.path(layerKey(l.DiffID), "fs"), l.Implicit); err != nil {
			return err
		}
	}
	made, err := st.top(ctx, filepath.Join(dir, "top"))
	if err != nil {
		return err
	}
	r.Top = made > 0
	r.Bytes = int64(made+1) * 4096
	for _, text := range slices.Concat(r.Run.Env, r.Run.Cmd, r.Run.Entrypoint) {
		r.Bytes += int64(len(text))
	}
	for name, value := range r.Run.Labels {
		r.Bytes += int64(len(name) + len(value))
	}
	if err := grow(r.Bytes); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "image.json"), r)
}

// stack is an image's layers one above the other. A layer may name a folder only in the paths of others, `tmp/x` without
// `tmp`; then the folder's owner and mode are those that a lower layer gave it. Overlayfs shows those of the highest
// layer that has the folder, which nobody gave it, and a layer is unpacked without knowing what will lie below it. So such
// folders get one more layer, of their own image: only folders, each with what it should have.
type stack struct {
	layers   []*os.Root
	implicit []map[string]bool
}

func (st *stack) add(dir string, implicit []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, at := range implicit {
		known[at] = true
	}
	st.layers, st.implicit = append(st.layers, root), append(st.implicit, known)
	return nil
}

func (st *stack) close() {
	for _, l := range st.layers {
		l.Close()
	}
}

// top makes the folder above the layers, unless all is well without it, and says how many folders are in it.
func (st *stack) top(ctx context.Context, dir string) (int, error) {
	give := map[string]fs.FileInfo{}
	for _, known := range st.implicit {
		for at := range known {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			shown, meant := st.find(at)
			if meant != nil && shown != nil && !alike(shown, meant) {
				give[at] = meant
			}
		}
	}
	if len(give) == 0 {
		return 0, nil
	}
	for at := range maps.Clone(give) { // they need the folders that they lie in
		for above := path.Dir(at); above != "."; above = path.Dir(above) {
			if give[above] == nil {
				give[above], _ = st.find(above)
			}
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	names := slices.Sorted(maps.Keys(give))
	for _, at := range names {
		if err := os.Mkdir(filepath.Join(dir, at), 0o700); err != nil {
			return 0, err
		}
	}
	for _, at := range slices.Backward(names) {
		if err := dress(filepath.Join(dir, at), give[at]); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

// find tells how overlayfs shows a folder, and how it is meant: as the highest layer has it that has an entry for it.
// nil: there is no such folder.
func (st *stack) find(at string) (shown, meant fs.FileInfo) {
	for i := len(st.layers) - 1; i >= 0; i-- {
		info, last := st.look(i, at)
		if info != nil {
			if shown == nil {
				shown = info
			}
			if !st.implicit[i][at] {
				return shown, info
			}
		}
		if last {
			break
		}
	}
	return shown, nil
}

// look looks a folder up in one layer, and says whether it hides what lower ones have there.
func (st *stack) look(i int, at string) (found fs.FileInfo, last bool) {
	parts := strings.Split(at, "/")
	for n := range parts {
		name := path.Join(parts[:n+1]...)
		info, err := st.layers[i].Lstat(name)
		if err != nil {
			return nil, last
		}
		if !info.IsDir() { // a whiteout, a file, a link
			return nil, true
		}
		last = last || st.opaque(i, name)
		found = info
	}
	return found, last
}

func (st *stack) opaque(i int, name string) bool {
	dir, err := st.layers[i].Open(name)
	if err != nil {
		return false
	}
	defer dir.Close()
	var one [1]byte
	for _, mark := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Fgetxattr(int(dir.Fd()), mark, one[:]); err == nil && n == 1 && one[0] == 'y' {
			return true
		}
	}
	return false
}

func owner(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return 0, 0
}

func alike(a, b fs.FileInfo) bool {
	aUID, aGID := owner(a)
	bUID, bGID := owner(b)
	return a.Mode() == b.Mode() && aUID == bUID && aGID == bGID
}

func dress(dir string, like fs.FileInfo) error {
	uid, gid := owner(like)
	return errors.Join(os.Lchown(dir, uid, gid), os.Chmod(dir, like.Mode()), os.Chtimes(dir, like.ModTime(), like.ModTime()))
}
