package monitor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// Request is what the driver asks of a monitor. An Exec goes on as frames, as the machine's own; all else is answered once.
type Request struct {
	Do     string // signal, freeze, thaw, suspend, resume, exec, connect
	Signal int    `json:",omitempty"`
	Group  bool   `json:",omitempty"`

	Argv, Env  [][]byte `json:",omitempty"`
	Terminal   bool     `json:",omitempty"`
	Rows, Cols uint16   `json:",omitempty"`
	Port       uint16   `json:",omitempty"`
}

// Response is its answer.
type Response struct{ Error string }

const (
	requestMax      = 8 << 20
	requestPatience = 10 * time.Second
)

// serve obeys the driver, in the order in which it calls: what it gave up waiting for must not be done after what it asked next.
func (m *monitor) serve(ctx context.Context, listener *net.UnixListener) {
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			return
		}
		if err := conn.SetReadDeadline(time.Now().Add(requestPatience)); err != nil {
			conn.Close()
			continue
		}
		var r Request
		f, err := guest.Read(conn, requestMax)
		if err == nil {
			err = json.Unmarshal(f.Data, &r)
		}
		if err == nil {
			err = conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			conn.Close()
			continue
		}
		if r.Do == "exec" || r.Do == "connect" {
			go m.exec(ctx, conn, r)
			continue
		}
		answer := Response{}
		if err := m.obey(ctx, r); err != nil {
			answer.Error = printable(err.Error())
		}
		if data, err := json.Marshal(answer); err == nil {
			_ = guest.Write(conn, guest.Frame{Data: data}) // who is gone needs no answer
		}
		conn.Close()
	}
}

func (m *monitor) obey(ctx context.Context, r Request) error {
	switch r.Do {
	case "signal":
		return m.signalled(ctx, syscall.Signal(r.Signal), r.Group)
	case "freeze":
		return m.freeze(ctx)
	case "thaw":
		return m.thaw(ctx)
	case "suspend":
		if !m.hasBegun() {
			return errors.New("its command has not begun yet")
		}
		return m.suspend(ctx)
	case "resume":
		return m.resume(ctx)
	}
	return fmt.Errorf("this monitor does not know how to %s", r.Do)
}

// signalled returns when the machine has sent the signal.
func (m *monitor) signalled(ctx context.Context, s syscall.Signal, group bool) error {
	if m.still {
		return errors.New("the machine stands still")
	}
	select {
	case <-m.begun:
	case <-time.After(bootPatience):
		return errors.New("its command has not begun yet")
	}
	m.news.tell(ctx, m.line) // of which the signal may be
	if err := m.signal(ctx, s, group); err != nil {
		return err
	}
	if err := m.sync(ctx); err != nil {
		return err
	}
	<-m.line.writing
	return nil
}

// exec connects the driver with a command of its own in the machine, until either is gone.
func (m *monitor) exec(ctx context.Context, conn *net.UnixConn, r Request) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-m.begun:
	case <-time.After(bootPatience):
		return
	}
	m.news.tell(ctx, m.line)
	c, err := m.line.open(anyNumber)
	if err != nil {
		return
	}
	defer c.close()
	if r.Do == "connect" {
		err = c.send(ctx, guest.AskConnect, binary.LittleEndian.AppendUint32(nil, uint32(r.Port)))
	} else {
		s := m.command()
		s.Argv, s.Env = words(r.Argv), over(s.Env, words(r.Env))
		if r.Terminal {
			s.Env = over([]string{"TERM=xterm"}, s.Env)
		}
		s.Terminal, s.Rows, s.Cols = r.Terminal, r.Rows, r.Cols
		err = c.send(ctx, guest.AskStart, s.Encode())
	}
	if err != nil {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.hearCaller(ctx, conn)
	}()
	if !c.tellCaller(ctx, conn, gone) {
		_ = c.send(ctx, guest.AskClose, nil) // a machine that is no more needs none
	}
}

// over puts variables over others of the same names.
func over(under, own []string) []string {
	named := map[string]bool{}
	for _, entry := range own {
		name, _, _ := strings.Cut(entry, "=")
		named[name] = true
	}
	var all []string
	for _, entry := range under {
		if name, _, _ := strings.Cut(entry, "="); !named[name] {
			all = append(all, entry)
		}
	}
	return append(all, own...)
}

// tellCaller passes on what the machine sends, and says whether that was all.
func (c *channel) tellCaller(ctx context.Context, conn *net.UnixConn, gone <-chan struct{}) (ended bool) {
	for {
		select {
		case f := <-c.frames:
			if guest.Write(conn, guest.Frame{Kind: f.Kind, Data: f.Data}) != nil {
				return false
			}
			switch f.Kind {
			case guest.TellExit:
				return true
			case guest.TellOut, guest.TellErr:
				if c.passed(ctx, len(f.Data)) != nil {
					return false
				}
			}
		case <-c.news:
			room := binary.LittleEndian.AppendUint32(nil, c.room.Swap(0))
			if guest.Write(conn, guest.Frame{Kind: guest.TellCredit, Data: room}) != nil {
				return false
			}
		case <-gone:
			return false
		}
	}
}

// hearCaller passes on what the driver sends, until that is gone.
func (c *channel) hearCaller(ctx context.Context, conn *net.UnixConn) {
	for {
		f, err := guest.Read(conn, guest.Window)
		if err != nil {
			return
		}
		switch f.Kind {
		case guest.AskData, guest.AskEnd, guest.AskSize:
			if c.send(ctx, f.Kind, f.Data) != nil {
				return
			}
		}
	}
}
