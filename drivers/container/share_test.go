package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coinop/coinop/drivers/container"
)

// sharedFolder is one as people leave it: of others too, readable or not, beside folders that are not this task's business.
func sharedFolder(t *testing.T, uid, gid uint32) (share, dir string) {
	t.Helper()
	share, err := os.MkdirTemp("/var/lib", "coinop-shared-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(share); err != nil {
			t.Error(err)
		}
	})
	const somebody = 12345
	dir = filepath.Join(share, "project")
	secret, public := filepath.Join(dir, "secret"), filepath.Join(dir, "public")
	if err := errors.Join(os.Chmod(share, 0o755), os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777), os.Mkdir(filepath.Join(share, "other"), 0o755),
		os.WriteFile(secret, []byte("secret\n"), 0o600), os.WriteFile(public, []byte("public\n"), 0o644),
		os.Chown(secret, somebody, somebody), os.Chown(public, somebody, somebody), os.Chown(dir, int(uid), int(gid))); err != nil {
		t.Fatal(err)
	}
	return share, dir
}

// Who owns what is made in a shared folder, by a container whose user names the machine does not know: its one user is the
// task's, the others are nobody's. Root there is nobody's root, and the folder is all that it sees of the share.
func TestWhoseFilesAContainerMakesInASharedFolder(t *testing.T) {
	for _, runtime := range []string{"crun", "runc"} {
		t.Run(runtime, func(t *testing.T) {
			h := newHarness(t, container.Config{Runtime: runtime})
			share, dir := sharedFolder(t, h.UID, h.GID)
			task := newTask(t, h, "shares", `id -u; echo x >mine; echo x >hers; chown 33:44 hers; ls ..; cat public
cat secret 2>/dev/null && echo LOOT; chmod 666 secret 2>/dev/null && echo LOOT; chown 0 secret 2>/dev/null && echo LOOT
mknod node b 8 0 2>/dev/null && echo LOOT; umount "$PWD" 2>/dev/null && echo LOOT; mount -o remount,dev,suid "$PWD" 2>/dev/null && echo LOOT
grep " $PWD " /proc/mounts | grep -c nosuid,nodev; echo y >/work/other; pwd`)
			task.Share, task.Chdir = share, dir
			if got, want := said(t, h.Driver(), task), "0\nproject\npublic\n1\n"+dir+"\n"; got != want {
				t.Errorf("it said %q, want %q", got, want)
			}
			for name, want := range map[string]string{"mine": fmt.Sprintf("%d:%d", h.UID, h.GID), "hers": fmt.Sprintf("%d:%d", 0x70000000+33, 0x70000000+44), "secret": "12345:12345"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Error(err)
					continue
				}
				if s, ok := info.Sys().(*syscall.Stat_t); !ok || fmt.Sprintf("%d:%d", s.Uid, s.Gid) != want {
					t.Errorf("%s belongs to %d:%d, want %s", name, s.Uid, s.Gid, want)
				}
			}
			if info, err := os.Stat(filepath.Join(dir, "secret")); err != nil || info.Mode() != 0o600 {
				t.Errorf("the secret is %v now: %v", info.Mode(), err)
			}
			if _, err := os.Stat(filepath.Join(task.WorkDir, "other")); err != nil {
				t.Errorf("its work folder is not where it was: %v", err)
			}
		})
	}
}

// What the task was kept from is there to be had by whoever is let in: the same, with no user of its own.
func TestASharedFolderAsAnybodyElseSeesIt(t *testing.T) {
	h := newHarness(t, container.Config{})
	share, dir := sharedFolder(t, h.UID, h.GID)
	task := newTask(t, h, "owner", `cat secret; echo changed >secret`)
	task.Share, task.Chdir, task.UID, task.GID = share, dir, 12345, 12345
	if err := os.Chown(task.WorkDir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if got := said(t, h.Driver(), task); !strings.Contains(got, "secret") {
		t.Errorf("its owner read %q", got)
	}
}
