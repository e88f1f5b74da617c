package container_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/logs"
)

// attempts print LOOT or treasure if they get out of a container, in a way that does the machine no harm.
var attempts = map[string]string{
	"a disk's device":           `mknod /tmp/disk b 254 0 && echo LOOT`,
	"memory's device":           `mknod /tmp/mem c 1 1 && echo LOOT`,
	"a mount":                   `mount -t tmpfs none /tmp && echo LOOT`,
	"cgroups":                   `mount -t cgroup2 none /tmp && echo LOOT; mkdir /sys/fs/cgroup/x && echo LOOT`,
	"kernel settings":           `n=$(cat /proc/sys/kernel/pid_max); echo $n >/proc/sys/kernel/pid_max && echo LOOT`,
	"system requests":           `: >>/proc/sysrq-trigger && echo LOOT`,
	"kernel memory":             `head -c 1 /proc/kcore | grep -q . && echo LOOT`,
	"the kernel's log":          `dmesg | grep -q . && echo LOOT`,
	"a user namespace":          `unshare -U true && echo LOOT`,
	"a view of mounts":          `unshare -m true && echo LOOT`,
	"neighbours' variables":     `cat /proc/[0-9]*/environ`,
	"neighbours' processes":     `cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -x '[v]ictims-argument' && echo LOOT`,
	"neighbours' files":         `cat "$VICTIM"/loot /proc/[0-9]*/root"$VICTIM"/loot /proc/[0-9]*/cwd/loot`,
	"neighbours' shared memory": `cat /dev/shm/*`,
	"the first process's":       `head -c 1 /proc/1/maps | grep -q . && echo LOOT; ls /proc/1/root/ /proc/1/cwd/ && echo LOOT; ls /proc/1/fd/ | grep -q . && echo LOOT`,
	"the driver's folder":       `ls "$STATE" "$STATE"/tasks && echo LOOT`,
	"the machine's accounts":    `cat /proc/[0-9]*/root/etc/shadow | grep -q . && echo LOOT`,
	"loopback services":         `nc -w 2 127.0.0.1 $PORT </dev/null; nc -w 2 ::1 $PORT </dev/null`,
	"the machine's address":     `nc -w 2 $ADDRESS $PORT </dev/null`,
	"inherited descriptors":     `for f in /proc/self/fd/*; do case ${f##*/} in 0|1|2|3) ;; *) [ -e $f ] && echo LOOT $f;; esac; done`,
}

