package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm/guest"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// stillPatience is how long a machine is waited for to stand still by itself. What does not is frozen from outside.
const stillPatience = 15 * time.Second

// Control implements drivers.Driver. A machine is frozen twice: by QEMU, so that its own clock stands still, and by the shim, as any task.
func (d *Driver) Control(ctx context.Context, id string, c drivers.Control) error {
	var err error
	switch c.Kind {
	case drivers.Signal:
		err = d.signal(ctx, id, c)
	case drivers.Freeze:
		err = d.freeze(ctx, id, c)
	case drivers.Thaw:
		err = d.thaw(ctx, id, c)
	case drivers.Suspend:
		err = d.suspend(ctx, id)
	case drivers.Resume:
		err = d.resume(ctx, id)
	case drivers.Export:
		err = d.export(ctx, id, c.File)
	default:
		return d.Set.Control(ctx, id, c)
	}
	if err != nil && c.Kind != drivers.Freeze && c.Kind != drivers.Thaw {
		return fmt.Errorf("control task %s: %w", id, err)
	}
	return err
}

func (d *Driver) signal(ctx context.Context, id string, c drivers.Control) error {
	if c.Signal < 1 || c.Signal > 64 {
		return fmt.Errorf("%w: signal %d", drivers.ErrInvalid, c.Signal)
	}
	return d.ask(ctx, id, monitor.Request{Do: "signal", Signal: c.Signal, Group: c.Group})
}

func (d *Driver) freeze(ctx context.Context, id string, c drivers.Control) error {
	patience, cancel := context.WithTimeout(ctx, stillPatience)
	defer cancel()
	if s, _, err := d.Status(id); err == nil && s.State == drivers.StateRunning {
		_ = d.ask(patience, id, monitor.Request{Do: "freeze"}) // one that is on its way up has no clock yet
	}
	return d.Set.Control(ctx, id, c)
}

func (d *Driver) thaw(ctx context.Context, id string, c drivers.Control) error {
	s, dir, err := d.Status(id)
	if err != nil {
		return fmt.Errorf("control task %s: %w", id, err)
	}
	if !s.State.Final() && monitor.Suspended(boxDir(dir)) {
		return fmt.Errorf("control task %s: %w: it is suspended", id, drivers.ErrInvalid)
	}
	if err := d.Set.Control(ctx, id, c); err != nil {
		return err
	}
	return d.goOn(ctx, id, "thaw")
}

// goOn asks a machine to go on, which it does as soon as it is let: under a lapsed lease nobody waits for that.
func (d *Driver) goOn(ctx context.Context, id, do string) error {
	s, dir, err := d.Status(id)
	if err != nil {
		return err
	}
	conn, err := call(ctx, boxDir(dir), monitor.Request{Do: do})
	if errors.Is(err, errNotListening) {
		return nil // it is on its way up
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.State != drivers.StateRunning {
		return nil
	}
	return heard(conn)
}

func (d *Driver) suspend(ctx context.Context, id string) error {
	dir, err := d.Running(ctx, id)
	if err != nil {
		return err
	}
	s, _, err := d.Status(id)
	if err != nil {
		return err
	}
	frozen := s.State == drivers.StateFrozen
	switch {
	case s.State == drivers.StateSuspended:
		return nil
	case frozen && s.Frozen[len(s.Frozen)-1].Cause == drivers.FrozenByLease:
		return errors.New("its lease has lapsed")
	case frozen: // QEMU keeps it frozen, and must itself be let go on
		err = d.Set.Control(ctx, id, drivers.Control{Kind: drivers.Thaw})
	}
	if err != nil {
		return err
	}
	conn, err := call(ctx, boxDir(dir), monitor.Request{Do: "suspend"})
	if err == nil {
		err = heard(conn)
		conn.Close()
	}
	if err != nil && !frozen {
		return err
	}
	return errors.Join(err, d.Set.Control(ctx, id, drivers.Control{Kind: drivers.Freeze}))
}

func (d *Driver) resume(ctx context.Context, id string) error {
	if _, err := d.Running(ctx, id); err != nil {
		return err
	}
	if err := d.Set.Control(ctx, id, drivers.Control{Kind: drivers.Thaw}); err != nil {
		return err
	}
	return d.goOn(ctx, id, "resume")
}

// ask has a task's monitor do something, and waits until it is done.
func (d *Driver) ask(ctx context.Context, id string, r monitor.Request) error {
	dir, err := d.Running(ctx, id)
	if err != nil {
		return err
	}
	conn, err := d.patiently(ctx, id, dir, r)
	if err != nil {
		return err
	}
	defer conn.Close()
	return heard(conn)
}

var errNotListening = errors.New("its monitor does not listen")

// patiently calls a monitor that may have been started just now.
func (d *Driver) patiently(ctx context.Context, id, dir string, r monitor.Request) (*net.UnixConn, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := call(ctx, boxDir(dir), r)
		if !errors.Is(err, errNotListening) {
			return conn, err
		}
		if s, _, err := d.Status(id); err == nil && s.State.Final() {
			return nil, drivers.ErrEnded
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		}
	}
}

// call connects with a monitor and tells it what to do. By the folder's descriptor the socket has a name short enough for an address.
func call(ctx context.Context, box string, r monitor.Request) (*net.UnixConn, error) {
	folder, err := os.Open(box)
	if err != nil {
		return nil, drivers.ErrEnded
	}
	defer folder.Close()
	address := &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), monitor.Socket), Net: "unix"}
	conn, err := net.DialUnix("unix", nil, address)
	if err != nil {
		return nil, errors.Join(errNotListening, err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	data, err := json.Marshal(r)
	if err == nil {
		err = guest.Write(conn, guest.Frame{Data: data})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// heard waits for the monitor's answer. One that has ended had a task that has ended.
func heard(conn net.Conn) error {
	f, err := guest.Read(conn, guest.TellMax)
	if err != nil {
		return drivers.ErrEnded
	}
	var r monitor.Response
	if err := json.Unmarshal(f.Data, &r); err != nil {
		return fmt.Errorf("its monitor answers nonsense: %w", err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}
