package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/coinop/coinop/drivers"
)

// Describe implements drivers.Driver.
func (d *Driver) Describe(context.Context) (drivers.Description, error) {
	description := drivers.Description{
		Name: "fake", ProtocolVersion: drivers.ProtocolVersion, Isolation: drivers.IsolationProcess, Pause: true, Suspend: d.config.Disk, Moves: d.config.Moves, Exec: true, Connect: true,
	}
	if d.config.Devices {
		description.Devices = []string{drivers.DevicesCDI}
	}
	for _, limit := range drivers.Limits() {
		support := drivers.LimitSupport{Limit: limit, Supported: true}
		if slices.Contains(d.config.Missing, limit) {
			support.Supported, support.Reason = false, "it was made so"
		}
		description.Limits = append(description.Limits, support)
	}
	return description, nil
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Start implements drivers.Driver.
func (d *Driver) Start(_ context.Context, request drivers.Task) (drivers.Status, error) {
	if !idPattern.MatchString(request.ID) || (len(request.Argv) == 0) != request.Hold || len(request.Devices) > 0 && !d.config.Devices {
		return drivers.Status{}, fmt.Errorf("start task %q: %w", request.ID, drivers.ErrInvalid)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tasks[request.ID]; t != nil {
		return t.snapshot(), nil
	}
	t := &task{driver: d, spec: request, behaviour: d.config.Behave(request), until: request.LeaseUntil}
	if err := t.goOn(request.From); err != nil {
		return drivers.Status{}, fmt.Errorf("start task %q: %w", request.ID, err)
	}
	t.status = drivers.Status{ID: request.ID, State: drivers.StateStarting, Missing: d.missing(request)}
	d.tasks[request.ID] = t
	d.order = append(d.order, request.ID)
	d.publish(t)
	switch {
	case t.until != 0 && t.until <= d.now:
		t.end(drivers.StateExited, drivers.Exit{Code: 125, Cause: drivers.CauseLease})
	case t.behaviour.Exit.Cause == drivers.CauseStartFailed:
		t.end(drivers.StateExited, t.behaviour.Exit)
	default:
		t.since = d.now
		t.status.State, t.status.StartedBoot, t.status.Pid = drivers.StateRunning, d.now, 1000+len(d.order)
		d.publish(t)
		if t.behaviour.RunFor == 0 {
			t.timePassed()
		}
	}
	return t.snapshot(), nil
}

func (d *Driver) missing(t drivers.Task) (missing []drivers.Limit) {
	asked := map[drivers.Limit]bool{
		drivers.LimitCPU: t.CPUMilli > 0, drivers.LimitMemory: t.MemoryBytes > 0, drivers.LimitDisk: t.DiskBytes > 0,
		drivers.LimitPids: t.PidsMax > 0, drivers.LimitFiles: t.FilesMax > 0,
	}
	for _, limit := range d.config.Missing {
		if asked[limit] {
			missing = append(missing, limit)
		}
	}
	return missing
}

// Control implements drivers.Driver.
func (d *Driver) Control(_ context.Context, id string, c drivers.Control) error {
	return d.with(id, func(t *task) error { return t.control(c) })
}

// EchoPort is the port of every task that echoes; there is no other.
const EchoPort = 7

// Exec implements drivers.Driver: "exit CODE" says hello on standard error, copies its input to its output, and ends.
func (d *Driver) Exec(_ context.Context, id string, r drivers.ExecRequest, streams drivers.ExecStreams) (drivers.Exit, error) {
	err := d.with(id, func(t *task) error {
		if t.status.State.Final() {
			return drivers.ErrEnded
		}
		return nil
	})
	if err != nil {
		return drivers.Exit{}, err
	}
	if r.Connect != 0 {
		return connect(r.Connect, streams)
	}
	if len(r.Argv) != 2 || r.Argv[0] != "exit" {
		return drivers.Exit{Code: 127, Cause: drivers.CauseStartFailed}, nil
	}
	code, err := strconv.Atoi(r.Argv[1])
	if err != nil {
		return drivers.Exit{}, fmt.Errorf("exec in task %q: %w: %w", id, drivers.ErrInvalid, err)
	}
	if streams.Stderr != nil {
		_, err = io.WriteString(streams.Stderr, "hello")
	}
	if streams.Stdin != nil && streams.Stdout != nil {
		_, copyErr := io.Copy(streams.Stdout, streams.Stdin)
		err = errors.Join(err, copyErr)
	}
	return drivers.Exit{Code: code, Cause: drivers.CauseExited}, err
}

func connect(port uint16, streams drivers.ExecStreams) (drivers.Exit, error) {
	if port != EchoPort {
		return drivers.Exit{Code: 125, Cause: drivers.CauseStartFailed, Message: fmt.Sprintf("port %d: nothing in the task listens on it", port)}, nil
	}
	if _, err := io.Copy(streams.Stdout, streams.Stdin); err != nil {
		return drivers.Exit{}, err
	}
	streams.StdoutEnd()
	return drivers.Exit{Cause: drivers.CauseExited}, nil
}

// Watch implements drivers.Driver.
func (d *Driver) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	return d.hub.Watch(ctx, id, func() (statuses []drivers.Status, err error) {
		if id != "" {
			err = d.with(id, func(t *task) error {
				statuses = append(statuses, t.snapshot())
				return nil
			})
			return statuses, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, id := range d.order {
			statuses = append(statuses, d.tasks[id].snapshot())
		}
		return statuses, nil
	})
}

// Usage implements drivers.Driver.
func (d *Driver) Usage(_ context.Context, id string) (usage drivers.Usage, err error) {
	err = d.with(id, func(t *task) error {
		usage = t.behaviour.Usage
		return nil
	})
	return usage, err
}

// Remove implements drivers.Driver.
func (d *Driver) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	if t == nil {
		return nil
	}
	if !t.status.State.Final() {
		t.kill(drivers.CauseStopped)
	}
	delete(d.tasks, id)
	d.order = slices.DeleteFunc(d.order, func(other string) bool { return other == id })
	return nil
}
