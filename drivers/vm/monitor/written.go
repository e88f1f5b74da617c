package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// Written is what a monitor knows of a suspended machine that QEMU does not: with both, another monitor goes on.
type Written struct {
	passing
	Part []byte   // what has come of a frame whose rest is still to be sent
	Open []uint16 // channels of commands beside the task's own, which have lost their callers when the machine goes on elsewhere
	Next uint16   // after these numbers come those of new ones
}

const (
	frameMax   = 8 + guest.TellMax
	writtenMax = 4 * (frameMax + guest.TellMax)
)

// Check refuses what no monitor writes.
func (w *Written) Check() error {
	if len(w.Part) > frameMax || len(w.Used) > guest.TellMax || len(w.Exit) > guest.TellMax || len(w.Open) > channelsMax || w.Owed > 1<<20 {
		return errors.New("what its monitor wrote down cannot be")
	}
	return nil
}

// OpenWritten opens what a box's monitor wrote when its machine was suspended. It is the task's user's word, as all in a box.
func OpenWritten(box string) (*os.File, Written, error) {
	var w Written
	file, err := OpenPlain(filepath.Join(box, suspendedFile))
	if err != nil {
		return nil, w, err
	}
	data, err := io.ReadAll(io.LimitReader(file, writtenMax))
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	if err == nil {
		err = w.Check()
	}
	if err != nil {
		file.Close()
		return nil, w, fmt.Errorf("read what its monitor wrote down: %w", err)
	}
	return file, w, nil
}

// OpenPlain opens a file for reading in a folder whose owner may have put anything there.
func OpenPlain(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", filepath.Base(path))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// State is where a box has what QEMU wrote down.
func State(box string) string { return filepath.Join(box, stateFile) }

// note writes down what there is to know beside the machine's state, when its process has ended.
func (m *monitor) note(ctx context.Context, q *qemu) error {
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	var w Written
	back := make(chan []byte, 1)
	select { // first: until then more may come for attend
	case m.line.rest <- back:
		w.Part = <-back
	case <-ctx.Done():
		return errors.New("what the machine has said cannot be read")
	}
	var err error
	if w.passing, err = m.passed(ctx); err != nil {
		return err
	}
	<-q.quiet
	if err := taken(ctx, unix.Stdout, unix.Stderr); err != nil {
		return err
	}
	w.Open, w.Next = m.line.others()
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	path := filepath.Join(m.box, suspendedFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// others are the open channels that are not the task's own.
func (l *line) others() (open []uint16, next uint16) {
	l.channels.Lock()
	defer l.channels.Unlock()
	for number := range l.channels.all {
		if number > filesOut {
			open = append(open, number)
		}
	}
	slices.Sort(open)
	return open, l.channels.next
}

// taken waits until whoever reads these pipes has done so: what was passed on is in the log before the machine is said to be suspended.
func taken(ctx context.Context, pipes ...int) error {
	ticker := time.NewTicker(statePoll)
	defer ticker.Stop()
	for _, pipe := range pipes {
		for {
			// What is no pipe keeps nothing back.
			if n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ); err != nil || n == 0 {
				break
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return errors.New("its output is not taken")
			}
		}
	}
	return nil
}

// goOn begins where another monitor ended.
func (m *monitor) goOn(ctx context.Context, w Written) error {
	if err := m.takeUp(w); err != nil {
		return err
	}
	m.line.writing <- struct{}{}
	m.still = true
	if err := m.resume(ctx); err != nil {
		return err
	}
	m.up.Store(true)
	return nil
}

// takeUp is before anything is heard of the machine.
func (m *monitor) takeUp(w Written) error {
	m.line.early, m.line.channels.next, m.passing = w.Part, w.Next, w.passing
	err := w.Check()
	if err == nil && w.Used != nil {
		err = m.used(w.Used)
	}
	return err
}

// leave ends what was run beside the task's command for callers that are not here.
func (m *monitor) leave(ctx context.Context, channels []uint16) error {
	for _, number := range channels {
		if err := m.line.send(ctx, guest.Frame{Channel: number, Kind: guest.AskClose}); err != nil {
			return err
		}
	}
	return nil
}
