package tasks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers"
)

// idForm is what validID checks. It is not compiled: that would be done in every process, the client's too.
const idForm = `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return id != "" && len(id) <= 64
}

// Limits says which limits tasks can have here. exposed is why tasks of one user can reach each other; "": they cannot.
func (d *Set) Limits(exposed string) []drivers.LimitSupport {
	var all []drivers.LimitSupport
	for _, limit := range drivers.Limits() {
		supported, why := d.support(limit)
		if limit == drivers.LimitUser && supported {
			why = exposed
		}
		all = append(all, drivers.LimitSupport{Limit: limit, Supported: supported, Reason: why})
	}
	return all
}

func (d *Set) support(limit drivers.Limit) (supported bool, why string) {
	switch limit {
	case drivers.LimitDisk:
		return true, "by looking once a second: until then a task may write more"
	case drivers.LimitFiles:
		return true, ""
	case drivers.LimitUser:
		if os.Geteuid() != 0 {
			return false, "needs root"
		}
		return true, ""
	case drivers.LimitLease:
		if !d.cgroups.freezes() {
			return true, "without a cgroup by SIGSTOP, which another process of the same user could undo"
		}
		return true, ""
	}
	if !d.cgroups.supports(limit) {
		return false, d.cgroups.why
	}
	return true, ""
}

// missing says which limits the task asks for and does not get.
func (d *Set) missing(t drivers.Task) (bits uint32) {
	asked := map[drivers.Limit]bool{
		drivers.LimitCPU: t.CPUMilli > 0, drivers.LimitMemory: t.MemoryBytes > 0, drivers.LimitDisk: t.DiskBytes > 0,
		drivers.LimitPids: t.PidsMax > 0,
	}
	for i, limit := range drivers.Limits() {
		if supported, _ := d.support(limit); asked[limit] && !supported {
			bits |= 1 << i
		}
	}
	return bits
}

func (d *Set) check(t drivers.Task) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("start task %q: %w: %s", t.ID, drivers.ErrInvalid, fmt.Sprintf(format, args...))
	}
	if !validID(t.ID) {
		return refuse("the id must match %s", idForm)
	}
	if !filepath.IsAbs(t.Dir) || !filepath.IsAbs(t.WorkDir) {
		return refuse("folders %q and %q must be absolute", t.Dir, t.WorkDir)
	}
	if t.From != "" && !d.config.Moves {
		return fmt.Errorf("start task %q: %w: it goes on nowhere but where it was suspended", t.ID, drivers.ErrUnsupported)
	}
	if t.From != "" && !filepath.IsAbs(t.From) {
		return refuse("file %q must be absolute", t.From)
	}
	if t.NoticeDir != "" && !filepath.IsAbs(t.NoticeDir) {
		return refuse("folder %q must be absolute", t.NoticeDir)
	}
	if t.StartDir != "" && !filepath.IsAbs(t.StartDir) {
		return refuse("folder %q must be absolute", t.StartDir)
	}
	if err := checkShare(t); err != nil {
		return refuse("%v", err)
	}
	if t.Hold && len(t.Argv)+len(t.Entrypoint) > 0 {
		return refuse("it is to hold its place and to run %q", append(t.Entrypoint, t.Argv...))
	}
	for _, text := range slices.Concat([]string{t.WorkDir, t.StartDir, t.Share, t.Chdir}, t.Argv, t.Env, t.Entrypoint) {
		if strings.IndexByte(text, 0) >= 0 {
			return refuse("a zero byte cannot be passed to a process")
		}
	}
	for _, n := range []int64{t.CPUMilli, t.MemoryBytes, t.DiskBytes, t.PidsMax, t.FilesMax, t.LogHeadBytes, t.LogTailBytes,
		t.LeaseUntil, t.LeaseGraceMillis, t.KillDelayMillis, t.ShmBytes} {
		if n < 0 || n > 1<<62 {
			return refuse("limit %d is out of range", n)
		}
	}
	if t.CPUMilli > 1<<40 {
		return refuse("%d thousandths of a CPU are out of range", t.CPUMilli)
	}
	if err := d.config.Kind.Check(t); err != nil {
		return refuse("%v", err)
	}
	switch root := os.Geteuid() == 0; {
	case !root && (t.UID != 0 || t.GID != 0) && (int(t.UID) != os.Geteuid() || int(t.GID) != os.Getegid()):
		return refuse("running as user %d needs root", t.UID)
	case root && (t.UID == 0 || t.GID == 0) && !t.AllowRoot:
		return refuse("it would run as root, and AllowRoot is not set")
	}
	return nil
}
