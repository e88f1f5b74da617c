package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/drivers/vm/guest"
)

const (
	syncPatience  = 10 * time.Second // for a first process on a busy machine
	qmpPatience   = 20 * time.Second
	statePatience = 10 * time.Minute // for memory to be written
	statePoll     = 10 * time.Millisecond
)

// sync takes the line for itself and waits until the machine has read all that was sent.
func (m *monitor) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	select {
	case m.line.writing <- struct{}{}:
	case <-ctx.Done():
		return errors.New("the machine takes nothing")
	}
	select {
	case <-m.line.synced: // of one that was given up
	default:
	}
	if err := m.line.write(guest.Frame{Kind: guest.AskSync}); err != nil {
		<-m.line.writing
		return err
	}
	select {
	case <-m.line.synced:
		return nil
	case <-ctx.Done():
		<-m.line.writing
		return errors.New("the machine's first process does not answer")
	}
}

// freeze lets the machine's own time stand still. While it does, the line is this function's.
func (m *monitor) freeze(ctx context.Context) error {
	if m.still {
		return nil
	}
	if err := m.sync(ctx); err != nil {
		return err
	}
	if _, err := m.qemu.qmp.do(ctx, "stop", nil, nil); err != nil {
		<-m.line.writing
		return err
	}
	m.still = true
	return nil
}

func (m *monitor) thaw(ctx context.Context) error {
	if !m.still || m.qemu == nil {
		return nil
	}
	if _, err := m.qemu.qmp.do(ctx, "cont", nil, nil); err != nil {
		return err
	}
	m.still = false
	<-m.line.writing
	return nil
}

// suspend writes the machine down and ends its process.
func (m *monitor) suspend(ctx context.Context) error {
	if m.qemu == nil {
		return nil
	}
	stood := m.still
	if err := m.freeze(ctx); err != nil {
		return err
	}
	err := m.write(ctx)
	if err != nil && !stood {
		err = errors.Join(err, m.thaw(ctx))
	}
	return err
}

func (m *monitor) write(ctx context.Context) error {
	select {
	case <-m.over: // it ends while it has the line, so nothing ends from here on
		return errOver
	default:
	}
	path := State(m.box)
	state, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|noFollow, 0o600)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := m.save(ctx, state); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	q := m.qemu
	m.quit(q)
	if err := m.note(ctx, q); err != nil { // the state is there, from which it goes on
		return errors.Join(err, m.restore(ctx))
	}
	return nil
}

func (m *monitor) save(ctx context.Context, state *os.File) error {
	q := m.qemu.qmp
	if _, err := q.do(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil); err != nil {
		return err
	}
	if _, err := q.do(ctx, "getfd", map[string]any{"fdname": "state"}, state); err != nil {
		return err
	}
	if _, err := q.do(ctx, "migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return m.await(ctx, "query-migrate", func(status string) (bool, error) {
		switch status {
		case "completed":
			return true, nil
		case "failed", "cancelled":
			return false, errors.New("QEMU could not write the machine down")
		}
		return false, nil
	})
}

func (m *monitor) await(ctx context.Context, query string, done func(status string) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, statePatience)
	defer cancel()
	ticker := time.NewTicker(statePoll)
	defer ticker.Stop()
	for {
		data, err := m.qemu.qmp.do(ctx, query, nil, nil)
		if err != nil {
			return err
		}
		var said struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(data, &said); err != nil {
			return fmt.Errorf("QEMU's answer to %s: %w", query, err)
		}
		if over, err := done(said.Status); over || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// resume lets the machine go on, in a new process if it must.
func (m *monitor) resume(ctx context.Context) error {
	if m.qemu == nil {
		if err := m.restore(ctx); err != nil {
			return err
		}
	}
	return m.thaw(ctx)
}

// restore gives the machine a process, in which it stands still.
func (m *monitor) restore(ctx context.Context) error {
	path := State(m.box)
	state, err := OpenPlain(path)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := m.launch(ctx, state); err != nil {
		return err
	}
	err = m.await(ctx, "query-status", func(status string) (bool, error) { return status != "inmigrate", nil })
	if err != nil { // the state is there for another try
		m.quit(m.qemu)
		return fmt.Errorf("restore the machine: %w: %s", err, m.said())
	}
	m.line.join(m.qemu)
	if err := os.Remove(filepath.Join(m.box, suspendedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(path)
}

// quit ends QEMU, as it is meant to.
func (m *monitor) quit(q *qemu) {
	m.leaving.Store(true)
	q.end()
	m.qemu = nil
}
