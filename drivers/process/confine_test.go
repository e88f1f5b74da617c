package process_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/drivers/process"
)

// yard is a machine on which tasks of one user live side by side, laid out as an executor does it.
type yard struct {
	t      *testing.T
	driver *process.Driver
	state  string // the driver's folder
	runs   string

	restart func() // of the driver
}

func newYard(t *testing.T, tweak func(*process.Driver)) *yard {
	if os.Geteuid() != 0 {
		t.Skip("without root all tasks are their agent's user")
	}
	base, err := os.MkdirTemp("/var/lib", "coinop-yard-") // not in /tmp, which a task has for itself
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{t: t, state: filepath.Join(base, "driver"), runs: filepath.Join(base, "runs")}
	for _, dir := range []string{base, y.runs} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	l := begin(t, process.Config{Dir: y.state}, tweak)
	y.driver = l.Driver
	y.restart = func() {
		l.End()
		if err := l.Begin(); err != nil {
			t.Fatal(err)
		}
		y.driver = l.Driver
	}
	if description, err := y.driver.Describe(t.Context()); err != nil || tweak == nil && unseparated(description) != "" {
		t.Skip("this machine does not let tasks be separated: ", unseparated(description), err)
	}
	return y
}

func unseparated(d drivers.Description) string {
	i := slices.IndexFunc(d.Limits, func(l drivers.LimitSupport) bool { return l.Limit == drivers.LimitUser })
	return d.Limits[i].Reason
}

func (y *yard) start(id, script string, change func(*drivers.Task)) drivers.Task {
	y.t.Helper()
	dir := filepath.Join(y.runs, id)
	work := filepath.Join(dir, "work")
	for _, path := range []string{dir, work, filepath.Join(work, "tmp")} {
		if err := os.Mkdir(path, 0o700); err != nil {
			y.t.Fatal(err)
		}
		if err := os.Chown(path, nobody, nobody); path != dir && err != nil {
			y.t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		y.t.Fatal(err)
	}
	task := drivers.Task{
		ID: id, Dir: filepath.Join(dir, "driver"), WorkDir: work, Argv: []string{"/bin/bash", "-c", script}, UID: nobody, GID: nobody,
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, CPUMilli: 1000, MemoryBytes: 128 << 20, PidsMax: 64, FilesMax: 64,
	}
	if change != nil {
		change(&task)
	}
	if _, err := y.driver.Start(y.t.Context(), task); err != nil {
		y.t.Fatal(err)
	}
	return task
}

// end waits for a task's end and returns what it wrote to standard output.
func (y *yard) end(task drivers.Task) (drivers.Status, string) {
	y.t.Helper()
	statuses, err := y.driver.Watch(y.t.Context(), task.ID)
	if err != nil {
		y.t.Fatal(err)
	}
	var last drivers.Status
	for last = range statuses {
	}
	chunk, err := logs.Read(filepath.Join(task.Dir, "stdout"), 0, 1<<20)
	if err != nil {
		y.t.Fatal(err)
	}
	return last, string(chunk.Data)
}

// said waits until a task has written a word.
func (y *yard) said(task drivers.Task, word string) {
	y.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		chunk, err := logs.Read(filepath.Join(task.Dir, "stdout"), 0, 1<<20)
		if err != nil {
			y.t.Fatal(err)
		}
		if bytes.Contains(chunk.Data, []byte(word)) {
			return
		}
		if time.Now().After(deadline) {
			y.t.Fatalf("task %s did not say %q but %q", task.ID, word, chunk.Data)
		}
	}
}

const (
	// It types on a terminal of its own, as editors and multiplexers do.
	victimScript = `umask 077; script -qec 'sleep 1000' /dev/null >/dev/null & echo treasure >loot; echo treasure >/dev/shm/$LOOT; echo treasure >/tmp/$LOOT; ipcmk -M 4096 -p 0600 >/dev/null
		exec 7<loot; echo ready; while :; do sleep 0.05; done`
	escaping = `cat "$RUNS"/victim/work/loot; umount "$RUNS"; umount -l "$RUNS"; cat "$RUNS"/victim/work/loot; umount -l /proc; cat /proc/$PID/environ`
)

