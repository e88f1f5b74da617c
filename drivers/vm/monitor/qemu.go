package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	noFollow = unix.O_NOFOLLOW
	noWait   = unix.O_NONBLOCK // for a pipe where a file should be
)

// Descriptors as QEMU finds them.
const (
	qmpFD = iota + 3
	guestFD
	consoleFD
	stateFD
)

// qemu is one process of it.
type qemu struct {
	cmd     *exec.Cmd
	qmp     *qmp
	guest   *net.UnixConn
	console *net.UnixConn
	said    *tail // by QEMU
	aloud   *tail // by the kernel in it
	ended   chan struct{}
	quiet   chan struct{} // all is passed on that its console said
}

// Command is how QEMU is called for a machine. Nothing is there that is not named.
func Command(box string, o Order, restored bool) []string {
	args := []string{
		o.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "coinop",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "q35,usb=off,vmport=off,smm=off,i8042=off", "-m", strconv.FormatInt(o.Memory, 10), "-smp", strconv.Itoa(o.CPUs),
		"-kernel", filepath.Join(box, Kernel), "-initrd", filepath.Join(box, Initrd), "-append", kernelCommand,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", qmpFD), "-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", consoleFD), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=guest,fd=%d", guestFD), "-device", "virtio-serial-pci,max_ports=2",
		"-device", "virtserialport,chardev=guest,name=coinop",
		"-blockdev", disk(box, o.Format), "-device", "virtio-blk-pci,drive=root",
	}
	if o.Accel == "kvm" {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,tb-size=64", "-cpu", "max")
	}
	if o.Firmware != "" {
		args = append(args, "-bios", o.Firmware)
	}
	if o.Network {
		args = append(args, "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
	}
	if restored {
		args = append(args, "-incoming", fmt.Sprintf("fd:%d", stateFD))
	}
	return args
}

// kernelCommand: quiet but for the last words of a dying kernel; a task that was frozen is no kernel's trouble; and ciphers that were
// tested when the kernel was made are not tested in every machine.
const kernelCommand = "console=ttyS0 quiet loglevel=1 panic=-1 nowatchdog nosoftlockup no_timer_check random.trust_cpu=on cryptomgr.notests apparmor=0 selinux=0 net.ifnames=0"

// disk names every file and its form, so that nothing in a file can name another.
func disk(box, format string) string {
	file := func(name string) map[string]any {
		return map[string]any{"driver": "file", "filename": name, "cache": map[string]any{"no-flush": true}}
	}
	base := map[string]any{"driver": format, "read-only": true, "file": file(filepath.Join(box, Base))}
	if format == "qcow2" {
		base["backing"] = nil
	}
	data, err := json.Marshal(map[string]any{
		"driver": "qcow2", "node-name": "root", "discard": "unmap", "cache": map[string]any{"no-flush": true}, "file": file(Overlay(box)), "backing": base,
	})
	if err != nil {
		panic(err) // strings and booleans always can
	}
	return string(data)
}

// start runs QEMU. It must be called on a thread that lives as long as the monitor: QEMU is killed when that ends.
func start(box string, o Order, state *os.File) (*qemu, error) {
	args := Command(box, o, state != nil)
	q := &qemu{cmd: exec.Command(args[0], args[1:]...), said: &tail{most: 2000}, aloud: &tail{most: 16 << 10}, ended: make(chan struct{}), quiet: make(chan struct{})}
	q.cmd.Stderr, q.cmd.Dir, q.cmd.Env = q.said, box, []string{}
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var ours [3]*net.UnixConn
	for i := range ours {
		mine, theirs, err := pair()
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		ours[i] = mine
		q.cmd.ExtraFiles = append(q.cmd.ExtraFiles, theirs)
	}
	if state != nil {
		q.cmd.ExtraFiles = append(q.cmd.ExtraFiles, state)
	}
	if err := q.cmd.Start(); err != nil {
		return nil, fail("start QEMU: %v", err)
	}
	q.qmp, q.guest, q.console = newQMP(ours[0]), ours[1], ours[2]
	go func() {
		_ = q.cmd.Wait() // how it ended says less than what it said
		close(q.ended)
	}()
	return q, nil
}

// ready opens the line of commands.
func (q *qemu) ready(ctx context.Context) error {
	_, err := q.qmp.do(ctx, "qmp_capabilities", nil, nil)
	return err
}

// end kills it and waits until it is gone.
func (q *qemu) end() {
	_ = q.cmd.Process.Kill() // gone already is fine
	<-q.ended
	q.qmp.conn.Close()
}

func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "qemu")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("a socket of kind %T", conn)
	}
	return unixConn, theirs, nil
}

// tail keeps the last of what was written.
type tail struct {
	most int // bytes; a dying kernel says why first, and then where, at length
	mu   sync.Mutex
	last []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	t.last = t.last[max(0, len(t.last)-t.most):]
	return len(p), nil
}

// line is the last line of it that has a word in it, from there on; "": there is none.
func (t *tail) line(word string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.last), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if at := bytes.Index(lines[i], []byte(word)); at >= 0 {
			return strings.TrimSpace(strings.ToValidUTF8(string(lines[i][at:]), "?"))
		}
	}
	return ""
}
