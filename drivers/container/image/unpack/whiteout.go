package unpack

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// The marks of deletion in a layer's tar, as the OCI's image specification has them.
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
)

// isWhiteout recognises overlayfs's mark. No layer can smuggle one in: devices are not made.
func isWhiteout(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0
}

// whiteout hides what lower layers have under a name. It never hides what its own layer has there, before it or after it.
func (m *maker) whiteout(mark string) error {
	here := m.here()
	if mark == opaqueMark {
		if len(m.trail) == 1 {
			m.opaque = true
			return nil
		}
		return m.hideBelow(".")
	}
	name := mark[len(whiteoutPrefix):]
	if name == "" || name == "." || name == ".." {
		return bad.Errorf("a whiteout of nothing")
	}
	info, err := here.root.Lstat(name)
	switch {
	case err == nil && info.IsDir():
		return m.hideBelow(name)
	case err == nil:
		return nil
	case !os.IsNotExist(err):
		return err
	}
	if err := m.charge(blockSize); err != nil {
		return err
	}
	folder, err := m.folderFile()
	if err != nil {
		return err
	}
	if err := unix.Mknodat(int(folder.Fd()), name, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("make a whiteout: %w", err)
	}
	return nil
}

// hideBelow makes a folder of the present one hide what lower layers have in it.
func (m *maker) hideBelow(name string) error {
	folder, err := m.here().root.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	mark := "trusted.overlay.opaque"
	if !m.root {
		mark = "user.overlay.opaque"
	}
	if err := unix.Fsetxattr(int(folder.Fd()), mark, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark a folder as opaque: %w", err)
	}
	return nil
}

// folderFile is the present folder, for calls that os.Root lacks. They get single names, never paths.
func (m *maker) folderFile() (*os.File, error) {
	here := m.here()
	if here.file == nil {
		file, err := here.root.Open(".")
		if err != nil {
			return nil, err
		}
		here.file = file
	}
	return here.file, nil
}
