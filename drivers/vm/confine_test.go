//go:build e2e

package vm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/drivers/vm"
)

func newTask(t *testing.T, h drivertest.Harness, id, script string) drivers.Task {
	t.Helper()
	folder, err := h.Folder()
	if err != nil {
		t.Fatal(err)
	}
	task := drivers.Task{
		ID: id, Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
		Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, MemoryBytes: 256 << 20,
	}
	if err := errors.Join(os.Mkdir(task.WorkDir, 0o755), os.Chown(task.WorkDir, int(h.UID), int(h.GID))); err != nil {
		t.Fatal(err)
	}
	return task
}

// run runs a task to its end; what it said and left is there until it is removed.
func run(t *testing.T, d drivers.Driver, task drivers.Task) (drivers.Status, string) {
	t.Helper()
	if _, err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	statuses, err := d.Watch(t.Context(), task.ID)
	if err != nil {
		t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	var said strings.Builder
	for _, name := range []string{"stdout", "stderr"} {
		chunk, err := logs.Read(filepath.Join(task.Dir, name), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(chunk.Data)
	}
	return last, said.String()
}

// attempts print LOOT or treasure if they get out of a machine. In it they may do what they like: they are its root.
const attempts = `
mkdir -p /sys /mnt; dmesg | grep -q Linux && echo inside
for i in /dev/sd* /dev/nvme* /dev/vdb; do [ -e "$i" ] && echo "LOOT $i"; done
mknod /tmp/disk b 254 16 && head -c 1 /tmp/disk 2>/dev/null | grep -q . && echo LOOT disk
ls "$VICTIM" 2>/dev/null && echo LOOT folder
mount -t 9p host /mnt 2>/dev/null && echo LOOT share; mount -t virtiofs host /mnt 2>/dev/null && echo LOOT share
for a in 127.0.0.1 10.0.2.2 $ADDRESS; do nc -w 2 $a $PORT </dev/null; done
ip link 2>/dev/null | grep -v LOOPBACK | grep -q 'state UP' && echo LOOT network
[ "$(id -u)" = 0 ] && echo root
`

// Root of a machine finds nothing of what it runs on: no disk, folder, address or neighbour.
func TestNothingGetsOutOfAMachine(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	port := containertest.Treasury(t)
	task := newTask(t, h, "attacker", attempts)
	task.Env = append(task.Env, "PORT="+port, "VICTIM="+filepath.Dir(task.WorkDir), "ADDRESS="+containertest.Address(t))
	st, said := run(t, h.Driver(), task)
	if strings.Contains(said, "LOOT") || strings.Contains(said, "treasure") || !strings.Contains(said, "inside") || !strings.Contains(said, "root") {
		t.Errorf("it ended as %+v and said %q", st, said)
	}
	// The same call is heard where the network is granted: so it is one.
	heard := newTask(t, h, "granted", `nc -w 5 10.0.2.2 $PORT </dev/null`)
	heard.Env, heard.Network = append(heard.Env, "PORT="+port), true
	if _, said := run(t, h.Driver(), heard); !strings.Contains(said, "treasure") {
		t.Errorf("with the network it hears %q", said)
	}
}

// What is hostile in a machine ends that machine, or is left inside.
func TestAHostileMachine(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	d := h.Driver()
	outside := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(outside, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, script string
		check        func(task drivers.Task, st drivers.Status, said string) error
	}{
		// The first process is the only one that has the port; it is killed by nothing, so the machine is taken from under it.
		{"it is switched off", "echo o >/proc/sysrq-trigger; sleep 100", func(_ drivers.Task, st drivers.Status, _ string) error {
			if st.Exit.Code == 0 || !strings.Contains(st.Exit.Message, "switched off") {
				return fmt.Errorf("ended as %+v", st)
			}
			return nil
		}},
		{"its kernel gives up", "echo c >/proc/sysrq-trigger; sleep 100", func(_ drivers.Task, st drivers.Status, said string) error {
			if st.Exit.Code == 0 || !strings.Contains(said, "panic") {
				return fmt.Errorf("ended as %+v, and said %q", st, said)
			}
			return nil
		}},
		{"links lead out of its outputs", "ln -s " + outside + " out; ln -s " + filepath.Dir(outside) + " dir; ln -s ../../.. up; echo good >good; mkfifo pipe; mknod dev c 1 3; chmod 4777 good",
			func(task drivers.Task, st drivers.Status, _ string) error {
				if got, err := os.ReadFile(outside); err != nil || string(got) != "ours" {
					return fmt.Errorf("outside is %q, %w", got, err)
				}
				info, err := os.Lstat(filepath.Join(task.WorkDir, "good"))
				if err != nil || st.Exit.Code != 0 || info.Mode() != 0o777 {
					return fmt.Errorf("ended as %+v with %v: %w", st, info, err)
				}
				for _, name := range []string{"pipe", "dev"} {
					if _, err := os.Lstat(filepath.Join(task.WorkDir, name)); !os.IsNotExist(err) {
						return fmt.Errorf("%s came out: %w", name, err)
					}
				}
				return nil
			}},
		{"a fork bomb", "b() { b | b & }; b; sleep 2; exit 4", func(_ drivers.Task, st drivers.Status, _ string) error {
			if st.State != drivers.StateExited {
				return fmt.Errorf("ended as %+v", st)
			}
			return nil
		}},
	} {
		task := newTask(t, h, "hostile", c.script)
		task.PidsMax = 64
		st, said := run(t, d, task)
		if err := c.check(task, st, said); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := d.Remove(t.Context(), task.ID); err != nil {
			t.Error(err)
		}
		if left, err := h.Leaks(); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %q, %v", c.name, left, err)
		}
	}
}
