package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

const (
	// inquireMost is how long a driver has to say what it can do. What answers later is offered later.
	inquireMost = 10 * time.Second
	// inquireFirst is how long the first report waits for drivers.
	inquireFirst = 2 * time.Second
	// factsMost and factMost are what servers take of a machine's lists and texts; a stranger's driver may have more to say.
	factsMost, factMost = 60, 250
)

// offer is what is known of a driver that this executor was told of.
type offer struct {
	can    drivers.Description // as it was last said
	state  wire.DriverState
	reason string // why it is not up
	away   bool   // it cannot be watched, so nobody knows what it does of what it is told
}

// inquireAll asks all drivers at once, so that one that hangs holds up no other.
func (e *Executor) inquireAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, inquireFirst)
	defer cancel()
	var asking sync.WaitGroup
	for name := range e.config.Drivers {
		asking.Go(func() { e.inquire(ctx, name) })
	}
	asking.Wait()
}

// inquire asks a driver what it can do here, and says whether it has answered.
func (e *Executor) inquire(ctx context.Context, name string) (answered bool) {
	asking, cancel := context.WithTimeout(ctx, inquireMost)
	d, err := e.config.Drivers[name].Describe(asking)
	late := asking.Err() != nil
	cancel()
	if err == nil && d.ProtocolVersion != drivers.ProtocolVersion {
		err = fmt.Errorf("%w: it speaks version %d of the contract, this executor %d", drivers.ErrInvalid, d.ProtocolVersion, drivers.ProtocolVersion)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return false // this executor ends: that it got no answer says nothing of the driver
	}
	next := offer{can: d}
	switch {
	case err == nil:
	case errors.Is(err, drivers.ErrUnsupported), errors.Is(err, drivers.ErrInvalid):
		next.state, next.reason = wire.DriverState_DRIVER_STATE_REFUSED, err.Error()
	case late:
		next.state, next.reason = wire.DriverState_DRIVER_STATE_STARTING, "it has not answered yet"
	default:
		next.state, next.reason = wire.DriverState_DRIVER_STATE_STARTING, err.Error()
	}
	e.mu.Lock()
	was := e.offers[name]
	known := was.can.ProtocolVersion != 0 || was.reason != ""
	if next.state != wire.DriverState_DRIVER_STATE_UP {
		next.can = was.can
	}
	next.away = was.away
	e.offers[name] = next
	e.mu.Unlock()
	switch {
	case known && was.state == next.state && was.reason == next.reason:
	case next.reason != "":
		e.log.Warn("a driver cannot be used", "driver", name, "reason", next.reason)
	default:
		e.log.Info("driver "+name, "version", d.Version, "isolation", d.Isolation, "can", abilities(d), "missing", shortcomings(name, d))
	}
	return next.state != wire.DriverState_DRIVER_STATE_STARTING
}

// inquireUntil asks a driver that is there until it has answered.
func (e *Executor) inquireUntil(ctx context.Context, name string) {
	for !e.inquire(ctx, name) {
		e.describe(ctx)
		if pause(ctx, inquireFirst) != nil {
			return
		}
	}
	e.describe(ctx)
}

// setAway notes whether a driver can be watched.
func (e *Executor) setAway(name string, away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.offers[name]
	o.away = away
	e.offers[name] = o
}

func (e *Executor) isAway(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.offers[name].away
}

// abilities are what a driver can do besides running tasks.
func abilities(d drivers.Description) string {
	var all []string
	for _, ability := range []struct {
		name string
		has  bool
	}{{"pause", d.Pause}, {"suspend", d.Suspend}, {"exec", d.Exec}, {"network", d.Network}, {"images", d.Images}, {"share", d.Share}} {
		if ability.has {
			all = append(all, ability.name)
		}
	}
	return strings.Join(append(all, d.Devices...), ",")
}

// offered are the drivers among a machine's facts, in the order of their names, and what those that are up lack.
func (e *Executor) offered() (all []*wire.DriverFacts, missing []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, why := range e.config.Absent {
		all = append(all, &wire.DriverFacts{Name: name, State: wire.DriverState_DRIVER_STATE_REFUSED, Reason: fact(why)})
	}
	for name, o := range e.offers {
		d := o.can
		facts := &wire.DriverFacts{
			Name: name, Version: fact(d.Version), Isolation: fact(string(d.Isolation)), State: o.state, Reason: fact(o.reason),
			Pause: d.Pause, Suspend: d.Suspend, Exec: d.Exec, Network: d.Network, Images: d.Images, Share: d.Share, Moves: fact(d.Moves),
		}
		for _, device := range d.Devices[:min(len(d.Devices), factsMost-6)] {
			facts.Devices = append(facts.Devices, fact(device))
		}
		all = append(all, facts)
	}
	slices.SortFunc(all, func(a, b *wire.DriverFacts) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range all {
		if d.State == wire.DriverState_DRIVER_STATE_UP {
			missing = append(missing, shortcomings(d.Name, e.offers[d.Name].can)...)
		}
	}
	return all[:min(len(all), factsMost)], missing
}

// fact is a text that servers take, and that a message can carry.
func fact(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), factMost)], "?")
}

// shortcomings are what people should know of a driver that can be used.
func shortcomings(name string, d drivers.Description) (all []string) {
	if d.Note != "" {
		all = append(all, fmt.Sprintf("driver %s: %s", name, d.Note))
	}
	for _, limit := range d.Limits {
		if limit.Reason != "" || !limit.Supported {
			all = append(all, fmt.Sprintf("%s of driver %s: %s", limit.Limit, name, limit.Reason))
		}
	}
	return all
}

// describes is what a driver says of itself, asked for where it has not been yet.
func (e *Executor) describes(ctx context.Context, name string) (d drivers.Description, err error) {
	e.mu.Lock()
	o := e.offers[name]
	e.mu.Unlock()
	if o.can.ProtocolVersion != 0 {
		return o.can, nil
	}
	err = again(ctx, func() error {
		d, err = e.config.Drivers[name].Describe(ctx)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("ask driver %s what it can do: %w", name, err)
	}
	return d, nil
}
