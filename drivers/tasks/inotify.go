package tasks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/shim"
)

func openInotify() (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch status files: %w", err)
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// follow makes Run read the task's status file after each change. Only the shim has it open for writing, so its closing means
// that the shim is gone, however it went.
func (d *Set) follow(t *task) error {
	raw, err := d.inotify.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch status file: %w", err)
	}
	d.mu.Lock() // so that no event of this watch is handled before wds knows it
	defer d.mu.Unlock()
	var wd int
	controlErr := raw.Control(func(fd uintptr) {
		wd, err = unix.InotifyAddWatch(int(fd), t.path, unix.IN_MODIFY|unix.IN_CLOSE_WRITE)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return fmt.Errorf("watch status file: %w", err)
	}
	t.wd = int32(wd)
	d.wds[t.wd] = t
	return nil
}

// unfollow forgets the status file, which may become another task's. Where there is nothing to follow any more that is no error.
func (d *Set) unfollow(t *task) {
	raw, err := d.inotify.SyscallConn()
	if err != nil {
		return // the driver is closing
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wds[t.wd] == t {
		delete(d.wds, t.wd)
		_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(t.wd)) })
	}
}

// Run follows the shims until ctx ends. Tasks go on without it.
func (d *Set) Run(ctx context.Context) error {
	defer d.close()
	defer d.hub.Close()
	defer d.wait.Wait()
	stop := context.AfterFunc(ctx, func() { d.inotify.Close() })
	defer stop()
	d.wait.Go(func() { d.watchDisks(ctx) })
	buffer := make([]byte, 64<<10)
	for {
		n, err := d.inotify.Read(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch status files: %w", err)
		}
		for _, e := range d.events(buffer[:n]) {
			if e.unsure {
				alive, err := shim.Alive(e.task.path)
				e.closed = err == nil && !alive
			}
			e.task.changed(e.closed)
		}
	}
}

type event struct {
	task   *task
	closed bool
	unsure bool // whether it has closed has to be found out
}

// events reads one batch, several changes of a task folded into one.
func (d *Set) events(data []byte) []event {
	var events []event
	place := map[int32]int{}
	overflow := false
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(data) >= unix.SizeofInotifyEvent {
		var raw unix.InotifyEvent
		if _, err := binary.Decode(data, binary.LittleEndian, &raw); err != nil {
			break
		}
		data = data[min(len(data), unix.SizeofInotifyEvent+int(raw.Len)):]
		overflow = overflow || raw.Mask&unix.IN_Q_OVERFLOW != 0
		t := d.wds[raw.Wd]
		if t == nil {
			continue
		}
		if raw.Mask&unix.IN_IGNORED != 0 {
			delete(d.wds, raw.Wd)
			continue
		}
		if _, seen := place[raw.Wd]; !seen {
			place[raw.Wd] = len(events)
			events = append(events, event{task: t})
		}
		if raw.Mask&unix.IN_CLOSE_WRITE != 0 {
			events[place[raw.Wd]].closed = true
		}
	}
	if overflow { // the kernel dropped events: look at every task
		for _, t := range d.tasks {
			events = append(events, event{task: t, unsure: true})
		}
	}
	return events
}
