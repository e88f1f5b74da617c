package vm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// disks are file systems made of images, kept for the next machine of the same image.
type disks struct {
	dir   string
	limit int64
	turn  chan struct{} // holds a token while one is being made
}

func newDisks(dir string, limit int64) disks { return disks{dir, limit, make(chan struct{}, 1)} }

// roomBytes is what a machine finds free on its disk: as much as its task's limit lets it use, and no more is ever taken.
const roomBytes = 64 << 30

// make returns the disk of an image that is held, by its layers, the lowest first; they are named by what is in them.
func (d *disks) make(ctx context.Context, layers []string) (path string, size int64, err error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return "", 0, context.Cause(ctx)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return "", 0, err
	}
	path = filepath.Join(d.dir, fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(layers, "\n")))))
	if info, err := os.Stat(path); err == nil {
		now := time.Now()
		return path, info.Size(), os.Chtimes(path, now, now) // of what is not used any more the oldest goes first
	}
	made := path + ".new"
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", 0, err
	}
	used, err := measure(layers)
	if err != nil {
		return "", 0, err
	}
	size = (used+roomBytes+1<<20)&^(1<<20-1) + 1<<20
	if err := makeDisk(ctx, layers, made, size); err != nil {
		return "", 0, errors.Join(err, os.Remove(made))
	}
	if err := errors.Join(os.Chmod(made, 0o444), os.Rename(made, path)); err != nil {
		return "", 0, err
	}
	return path, size, d.clear(path)
}

// measure says how much layers take.
func measure(layers []string) (used int64, err error) {
	for _, layer := range layers {
		err = errors.Join(err, filepath.WalkDir(layer, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil {
				used += info.Size() + 8192
			}
			return err
		}))
	}
	return used, err
}

// makeDisk makes a file system of what layers are above each other. Where there are several, they are mounted so in a view that
// ends with the program. There is no journal: a machine that ended without notice is never started again.
func makeDisk(ctx context.Context, layers []string, file string, size int64) error {
	mkfs := []string{"mkfs.ext4", "-q", "-F", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "-m", "0", "-i", "65536", "-L", "coinop"}
	sizeArg := fmt.Sprintf("%dk", size>>10)
	cmd := exec.CommandContext(ctx, mkfs[0], append(mkfs[1:], "-d", layers[0], file, sizeArg)...)
	if len(layers) > 1 {
		at, err := os.MkdirTemp(filepath.Dir(file), "layers-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(at)
		var names []string
		for i := len(layers) - 1; i >= 0; i-- { // the uppermost first
			name := fmt.Sprint(i)
			if err := os.Symlink(layers[i], filepath.Join(at, name)); err != nil {
				return err
			}
			names = append(names, name)
		}
		script := `mkdir all && mount -t overlay -o ro,lowerdir="$1" overlay all && shift && exec "$@"`
		cmd = exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", strings.Join(names, ":")}, append(mkfs, "-d", "all", file, sizeArg)...)...)
		cmd.Dir = at
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", mkfs[0], err, strings.TrimSpace(string(said)))
	}
	return nil
}

// clear removes disks until all together take no more than they may. Machines keep theirs, as files without a name here.
func (d *disks) clear(but string) error {
	if d.limit == 0 {
		return nil
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	type disk struct {
		path  string
		at    time.Time
		bytes int64
	}
	var all []disk
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			all = append(all, disk{filepath.Join(d.dir, e.Name()), info.ModTime(), s.Blocks * 512})
			total += s.Blocks * 512
		}
	}
	slices.SortFunc(all, func(a, b disk) int { return a.at.Compare(b.at) })
	for _, one := range all {
		if total <= d.limit || one.path == but {
			continue
		}
		if err := os.Remove(one.path); err != nil {
			return err
		}
		total -= one.bytes
	}
	return nil
}

// emptyOverlay is a qcow2 file in which nothing has been written: a header, counts of its own clusters, and an empty table.
func emptyOverlay(size int64) []byte {
	const (
		cluster   = 64 << 10
		perTable  = cluster / 8 * cluster // bytes of the disk that an entry of the first table stands for
		clusters  = 3                     // header, counts' table, counts; then the first table
		tableFrom = clusters * cluster
	)
	entries := (size + perTable - 1) / perTable
	tables := (entries*8 + cluster - 1) / cluster
	file := make([]byte, tableFrom+tables*cluster)
	be := binary.BigEndian
	copy(file, "QFI\xfb")
	be.PutUint32(file[4:], 3)
	be.PutUint32(file[20:], 16) // clusters of 2^16 bytes
	be.PutUint64(file[24:], uint64(size))
	be.PutUint32(file[36:], uint32(entries))
	be.PutUint64(file[40:], tableFrom)
	be.PutUint64(file[48:], cluster)
	be.PutUint32(file[56:], 1)
	be.PutUint32(file[96:], 4)    // counts of 2^4 bits
	be.PutUint32(file[100:], 104) // of this header
	be.PutUint64(file[cluster:], 2*cluster)
	for i := range clusters + tables {
		be.PutUint16(file[2*cluster+2*i:], 1)
	}
	return file
}
