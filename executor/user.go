package executor

import (
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// user is whom a task runs as.
type user struct {
	uid, gid uint32 // both 0: as this executor
	name     string
	why      string // for people: why it is not the one that was asked for
}

// fallbackUser is on every machine. It may own processes of other services, so its use is told among the node's facts.
const fallbackUser = "nobody"

// users remembers who was found.
type users struct {
	mu    sync.Mutex
	found map[string]user
	until map[string]time.Time // how long to make do with a fallback before looking again
}

const fallbackFor = time.Minute

// find says whom a task runs as: the user asked for, else the default. Without root there is no choice.
func (u *users) find(asked, otherwise string) (user, error) {
	if os.Geteuid() != 0 {
		self := user{name: strconv.Itoa(os.Geteuid())}
		if current, err := osuser.Current(); err == nil {
			self.name = current.Username
		}
		return self, nil
	}
	if asked == "" {
		asked = otherwise
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.found == nil {
		u.found, u.until = map[string]user{}, map[string]time.Time{}
	}
	if known, ok := u.found[asked]; ok && (known.why == "" || time.Now().Before(u.until[asked])) {
		return known, nil
	}
	found, err := lookUp(asked)
	if err != nil {
		why := fmt.Sprintf("there is no user %s, so tasks run as %s (%v)", asked, fallbackUser, err)
		if found, err = lookUp(fallbackUser); err != nil {
			return user{}, fmt.Errorf("find a user to run tasks as: neither %s nor %s is there: %w", asked, fallbackUser, err)
		}
		found.why = why
		u.until[asked] = time.Now().Add(fallbackFor) // the right one may be made any time
	}
	u.found[asked] = found
	return found, nil
}

func lookUp(name string) (user, error) {
	entry, err := osuser.Lookup(name)
	if err != nil {
		return user{}, err
	}
	uid, err := strconv.ParseUint(entry.Uid, 10, 32)
	if err != nil {
		return user{}, err
	}
	gid, err := strconv.ParseUint(entry.Gid, 10, 32)
	if err != nil {
		return user{}, err
	}
	if uid == 0 || gid == 0 {
		return user{}, fmt.Errorf("%s is root", name)
	}
	return user{uid: uint32(uid), gid: uint32(gid), name: name}, nil
}

// reach refuses a folder which tasks could not enter: each of them would fail with a riddle.
func (u *users) reach(path, otherwise string) error {
	who, err := u.find("", otherwise)
	if err != nil || who.uid == 0 {
		return err
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("check that tasks can enter %s: %w", path, err)
		}
		if !mayEnter(info, who) {
			return fmt.Errorf("user %s, whom tasks run as, cannot enter %s: choose another folder, or allow it with chmod o+x %s",
				who.name, at, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func mayEnter(info fs.FileInfo, who user) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && owner.Uid == who.uid:
		return info.Mode()&0o100 != 0
	case ok && owner.Gid == who.gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}
