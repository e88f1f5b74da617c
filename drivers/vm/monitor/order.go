// Package monitor is the process that stands beside one virtual machine: it starts QEMU, believes nothing that comes out of the
// machine, and ends as the task in it ended. It runs as the task's user.
package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/drivers"
)

// Order is what a monitor is told, by a file in its box.
type Order struct {
	QEMU      string
	Accel     string
	Firmware  string // another than QEMU's own
	CPUs      int
	Memory    int64 // of the machine, in MiB
	Format    string
	Partition int    // of the disk, that is the root; 0: all of it
	Kind      string // of its file system
	Network   bool

	Host      string
	TaskBytes int64 // of memory, of all that the task runs
	DiskBytes int64
	PidsMax   int64
	FilesMax  int64
	ShmBytes  int64
	ReadOnly  bool
	UID, GID  uint32   // inside
	WorkDir   string   // inside
	NoticeDir string   // outside; "": the task is told nothing
	Argv, Env [][]byte // which may be no text; without arguments it holds the place
	GoesOn    *Written // it has begun elsewhere, and goes on from the state in the box; nil: it begins
}

// Files of a box. Beside them lie the kernel, the first file system and the image, under these names.
const (
	orderFile     = "order.json"
	endFile       = "end.json"
	stateFile     = "state"
	suspendedFile = "suspended"
	Socket        = "control"
	Kernel        = "kernel"
	Initrd        = "initrd"
	Base          = "base"
	Disk          = "disk"    // a folder, for it is measured
	overlayFile   = "changes" // in it
	endMax        = 64 << 10
)

// Overlay is where a box has what its machine changed.
func Overlay(box string) string { return filepath.Join(box, Disk, overlayFile) }

// WriteOrder puts an order into a box.
func WriteOrder(box string, o Order, uid, gid int) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	path := filepath.Join(box, orderFile)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}

// ReadOrder reads it.
func ReadOrder(box string) (o Order, err error) {
	data, err := os.ReadFile(filepath.Join(box, orderFile))
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(data, &o)
}

// End is how a task ended, as far as its process's end cannot tell.
type End struct {
	Exit            drivers.Exit
	MemoryPeakBytes int64
	PidsPeak        int64
}

func writeEnd(box string, e End) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(box, endFile), data, 0o600)
}

// ReadEnd reads what a monitor wrote, which is its task's user's word and no more. nil: nothing.
func ReadEnd(box string) *End {
	file, err := os.OpenFile(filepath.Join(box, endFile), os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	var e End
	if json.NewDecoder(io.LimitReader(file, endMax)).Decode(&e) != nil {
		return nil
	}
	switch e.Exit.Cause {
	case "", drivers.CauseExited, drivers.CauseSignalled, drivers.CauseOOM, drivers.CauseStartFailed:
		return &e
	}
	return nil
}

// Suspended says whether a box's machine is on disk.
func Suspended(box string) bool {
	_, err := os.Lstat(filepath.Join(box, suspendedFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// Codes of a failure to start, by whose fault it is. Callers tell these from a command's own.
const (
	ofMachine = 125
	ofImage   = 126
)

// failure is an end before the task's command began, due to no command of its own.
type failure struct {
	code    int
	message string
}

func (f *failure) Error() string { return f.message }

func fail(format string, args ...any) error { return &failure{ofMachine, fmt.Sprintf(format, args...)} }
