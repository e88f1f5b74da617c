package tasks

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what the kernel tells of one.
type process struct {
	parent int
	ticks  int64
	bytes  int64
}

// descendants finds all below a process.
func descendants(above int) (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all, below := map[int]process{}, map[int]process{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	for pid, p := range all {
		for parent := p.parent; parent > 1; parent = all[parent].parent {
			if parent == above {
				below[pid] = p
				break
			}
		}
	}
	return below, nil
}

// readProcess is false for one that has ended.
func readProcess(pid int) (process, bool) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	rest := string(data)
	if i := strings.LastIndex(rest, ") "); i >= 0 { // what stands before is the program's name, which may hold anything
		rest = rest[i+2:]
	}
	f := strings.Fields(rest)
	if len(f) < 22 {
		return process{}, false
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n } // the kernel writes numbers
	return process{int(number(1)), number(11) + number(12) + number(13) + number(14), number(21) * int64(os.Getpagesize())}, true
}