// attempts print LOOT or treasure if they get at anything. PID is the victim's, SHIM that of its shim, AGENT the driver's.
var attempts = map[string]string{
	"signal the victim":        `kill -0 $PID && echo LOOT`,
	"signal its shim":          `kill -0 $SHIM && echo LOOT`,
	"signal the agent":         `kill -0 $AGENT && echo LOOT`,
	"read variables":           `cat /proc/$PID/environ /proc/[0-9]*/environ | tr '\0' '\n' | grep ^LOOT=`,
	"read the agent's":         `[ -s /proc/$AGENT/environ ] && cat /proc/$AGENT/environ && echo LOOT`,
	"read command lines":       `cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -x '[v]ictims-argument'`,
	"open files by descriptor": `cat /proc/$PID/fd/7 /proc/[0-9]*/fd/7`,
	"walk in by /proc":         `cat /proc/$PID/cwd/loot /proc/$PID/root$RUNS/victim/work/loot /proc/[0-9]*/cwd/loot`,
	"read memory":              `dd if=/proc/$PID/mem bs=1 count=1 skip=$((0x7ffd00000000)) ; head -c1 /proc/$PID/maps | grep . && echo LOOT`,
	"read its file":            `cat "$RUNS/victim/work/loot"`,
	"write into its folder":    `echo x >"$RUNS/victim/work/planted" && echo LOOT`,
	"list tasks' folders":      `ls "$RUNS"; ls "$RUNS" | grep victim && echo LOOT`,
	"shared memory, POSIX":     `cat /dev/shm/*`,
	"shared memory, System V":  `ipcs -m | grep '^0x' && echo LOOT`,
	"terminals":                `own=$(tty); for f in /dev/pts/[0-9]*; do [ $f != "$own" ] && echo x >$f && echo LOOT; done`,
	"temporary files":          `cat /tmp/coinop-yard-* /var/tmp/coinop-yard-*`,
	"the driver's folder":      `ls "$STATE"; cat "$STATE/tasks/victim" && echo LOOT`,
	"the victim's cgroups":     `for f in $(find /sys/fs/cgroup -path '*victim*' -name cgroup.procs); do echo $$ >$f && echo LOOT; done`,
	"kill by cgroup":           `for f in $(find /sys/fs/cgroup -path '*victim*' -name 'cgroup.kill'); do echo 1 >$f && echo LOOT; done`,
	"its own limits":           `for f in $(find /sys/fs/cgroup -path '*attacker*' -name '*.max' -o -path '*attacker*' -name 'memory.limit_in_bytes'); do echo 99999999999 >$f && echo LOOT; done`,
	"root's files":             `cat /etc/shadow && echo LOOT`,
	"inherited descriptors":    `for f in /proc/$$/fd/*; do case ${f##*/} in 0|1|2|255) ;; *) [ -e $f ] && echo LOOT $f;; esac; done`,
	"namespaces of its own":    `unshare -Urm /bin/sh -c "$ESCAPING"; unshare -Urmpf /bin/sh -c "$ESCAPING"`,
	"enter others' namespaces": `nsenter -t 1 -m cat "$RUNS/victim/work/loot"; nsenter -t $PID -m -p true && echo LOOT`,
}

// attack has a task, or a shell in one, try it all against another of the same user, and returns what worked.
func attack(y *yard, shell bool) (worked []string) {
	y.t.Helper()
	word := filepath.Base(filepath.Dir(y.runs))
	victim := y.start("victim", victimScript, func(task *drivers.Task) {
		task.Env = append(task.Env, "LOOT="+word)
		task.Argv = append(task.Argv, "sh", "victims-argument")
	})
	defer os.Remove("/dev/shm/" + word) // only the driver that separates nothing leaves them here
	defer os.Remove("/tmp/" + word)
	y.said(victim, "ready")
	statuses, err := y.driver.Watch(y.t.Context(), "victim")
	if err != nil {
		y.t.Fatal(err)
	}
	var status drivers.Status
	for status.State != drivers.StateRunning {
		status = <-statuses
	}
	knows := []string{fmt.Sprintf("PID=%d", status.Pid), "SHIM=" + parent(y.t, status.Pid), fmt.Sprintf("AGENT=%d", os.Getpid()),
		"RUNS=" + y.runs, "STATE=" + y.state, "ESCAPING=" + escaping}
	for name, script := range attempts {
		var got string
		if shell {
			y.start("attacker", "sleep 1000", nil)
			got = y.exec("attacker", script, knows...)
		} else {
			_, got = y.end(y.start("attacker", script, func(task *drivers.Task) { task.Env = append(task.Env, knows...) }))
		}
		if strings.Contains(got, "LOOT") || strings.Contains(got, "treasure") || strings.Contains(got, "victims-argument") {
			worked = append(worked, name)
			y.t.Logf("%s: %.200q", name, got)
		}
		y.remove("attacker")
	}
	slices.Sort(worked)
	return worked
}

