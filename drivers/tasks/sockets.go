package tasks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers/shim"
)

// sockets lists the sockets that a task's processes hold.
func (t *task) sockets(r shim.Record) (map[uint64]bool, error) {
	pids := t.driver.cgroups.processes(t.id)
	if len(pids) == 0 {
		below, err := descendants(int(r.ShimPid))
		if err != nil {
			return nil, err
		}
		for pid := range below {
			pids = append(pids, pid)
		}
	}
	held := map[uint64]bool{}
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, entry := range entries {
			name, err := os.Readlink(filepath.Join(dir, entry.Name()))
			if err != nil {
				continue // closed meanwhile
			}
			if number, ok := strings.CutPrefix(name, "socket:["); ok {
				if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
					held[inode] = true
				}
			}
		}
	}
	return held, nil
}

// listening is TCP_LISTEN as the kernel writes it.
const listening = "0A"

// listeners lists the sockets that may answer on a port of this machine's loopback.
func listeners(port uint16) (inodes []uint64, err error) {
	suffix := fmt.Sprintf(":%04X", port)
	for _, name := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(filepath.Join("/proc/self/net", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without it
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listening {
				continue
			}
			address, ok := strings.CutSuffix(f[1], suffix)
			if inode, err := strconv.ParseUint(f[9], 10, 64); ok && onLoopback(address) && err == nil {
				inodes = append(inodes, inode)
			}
		}
	}
	return inodes, nil
}

// onLoopback says whether 127.0.0.1 or ::1 may lead to an address: the kernel writes it as words of the machine's own order.
func onLoopback(address string) bool {
	v4, _ := strings.CutPrefix(address, "0000000000000000FFFF0000") // version 4 within 6
	switch v4 {
	case "00000000", "0100007F", "7F000001",
		"00000000000000000000000000000000", "00000000000000000000000001000000", "00000000000000000000000000000001":
		return true
	}
	return false
}