func TestNothingGetsOutOfAContainer(t *testing.T) {
	h := newHarness(t, container.Config{})
	d := h.Driver()
	victim := newTask(t, h, "victim", `echo treasure >loot; echo treasure >/dev/shm/loot; while :; do sleep 0.1; done`)
	victim.Env = append(victim.Env, "LOOT=treasure")
	victim.Argv = append(victim.Argv, "sh", "victims-argument")
	if _, err := d.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Exec(t.Context(), "victim", drivers.ExecRequest{Argv: []string{"/bin/sh", "-c", "until [ -e /dev/shm/loot ]; do sleep 0.02; done"}}, drivers.ExecStreams{}); err != nil {
		t.Fatal(err)
	}
	port, outside := containertest.Treasury(t), containertest.Address(t)
	for name, script := range attempts {
		task := newTask(t, h, "attacker", script)
		task.Env = append(task.Env, "PORT="+port, "ADDRESS="+outside, "VICTIM="+victim.WorkDir, "STATE="+filepath.Dir(filepath.Dir(victim.WorkDir)))
		if got := said(t, d, task); strings.Contains(got, "LOOT") || strings.Contains(got, "treasure") {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	// To kill whatever can be killed reaches only its own.
	said(t, d, newTask(t, h, "attacker", `kill -9 -1`))
	if st, err := d.Start(t.Context(), victim); err != nil || st.State != drivers.StateRunning {
		t.Errorf("the victim is %+v, %v", st, err)
	}
	if err := d.Remove(t.Context(), "victim"); err != nil {
		t.Error(err)
	}
}

// With the same root and none of the rest the attempts do work: so they are attempts indeed.
func TestAttemptsToGetOutBite(t *testing.T) {
	h := newHarness(t, container.Config{})
	root := filepath.Join(filepath.Dir(must(h.Folder())), "image")
	script := `mount -t proc proc $ROOT/proc && mount -t sysfs sysfs $ROOT/sys && mount -t devtmpfs dev $ROOT/dev && exec chroot $ROOT /bin/sh -c "$ATTEMPT"`
	for _, folder := range []string{"proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	port, outside := containertest.Treasury(t), containertest.Address(t)
	var worked []string
	for name, attempt := range attempts {
		how := script
		if strings.HasPrefix(attempt, "unshare ") { // which a root of its own already keeps it from
			how = `exec /bin/sh -c "$ATTEMPT"`
		}
		cmd := exec.Command("unshare", "--mount", "/bin/sh", "-c", how)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ROOT=" + root, "ATTEMPT=" + attempt, "PORT=" + port, "ADDRESS=" + outside, "STATE=/dev", "LOOT=treasure"}
		out, _ := cmd.Output() // most of them fail in parts
		if bytes.Contains(out, []byte("LOOT")) || bytes.Contains(out, []byte("treasure")) {
			worked = append(worked, name)
		}
	}
	for _, want := range []string{"a disk's device", "memory's device", "a mount", "cgroups", "kernel settings", "a user namespace", "a view of mounts",
		"neighbours' variables", "the first process's", "the machine's accounts", "loopback services", "the machine's address"} {
		if !slices.Contains(worked, want) {
			t.Errorf("%q did not work", want)
		}
	}
}

func must(folder string, err error) string {
	if err != nil {
		panic(err)
	}
	return folder
}

func newTask(t *testing.T, h drivertest.Harness, id, script string) drivers.Task {
	t.Helper()
	folder := must(h.Folder())
	task := drivers.Task{
		ID: id, Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
		Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin", h.Mark},
	}
	if err := os.Mkdir(task.WorkDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(task.WorkDir, int(h.UID), int(h.GID)); err != nil {
		t.Fatal(err)
	}
	return task
}

// said runs a task to its end, and removes it.
func said(t *testing.T, d drivers.Driver, task drivers.Task) string {
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
	if last.Exit.Cause == drivers.CauseStartFailed {
		t.Errorf("%q never started: %+v", task.Argv[2], last.Exit)
	}
	chunk, err := logs.Read(filepath.Join(task.Dir, "stdout"), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	return string(chunk.Data)
}

// whose has the image's user changed.
type whose struct {
	container.Images
	user string
}

func (w whose) Hold(ctx context.Context, ref, task string) (container.Image, error) {
	image, err := w.Images.Hold(ctx, ref, task)
	image.User = w.user
	return image, err
}

// An image's user is whoever it says inside, and the task's outside.
func TestAnImagesUserIsTheTasksOutside(t *testing.T) {
	h := newHarness(t, container.Config{Images: whose{user: "1000:2000"}})
	task := newTask(t, h, "own", `id -u; id -g; echo x >file; echo x >/file 2>/dev/null && echo LOOT; ls -ln /bin/busybox | awk '{print $3, $4}'; grep CapEff /proc/self/status`)
	got := said(t, h.Driver(), task)
	if want := "1000\n2000\n0 0\nCapEff:\t0000000000000000\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
	info, err := os.Stat(filepath.Join(task.WorkDir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != h.UID || s.Gid != h.GID {
		t.Errorf("its file belongs to %+v", info.Sys())
	}
}

// The profile of system calls holds for the task and for commands that join it, also where the runtime was given it compiled.
func TestSystemCallsAreFiltered(t *testing.T) {
	const script = `grep Seccomp: /proc/self/status; unshare --user true && echo LOOT; unshare --mount true && echo LOOT; echo tried`
	const want = "Seccomp:\t2\ntried\n"
	for _, runtime := range []string{"crun", "runc"} {
		t.Run(runtime, func(t *testing.T) {
			h := newHarness(t, container.Config{Runtime: runtime})
			d := h.Driver()
			if got := said(t, d, newTask(t, h, "filtered", script)); got != want {
				t.Errorf("a task said %q, want %q", got, want)
			}
			if _, err := d.Start(t.Context(), newTask(t, h, "joined", "sleep 100")); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := d.Exec(t.Context(), "joined", drivers.ExecRequest{Argv: []string{"/bin/sh", "-c", script}}, drivers.ExecStreams{Stdout: &out}); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("a command said %q, want %q", &out, want)
			}
			if err := d.Remove(t.Context(), "joined"); err != nil {
				t.Error(err)
			}
			if kept := d.(*container.Driver).Filter(); (kept != "") != (runtime == "crun") {
				t.Errorf("%d characters of filter are kept", len(kept))
			}
		})
	}
}