// exec runs a script in a task's shell, on a terminal, and returns what it wrote.
func (y *yard) exec(id, script string, env ...string) string {
	y.t.Helper()
	var out bytes.Buffer
	_, err := y.driver.Exec(y.t.Context(), id, drivers.ExecRequest{Argv: []string{"/bin/bash", "-c", script}, Env: env, Terminal: true}, drivers.ExecStreams{Stdout: &out})
	if err != nil {
		y.t.Fatal(err)
	}
	return out.String()
}

func (y *yard) remove(id string) {
	y.t.Helper()
	if err := y.driver.Remove(y.t.Context(), id); err != nil {
		y.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(y.runs, id)); err != nil {
		y.t.Fatal(err)
	}
}

func parent(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.Fields(rest)[1]
}

func TestTasksOfOneUserAreOutOfEachOthersReach(t *testing.T) {
	y := newYard(t, nil)
	if worked := attack(y, false); len(worked) > 0 {
		t.Errorf("a task got at another by: %q", worked)
	}
	y.remove("victim")
	if worked := attack(y, true); len(worked) > 0 {
		t.Errorf("a task's shell got at another by: %q", worked)
	}
	// To kill whatever can be killed reaches only its own.
	y.end(y.start("attacker", `kill -9 -1`, nil))
	y.remove("attacker")
	if status, err := y.driver.Start(t.Context(), drivers.Task{ID: "victim", Dir: "/x", WorkDir: "/", Argv: []string{"true"}, UID: nobody, GID: nobody}); err != nil || status.State != drivers.StateRunning {
		t.Errorf("the victim is %+v, %v", status, err)
	}
	y.remove("victim")
	left, err := filepath.Glob("/dev/shm/" + filepath.Base(filepath.Dir(y.runs)))
	if err != nil || len(left) > 0 {
		t.Errorf("its shared memory is still there: %q, %v", left, err)
	}
}

// Where nothing is separated, the attempts that need no more than the same user do work: so they are attempts indeed.
func TestAttemptsBite(t *testing.T) {
	y := newYard(t, (*process.Driver).Exposed)
	worked := attack(y, false)
	for _, want := range []string{"signal the victim", "read variables", "read command lines", "open files by descriptor", "walk in by /proc", "read its file",
		"write into its folder", "shared memory, POSIX", "shared memory, System V", "temporary files", "terminals"} {
		if !slices.Contains(worked, want) {
			t.Errorf("%q did not work", want)
		}
	}
	for _, never := range []string{"signal its shim", "signal the agent", "read the agent's", "the driver's folder", "the victim's cgroups", "kill by cgroup",
		"its own limits", "root's files", "inherited descriptors"} {
		if slices.Contains(worked, never) {
			t.Errorf("%q worked", never)
		}
	}
	y.end(y.start("cleaner", `for i in $(ipcs -m | awk '/^0x/ {print $2}'); do ipcrm -m $i; done`, nil))
	y.remove("cleaner")
	y.remove("victim")
}

// A shell is begun by root, in the view of files that its task was given: not in one that the task has made up since, and
// with none of the agent's keys.
func TestAShellTrustsNoViewOfItsTask(t *testing.T) {
	runtime.LockOSThread() // key rings are a thread's; it ends with this test
	if _, err := unix.KeyctlJoinSessionKeyring("coinop-yard"); err != nil {
		t.Skip("no keys here: ", err)
	}
	if _, err := unix.AddKey("user", "coinop-yard-key", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Skip("no keys here: ", err)
	}
	y := newYard(t, nil)
	task := y.start("trickster", `mkdir d; exec unshare -Urm /bin/sh -c 'mount -t tmpfs x d && touch d/bait && mount --bind d /usr/share && echo ready; exec sleep 1000'`, nil)
	defer y.remove("trickster")
	y.said(task, "ready")
	const script = `ls d /usr/share | grep bait; pwd; id -u; tty; umask; ulimit -c; cat /proc/keys | grep -o coinop-yard-key`
	if got, want := y.exec("trickster", script), task.WorkDir+"\r\n65534\r\n/dev/pts/0\r\n0022\r\n0\r\n"; got != want {
		t.Errorf("the shell said %q, want %q", got, want)
	}
}
