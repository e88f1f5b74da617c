package unpack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// maker makes the entries of one layer, in their order.
type maker struct {
	ctx    context.Context
	top    *os.Root
	trail  []*step // from the layer's root to the folder of the last entry
	limits Limits
	grow   func(int64) error
	root   bool // we are root, so owners and capabilities can be kept

	used     int64
	names    int // bytes of implicit
	steps    int
	implicit map[string]bool
	opaque   bool
	buffer   []byte
}

// blockSize is what most file systems count in. An entry costs one for its inode and name, which are not free either.
const blockSize = 4096

func (m *maker) charge(bytes int64) error {
	if bytes < 0 || bytes > m.limits.Bytes-m.used {
		return bad.Errorf("with it the layer is larger than the %d MiB that the store may hold", m.limits.Bytes>>20)
	}
	m.used += bytes
	return m.grow(bytes)
}

// entry makes what a header says, in the folder that its name leads to.
func (m *maker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // a comment on the whole
		return nil
	}
	parts, err := clean(h.Name)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return m.rootEntry(h)
	}
	for _, part := range parts {
		if strings.HasPrefix(part, whiteoutPrefix+whiteoutPrefix) && part != opaqueMark { // of AUFS, which nobody else reads
			return nil
		}
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= 1<<32-1 || int64(h.Gid) >= 1<<32-1 {
		return bad.Errorf("its owner %d:%d is none", h.Uid, h.Gid)
	}
	name := parts[len(parts)-1]
	if err := m.walk(parts[:len(parts)-1]); err != nil {
		return err
	}
	if strings.HasPrefix(name, whiteoutPrefix) {
		return m.whiteout(name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return m.folder(name, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return m.file(name, h, content)
	case tar.TypeLink:
		return m.link(name, h.Linkname)
	case tar.TypeSymlink:
		return m.symlink(name, h)
	case tar.TypeFifo:
		return m.fifo(name, h)
	case tar.TypeChar, tar.TypeBlock:
		return nil // the runtime makes the devices that a task may have
	}
	return bad.Errorf("it is of the unknown type %q", h.Typeflag)
}

// rootEntry is about the layer's root itself.
func (m *maker) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return bad.Errorf("it has no name")
	}
	if err := m.leave(1); err != nil {
		return err
	}
	m.here().mtime = h.ModTime
	file, err := m.folderFile()
	if err != nil {
		return err
	}
	return m.attributes(file, h, true)
}

// place makes something under a name, in place of what an earlier entry or whiteout of the same layer has made. make is
// to fail where something is.
func (m *maker) place(name string, make func(*os.Root) error) error {
	if err := m.charge(blockSize); err != nil {
		return err
	}
	here := m.here()
	err := make(here.root)
	if !os.IsExist(err) {
		return err
	}
	if info, err := here.root.Lstat(name); err == nil && info.IsDir() {
		delete(m.implicit, path.Join(m.path(), name))
	}
	if err := here.root.Remove(name); err != nil {
		return bad.Errorf("it stands in the place of a folder of the same layer that is not empty")
	}
	return make(here.root)
}

func (m *maker) folder(name string, h *tar.Header) error {
	here := m.here()
	info, err := here.root.Lstat(name)
	if err == nil && info.IsDir() {
		delete(m.implicit, path.Join(m.path(), name))
	} else if err := m.place(name, func(r *os.Root) error { return r.Mkdir(name, 0o700) }); err != nil {
		return err
	}
	if err == nil && isWhiteout(info) { // what it hid stays hidden
		if err := m.hideBelow(name); err != nil {
			return err
		}
	}
	file, err := here.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := m.attributes(file, h, true); err != nil {
		return err
	}
	return here.root.Chtimes(name, h.ModTime, h.ModTime)
}

func (m *maker) file(name string, h *tar.Header, content io.Reader) (err error) {
	if h.Size < 0 || h.Size > m.limits.Bytes {
		return bad.Errorf("its %d MiB are more than the %d MiB that the store may hold", h.Size>>20, m.limits.Bytes>>20)
	}
	if err := m.charge((h.Size + blockSize - 1) / blockSize * blockSize); err != nil {
		return err
	}
	var file *os.File
	err = m.place(name, func(r *os.Root) (err error) {
		file, err = r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if closing := file.Close(); err == nil {
			err = closing
		}
		if err == nil {
			err = m.here().root.Chtimes(name, h.ModTime, h.ModTime)
		}
	}()
	if err := m.fill(file, h, content); err != nil {
		return err
	}
	return m.attributes(file, h, false)
}

// fill writes a file. Where the archive says that there are holes, blocks of zeros are left out.
func (m *maker) fill(file *os.File, h *tar.Header, content io.Reader) error {
	sparse := h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != ""
	for at := int64(0); at < h.Size; {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		block := m.buffer[:min(int64(len(m.buffer)), h.Size-at)]
		if _, err := io.ReadFull(content, block); err != nil {
			return corrupt(err)
		}
		if !sparse || !zero(block) {
			if _, err := file.WriteAt(block, at); err != nil {
				return err
			}
		}
		at += int64(len(block))
	}
	if sparse {
		return file.Truncate(h.Size)
	}
	return nil
}

func zero(block []byte) bool {
	for _, b := range block {
		if b != 0 {
			return false
		}
	}
	return true
}

// link makes a second name for a file of the same layer: the layer is unpacked alone, whatever images it is part of.
func (m *maker) link(name, target string) error {
	parts, err := clean(target)
	if err != nil {
		return bad.Errorf("the hard link's target %s: %w", short(target), err)
	}
	if len(parts) == 0 {
		return bad.Errorf("a hard link to the layer's root")
	}
	here, last := m.path(), parts[len(parts)-1]
	back := m.parts()
	if err := m.walk(parts[:len(parts)-1]); err != nil {
		return bad.Errorf("the hard link's target %s: %w", short(target), err)
	}
	info, err := m.here().root.Lstat(last)
	from := path.Join(m.path(), last)
	if err != nil || info.IsDir() || isWhiteout(info) {
		return bad.Errorf("the hard link's target %s is no file of this layer", short(target))
	}
	if err := m.walk(back); err != nil {
		return err
	}
	if to := path.Join(here, name); from != to {
		return m.place(name, func(*os.Root) error { return m.top.Link(from, to) })
	}
	return nil
}

func (m *maker) symlink(name string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) >= unix.PathMax || strings.ContainsRune(h.Linkname, 0) {
		return bad.Errorf("a symbolic link to a name of %d bytes", len(h.Linkname))
	}
	if err := m.place(name, func(r *os.Root) error { return r.Symlink(h.Linkname, name) }); err != nil {
		return err
	}
	return m.nameAttributes(name, h)
}

func (m *maker) fifo(name string, h *tar.Header) error {
	file, err := m.folderFile()
	if err != nil {
		return err
	}
	err = m.place(name, func(*os.Root) error { return unix.Mkfifoat(int(file.Fd()), name, 0o600) })
	if err != nil {
		return fmt.Errorf("make a FIFO: %w", err)
	}
	if err := m.nameAttributes(name, h); err != nil {
		return err
	}
	return m.here().root.Chmod(name, h.FileInfo().Mode())
}
