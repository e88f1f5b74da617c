package container

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
)

// listMax bounds what is read of a list of users, which is the image's and may be anything.
const listMax = 1 << 20

// lookUp finds the line of a name, or of a number, in a list of the image.
func lookUp(image Image, list, name string, fieldsMin int) (fields []string, found bool, err error) {
	file, err := open(image, list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, listMax))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) >= fieldsMin && (fields[0] == name || fields[2] == name) {
			return fields, true, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, false, fmt.Errorf("%w: read the image's %s: %w", drivers.ErrInvalid, list, err)
	}
	return nil, false, nil
}

var errWhiteout = errors.New("this layer hides what lower ones have")

// open opens a plain file of an image in the uppermost layer that has it. No link leads out of the layer.
func open(image Image, path string) (*os.File, error) {
	for i := len(image.Layers) - 1; i >= 0; i-- {
		file, err := openIn(image.Layers[i], path)
		switch {
		case errors.Is(err, errWhiteout):
			return nil, fs.ErrNotExist
		case !errors.Is(err, fs.ErrNotExist):
			return file, err
		}
	}
	return nil, fs.ErrNotExist
}

func openIn(layer, path string) (*os.File, error) {
	root, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	switch {
	case errors.Is(err, unix.ENXIO):
		return nil, errWhiteout
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFREG {
		file.Close()
		return nil, fs.ErrNotExist
	}
	return file, nil
}
