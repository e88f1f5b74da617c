package tasks

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
)

// CanShare says whether this machine lets a folder be looked for that no link may lead out of: Linux does since 5.6, and what is
// around us may forbid it.
func CanShare() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// checkShare looks at names alone: what they mean is looked at where they are used, by the shim.
func checkShare(t drivers.Task) error {
	switch {
	case t.Share == "" && t.Chdir == "":
		return nil
	case t.Share == "" || t.Chdir == "":
		return errors.New("a shared folder and where in it to start go together")
	case t.StartDir != "":
		return fmt.Errorf("it is to start in %q and in %q", t.StartDir, t.Chdir)
	case !CanShare():
		return errors.New("this machine's kernel knows no way into a shared folder that no link leads out of (openat2)")
	}
	for _, dir := range []string{t.Share, t.Chdir} {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
			return fmt.Errorf("folder %q must be absolute, in its short form, and not all there is", dir)
		}
	}
	if t.Chdir != t.Share && !strings.HasPrefix(t.Chdir, t.Share+"/") {
		return fmt.Errorf("folder %q is not in %q", t.Chdir, t.Share)
	}
	return nil
}
