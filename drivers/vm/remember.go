package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// found is what was found out and made for one kernel, QEMU and program, in one life of the machine. A driver that comes back has to
// be quick: tasks wait for it, and whoever started it does not wait long.
type found struct{ Key, Version, Accel, Firmware, Note, Moves string }

func (d *Driver) foundFile() string { return filepath.Join(d.config.Dir, "found.json") }

// key names all that an answer depends on.
func (d *Driver) key() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it nothing is ever different
	key := string(boot)
	for _, path := range []string{d.config.Kernel, d.qemu, d.config.Program[0], d.Shim(), "/dev/kvm"} {
		if info, err := os.Stat(path); err == nil {
			key += fmt.Sprintf("%s %d %v %v\n", path, info.Size(), info.Mode(), info.ModTime().UnixNano())
		}
	}
	return key
}

func (d *Driver) recall(key string) bool {
	var f found
	data, err := os.ReadFile(d.foundFile())
	if err != nil || json.Unmarshal(data, &f) != nil || f.Key != key {
		return false
	}
	d.version, d.accel, d.firmware, d.note, d.moves = f.Version, f.Accel, f.Firmware, f.Note, f.Moves
	return true
}

func (d *Driver) remember(key string) error {
	data, err := json.Marshal(found{key, d.version, d.accel, d.firmware, d.note, d.moves})
	if err != nil {
		return err
	}
	return replace(d.foundFile(), 0o600, func(to *os.File) error {
		_, err := to.Write(data)
		return err
	})
}
