package monitor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// passing is where the task's own stream stands: all that came of it is passed on, or here.
type passing struct {
	Owed       uint32 // room for more, of which the machine has not been told yet
	Used, Exit []byte // what it said at its end. While the machine stands still its end waits
}

var errOver = errors.New("its command has ended, and its work folder is being brought out of the machine")

// attend passes the task's output on until its command has ended. What it tells the machine waits while that stands still.
func (m *monitor) attend(ctx context.Context, status *syscall.WaitStatus) error {
	ended := false
	defer func() {
		close(m.over) // first, for who waits for the line
		if ended {
			<-m.line.writing
		}
	}()
	for {
		var may chan<- struct{}
		if m.passing.Owed > 0 || m.passing.Exit != nil {
			may = m.line.writing
		}
		select {
		case f := <-m.main.frames:
			if err := m.passOn(f); err != nil {
				return err
			}
		case may <- struct{}{}:
			err := m.say()
			if ended = m.passing.Exit != nil; ended && err == nil {
				return m.ended(m.passing.Exit, status)
			}
			if !ended {
				<-m.line.writing
			}
			if err != nil {
				return err
			}
		case back := <-m.asked:
			for range len(m.main.frames) {
				if err := m.passOn(<-m.main.frames); err != nil {
					return err
				}
			}
			back <- m.passing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// say is for who has the line.
func (m *monitor) say() error {
	if m.passing.Owed == 0 {
		return nil
	}
	room := binary.LittleEndian.AppendUint32(nil, m.passing.Owed)
	m.passing.Owed = 0
	return m.line.write(guest.Frame{Channel: mainChannel, Kind: guest.AskCredit, Data: room})
}

func (m *monitor) passOn(f guest.Frame) error {
	if m.passing.Exit != nil {
		return errNonsense
	}
	var to io.Writer
	switch f.Kind {
	case guest.TellOut:
		to = os.Stdout
	case guest.TellErr:
		to = os.Stderr
	case guest.TellUsed:
		m.passing.Used = f.Data
		return m.used(f.Data)
	case guest.TellExit:
		m.passing.Exit = f.Data
		return nil
	default:
		return errNonsense
	}
	if _, err := to.Write(f.Data); err != nil {
		return fmt.Errorf("pass output on: %w", err)
	}
	m.passing.Owed += uint32(len(f.Data)) + guest.FrameCost
	return nil
}

// passed is how the task's stream stands when all is passed on that came. While the machine stands still that is all there is.
func (m *monitor) passed(ctx context.Context) (passing, error) {
	back := make(chan passing, 1)
	select {
	case m.asked <- back:
	case <-m.over:
		return passing{}, errOver
	case <-ctx.Done():
		return passing{}, errors.New("its output cannot be passed on")
	}
	select {
	case p := <-back:
		return p, nil
	case <-m.over:
		return passing{}, errOver
	}
}
