package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
)

const keeperWord = "keep-task"

// keeper is the first process in a task's namespaces. When it ends the kernel ends all others there, so nothing of a task
// outlives it; and a signal that it sends to all reaches all but itself. Its fields are owned by one goroutine.
type keeper struct {
	dir      string
	spec     drivers.Task
	listener net.Listener
	machine  *os.Root      // the machine's /proc
	copied   chan struct{} // one for each stream that has ended
	exited   chan exit     // of the task's first process

	status    drivers.Status
	pid       int // of the first process, as it is called in here
	cause     drivers.ExitCause
	byControl bool
	byLease   bool
	until     int64 // the lease
	killAt    int64
	watchers  []*gob.Encoder
}

// asked is a question with its connection.
type asked struct {
	question
	connection net.Conn
}

// exit is how the first process ended, and when.
type exit struct {
	syscall.WaitStatus
	at int64
}

func keep() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // what is set for the task must be set for the thread that starts it
	k := &keeper{dir: dir, copied: make(chan struct{}, 2), exited: make(chan exit, 1)}
	if err := readFile(specFile, &k.spec); err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	k.listener, k.until = listener, k.spec.LeaseUntil
	k.status = drivers.Status{ID: k.spec.ID, State: drivers.StateStarting, Missing: missing(k.spec)}
	if k.until != 0 && k.until <= boottime() {
		return k.end(boottime(), drivers.Exit{Code: 125, Cause: drivers.CauseLease, Message: "its lease had lapsed"})
	}
	if code, err := k.start(); err != nil {
		return k.end(boottime(), drivers.Exit{Code: code, Cause: drivers.CauseStartFailed, Message: err.Error()})
	}
	first := k.attend()
	return k.end(first.at, k.explain(first))
}

func missing(t drivers.Task) (all []drivers.Limit) {
	for _, asked := range []struct {
		limit drivers.Limit
		most  int64
	}{{drivers.LimitCPU, t.CPUMilli}, {drivers.LimitMemory, t.MemoryBytes}, {drivers.LimitDisk, t.DiskBytes}, {drivers.LimitPids, t.PidsMax}} {
		if asked.most > 0 {
			all = append(all, asked.limit)
		}
	}
	return all
}

// start makes what a task starts with, and its first process.
func (k *keeper) start() (code int, err error) {
	if k.machine, err = os.OpenRoot("/proc"); err != nil {
		return 125, err
	}
	unix.Umask(0o022)
	err = errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	if err != nil {
		return 125, fmt.Errorf("prepare: %w", err)
	}
	if err := os.Chdir(k.spec.WorkDir); err != nil {
		return 125, fmt.Errorf("enter work folder: %w", err)
	}
	path, code, err := lookup(k.spec.Argv[0], k.spec.Env)
	if err != nil {
		return code, err
	}
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return 125, err
	}
	defer nothing.Close()
	given := []*os.File{nothing}
	for _, name := range streams() {
		from, to, err := os.Pipe()
		if err != nil {
			return 125, err
		}
		defer to.Close()
		given = append(given, to)
		log := logs.NewWriter(filepath.Join(k.spec.Dir, name), k.spec.LogHeadBytes, k.spec.LogTailBytes)
		go func() {
			_, _ = io.Copy(log, from) // ends when the last process has ended
			k.copied <- struct{}{}
		}()
	}
	if most := uint64(k.spec.FilesMax); most > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return 125, fmt.Errorf("limit open files: %w", err)
		}
	}
	return k.fork(path, given)
}

func (k *keeper) fork(path string, given []*os.File) (code int, err error) {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // what was inherited is nothing for a task
		return 125, err
	}
	hearAllSignals()
	var pidfd int
	user := &syscall.Credential{Uid: k.spec.UID, Gid: k.spec.GID, Groups: []uint32{k.spec.GID}}
	process, err := os.StartProcess(path, k.spec.Argv, &os.ProcAttr{
		Env: k.spec.Env, Files: given, Sys: &syscall.SysProcAttr{Setsid: true, Credential: user, PidFD: &pidfd},
	})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 127, err
		}
		return 126, err
	}
	k.pid = process.Pid
	info, err := k.machine.ReadFile(fmt.Sprintf("self/fdinfo/%d", pidfd))
	if err != nil {
		return 125, err
	}
	for line := range strings.Lines(string(info)) {
		_, _ = fmt.Sscanf(line, "Pid: %d", &k.status.Pid) // other lines have other names
	}
	k.status.State, k.status.StartedBoot = drivers.StateRunning, boottime()
	return 0, nil
}

