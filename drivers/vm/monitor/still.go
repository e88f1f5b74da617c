package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if err := m.freeze(ctx); err != nil {
		return err
	}
	path := filepath.Join(m.box, stateFile)
	state, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|noFollow, 0o600)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := m.save(ctx, state); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if err := os.WriteFile(filepath.Join(m.box, suspendedFile), nil, 0o600); err != nil {
		return err
	}
	m.leaving.Store(true)
	m.qemu.end()
	m.qemu = nil
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

// resume lets the machine go on in a new process.
func (m *monitor) resume(ctx context.Context) error {
	if m.qemu != nil {
		return m.thaw(ctx)
	}
	path := filepath.Join(m.box, stateFile)
	state, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := m.launch(ctx, state); err != nil {
		return err
	}
	err = m.await(ctx, "query-status", func(status string) (bool, error) { return status != "inmigrate", nil })
	if err != nil { // the state is there for another try
		m.leaving.Store(true)
		m.qemu.end()
		m.qemu = nil
		return fmt.Errorf("restore the machine: %w: %s", err, m.said())
	}
	m.line.join(m.qemu)
	if err := errors.Join(os.Remove(filepath.Join(m.box, suspendedFile)), os.Remove(path)); err != nil {
		return err
	}
	return m.thaw(ctx)
}
