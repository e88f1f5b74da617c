// Package plugin puts a driver into a process of its own, where it can be restarted without its caller or its tasks noticing.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
	"github.com/coinop/coinop/drivers/watch"
)

// Config says which plugin to keep running.
type Config struct {
	Dir     string   // absolute; made 0700: the socket, and who serves it
	Command []string // starts the plugin
	Env     []string // all that the plugin gets, beside what the handshake needs
	Stderr  io.Writer
	Log     *slog.Logger // nil: none
}

// Client is a drivers.Driver in another process. Calls wait for a plugin that is being started and are repeated after one that
// died, so a signal may arrive twice.
type Client struct {
	config Config

	mu      sync.Mutex
	link    *link
	failure error         // why there is no link, once a start has failed
	changed chan struct{} // closed and replaced when link or failure change
}

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
	if !filepath.IsAbs(config.Dir) || len(config.Command) == 0 {
		return nil, fmt.Errorf("driver plugin: %w: it needs an absolute folder and a command", drivers.ErrInvalid)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Stderr == nil {
		config.Stderr = io.Discard
	}
	return &Client{config: config, changed: make(chan struct{})}, nil
}

func (c *Client) set(l *link, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.failure = l, failure
	close(c.changed)
	c.changed = make(chan struct{})
}

// current waits for a plugin. If the last attempt to start one failed, it says so at once.
func (c *Client) current(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, failure, changed := c.link, c.failure, c.changed
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		if failure != nil {
			return nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, failure)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, context.Cause(ctx))
		}
	}
}

// call repeats a request until a plugin has answered it.
func (c *Client) call(ctx context.Context, request func(*link) error) error {
	for {
		l, err := c.current(ctx)
		if err != nil {
			return err
		}
		err = fromWire(request(l))
		if !errors.Is(err, drivers.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if err := c.replaced(ctx, l); err != nil {
			return err
		}
	}
}

// replaced waits until a link that failed is given up.
func (c *Client) replaced(ctx context.Context, l *link) error {
	for {
		c.mu.Lock()
		same, changed := c.link == l, c.changed
		c.mu.Unlock()
		if !same {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", drivers.ErrUnavailable, context.Cause(ctx))
		}
	}
}

// Describe implements drivers.Driver.
func (c *Client) Describe(ctx context.Context) (description drivers.Description, err error) {
	err = c.call(ctx, func(l *link) error {
		answer, err := l.api.Describe(ctx, &driverpb.DescribeRequest{})
		description = describeFromWire(answer)
		return err
	})
	return description, err
}

// Start implements drivers.Driver.
func (c *Client) Start(ctx context.Context, task drivers.Task) (status drivers.Status, err error) {
	err = c.call(ctx, func(l *link) error {
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
	return c.call(ctx, func(l *link) error {
		_, err := l.api.Control(ctx, &driverpb.ControlRequest{
			Id: id, Kind: int32(command.Kind), Signal: int32(command.Signal), Group: command.Group,
			KillDelayMillis: command.KillDelayMillis, Until: command.Until,
		})
		return err
	})
}

// Usage implements drivers.Driver.
func (c *Client) Usage(ctx context.Context, id string) (usage drivers.Usage, err error) {
	err = c.call(ctx, func(l *link) error {
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
	return c.call(ctx, func(l *link) error {
		_, err := l.api.Remove(ctx, &driverpb.RemoveRequest{Id: id})
		if err == nil {
			l.drop(ctx, id)
		}
		return err
	})
}

// Watch implements drivers.Driver. All watches are fed by one stream from the plugin.
func (c *Client) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	l, err := c.current(ctx)
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
