package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes gives an open file or folder its owner, mode and extended attributes, in the order in which none takes
// another back: a change of owner clears setuid and capabilities.
func (m *maker) attributes(file *os.File, h *tar.Header, folder bool) error {
	if m.root {
		if err := file.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	mode := h.FileInfo().Mode()
	if folder && !m.root {
		mode |= 0o700 // or we could neither fill nor remove it
	}
	if err := file.Chmod(mode); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && m.keeps(name) {
			if err := m.attribute(file, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// keeps says which extended attributes are the image's business. Those of overlayfs are ours: one in a layer could lead to
// other folders. What else is trusted or of a security module belongs to the machine.
func (m *maker) keeps(name string) bool {
	if name == "security.capability" {
		return m.root
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func (m *maker) attribute(file *os.File, name, value string) error {
	if err := m.charge(int64(len(name) + len(value))); err != nil {
		return err
	}
	err := unix.Fsetxattr(int(file.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) && strings.HasPrefix(name, "user.") {
		return nil // a file system without them; programs can do without
	}
	if err != nil {
		return fmt.Errorf("set the attribute %s: %w", short(name), err)
	}
	return nil
}

// nameAttributes gives owner and times to what is not opened: a symbolic link, a FIFO.
func (m *maker) nameAttributes(name string, h *tar.Header) error {
	if m.root {
		if err := m.here().root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	folder, err := m.folderFile()
	if err != nil {
		return err
	}
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(int(folder.Fd()), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}