// hearAllSignals takes back that signals 32 and 33 are ignored, as programs are that glibc's posix_spawn has started (make's, say). A
// task would inherit it: Go sees to the other signals, and keeps its hands off these two.
func hearAllSignals() {
	for _, signal := range []uintptr{32, 33} {
		var byDefault [4]uint64 // handler, flags, restorer and mask, as the kernel wants them
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	}
}

// lookup finds a command as a shell would, with the task's own PATH.
func lookup(command string, env []string) (path string, code int, err error) {
	candidates := []string{command}
	if !strings.Contains(command, "/") {
		candidates = nil
		for _, entry := range env {
			if list, ok := strings.CutPrefix(entry, "PATH="); ok && command != "" {
				for _, dir := range filepath.SplitList(list) {
					candidates = append(candidates, filepath.Join(dir, command))
				}
			}
		}
	}
	code = 127
	for _, path := range candidates {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, 0, nil
		}
		if err == nil {
			code = 126
		}
	}
	return "", code, fmt.Errorf("execute %q: %w", command, exec.ErrNotFound)
}

// reap waits for whatever ends in here, since all orphans are its children. It returns when nothing is left.
func (k *keeper) reap(rest chan<- struct{}) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			close(rest)
			return
		case pid == k.pid:
			k.exited <- exit{status, boottime()}
			_ = unix.Kill(-1, unix.SIGKILL) // the end of a task is the end of its daemons
		}
	}
}

// attend serves the driver and the clock until the first process has ended, and everything else with it.
func (k *keeper) attend() exit {
	rest, questions := make(chan struct{}), make(chan asked)
	go k.reap(rest)
	go k.listen(questions)
	for {
		now := boottime()
		k.heed(now)
		timer := time.NewTimer(k.next(now))
		select {
		case q := <-questions:
			k.serve(q)
		case <-timer.C:
		case <-rest:
			for range streams() {
				<-k.copied
			}
			return <-k.exited
		}
		timer.Stop()
	}
}

func (k *keeper) listen(questions chan<- asked) {
	for {
		connection, err := k.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			q := asked{connection: connection}
			if gob.NewDecoder(connection).Decode(&q.question) == nil {
				questions <- q
			}
		}()
	}
}

func (k *keeper) serve(q asked) {
	to := gob.NewEncoder(q.connection)
	if q.Watch {
		k.watchers = append(k.watchers, to)
		_ = to.Encode(k.status) // a watcher that is gone wants nothing
		return
	}
	a := answer{Usage: k.usage()}
	if q.Control != nil {
		a.Invalid = !k.control(*q.Control)
	}
	_ = to.Encode(a)
	_ = q.connection.Close()
}

func (k *keeper) tell() {
	for _, w := range k.watchers {
		_ = w.Encode(k.status)
	}
}

// explain says how the first process ended.
func (k *keeper) explain(s exit) drivers.Exit {
	e := drivers.Exit{Code: s.ExitStatus(), Cause: drivers.CauseExited}
	if s.Signaled() {
		e = drivers.Exit{Code: 128 + int(s.Signal()), Signal: int(s.Signal()), Cause: drivers.CauseSignalled}
	}
	if k.cause != "" {
		e.Cause = k.cause
	}
	return e
}

// end writes down what stays, and ends the keeper; the driver notices that.
func (k *keeper) end(at int64, e drivers.Exit) error {
	usage := k.usage()
	k.status.State, k.status.Exit, k.status.Pid, k.status.EndedBoot = drivers.StateExited, e, 0, at
	k.span("", at)
	return writeFile(filepath.Join(k.dir, endFile), ending{Status: k.status, Usage: usage})
}
