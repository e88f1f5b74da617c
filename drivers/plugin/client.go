// Package plugin puts a driver into a process of its own, where it can be restarted without its caller or its tasks noticing.
package plugin

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
	"github.com/coinop/coinop/drivers/plugin/keep"
	"github.com/coinop/coinop/drivers/watch"
)

// Config says which plugin to keep running.
type Config = keep.Config

// Client is a drivers.Driver in another process. Calls wait for a plugin that is being started and are repeated after one that
// died, so a signal may arrive twice.
type Client struct{ *keep.Keeper[link] }

// link is one connection with one plugin process.
type link struct {
	api driverpb.DriverClient
	hub watch.Hub

	accuse func(why error) error

	mu       sync.Mutex
	statuses map[string]drivers.Status
	told     map[string]drivers.Status // what the stream said last
	used     map[string]drivers.Usage  // what was said last
	removed  map[string]bool           // ids whose late statuses are not to be believed
	ghosts   map[string]bool           // of those the ones that are used again: what is said of them may be of the one before
}

// New checks the configuration. Nothing is started before Run.
func New(config Config) (*Client, error) {
	c := &Client{}
	keeper, err := keep.New(config, contract(), func(ctx context.Context, conn *grpc.ClientConn, begun func(*link)) error {
		l := &link{
			api: driverpb.NewDriverClient(conn), statuses: map[string]drivers.Status{}, told: map[string]drivers.Status{},
			used: map[string]drivers.Usage{}, removed: map[string]bool{}, ghosts: map[string]bool{},
		}
		l.accuse = func(why error) error { return c.Keeper.Accuse(l, why) }
		return l.follow(ctx, func() { begun(l) })
	})
	if err != nil {
		return nil, err
	}
	c.Keeper = keeper
	return c, nil
}

// answerWithin is how long a plugin has for what takes no time. One that takes longer hangs, and is ended.
const answerWithin = 30 * time.Second

// soon is Call for what takes no time.
func (c *Client) soon(ctx context.Context, request func(context.Context, *link) error) error {
	return c.CallWithin(ctx, answerWithin, request)
}

// Distrust ends a plugin that has said what its user knows to be untrue.
func (c *Client) Distrust(ctx context.Context, why error) error {
	l, err := c.Current(ctx)
	if err != nil {
		return err
	}
	return l.accuse(why)
}

// Describe implements drivers.Driver.
func (c *Client) Describe(ctx context.Context) (description drivers.Description, err error) {
	err = c.Call(ctx, func(l *link) error {
		answer, err := l.api.Describe(ctx, &driverpb.DescribeRequest{})
		description = describeFromWire(answer)
		return err
	})
	return description, err
}

// Start implements drivers.Driver.
func (c *Client) Start(ctx context.Context, task drivers.Task) (status drivers.Status, err error) {
	err = c.Call(ctx, func(l *link) error {
		l.expect(task.ID)
		answer, err := l.api.Start(ctx, taskToWire(task))
		if err == nil {
			status, err = l.older(task.ID, statusFromWire(answer.GetStatus()))
		}
		return err
	})
	return status, err
}

// Control implements drivers.Driver.
func (c *Client) Control(ctx context.Context, id string, command drivers.Control) error {
	call := c.soon
	if command.Kind > drivers.Lease {
		call = func(ctx context.Context, request func(context.Context, *link) error) error {
			return c.Call(ctx, func(l *link) error { return request(ctx, l) })
		}
	}
	return call(ctx, func(ctx context.Context, l *link) error {
		_, err := l.api.Control(ctx, controlToWire(id, command))
		return err
	})
}

// Usage implements drivers.Driver.
func (c *Client) Usage(ctx context.Context, id string) (usage drivers.Usage, err error) {
	err = c.soon(ctx, func(ctx context.Context, l *link) error {
		u, err := l.api.Usage(ctx, &driverpb.UsageRequest{Id: id})
		usage = drivers.Usage{
			CPUMillis: u.GetCpuMillis(), MemoryPeakBytes: u.GetMemoryPeakBytes(), PidsPeak: u.GetPidsPeak(), LogBytes: u.GetLogBytes(),
		}
		if err == nil {
			err = l.measured(id, usage)
		}
		return err
	})
	return usage, err
}

// Remove implements drivers.Driver.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.Call(ctx, func(l *link) error {
		_, err := l.api.Remove(ctx, &driverpb.RemoveRequest{Id: id})
		if err == nil {
			l.drop(ctx, id)
		}
		return err
	})
}

// Watch implements drivers.Driver. All watches are fed by one stream from the plugin.
func (c *Client) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	if id == "" {
		if err := c.Broken(ctx); err != nil {
			return nil, err
		}
	}
	l, err := c.Current(ctx)
	if err != nil {
		return nil, err
	}
	return l.hub.Watch(ctx, id, func() ([]drivers.Status, error) {
		if id != "" {
			status, err := l.status(ctx, id)
			return []drivers.Status{status}, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		var all []drivers.Status
		for _, status := range l.statuses {
			all = append(all, status)
		}
		return all, nil
	})
}
