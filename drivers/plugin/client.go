// Package plugin puts a driver into a process of its own, where it can be restarted without its caller or its tasks noticing.
package plugin

import (
	"context"
	"sync"

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

	mu       sync.Mutex
	statuses map[string]drivers.Status
	removed  map[string]bool // ids whose late statuses are not to be believed
}

// New checks the configuration. Nothing is started before Run.
func New(config Config) (*Client, error) {
	keeper, err := keep.New(config, contract(), func(ctx context.Context, conn *grpc.ClientConn, begun func(*link)) error {
		l := &link{api: driverpb.NewDriverClient(conn), statuses: map[string]drivers.Status{}, removed: map[string]bool{}}
		return l.follow(ctx, func() { begun(l) })
	})
	if err != nil {
		return nil, err
	}
	return &Client{keeper}, nil
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
			status = l.older(statusFromWire(answer.GetStatus()))
		}
		return err
	})
	return status, err
}

// Control implements drivers.Driver.
func (c *Client) Control(ctx context.Context, id string, command drivers.Control) error {
	return c.Call(ctx, func(l *link) error {
		_, err := l.api.Control(ctx, &driverpb.ControlRequest{
			Id: id, Kind: int32(command.Kind), Signal: int32(command.Signal), Group: command.Group,
			KillDelayMillis: command.KillDelayMillis, Until: command.Until,
		})
		return err
	})
}

// Usage implements drivers.Driver.
func (c *Client) Usage(ctx context.Context, id string) (usage drivers.Usage, err error) {
	err = c.Call(ctx, func(l *link) error {
		u, err := l.api.Usage(ctx, &driverpb.UsageRequest{Id: id})
		usage = drivers.Usage{
			CPUMillis: u.GetCpuMillis(), MemoryPeakBytes: u.GetMemoryPeakBytes(), PidsPeak: u.GetPidsPeak(), LogBytes: u.GetLogBytes(),
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
