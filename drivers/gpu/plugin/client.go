package plugin

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/plugin/gpupb"
	"github.com/coinop/coinop/drivers/plugin/keep"
)

// Client is a gpu.Provider in another process. Calls wait for a plugin that is being started and are repeated after one that died.
type Client struct{ *keep.Keeper[link] }

var _ gpu.Provider = (*Client)(nil)

type link struct{ api gpupb.ProviderClient }

// New checks the configuration. Nothing is started before Run.
func New(config keep.Config) (*Client, error) {
	keeper, err := keep.New(config, contract(), func(ctx context.Context, conn *grpc.ClientConn, begun func(*link)) error {
		l := &link{api: gpupb.NewProviderClient(conn)}
		stream, err := l.api.Watch(ctx, &gpupb.WatchRequest{}) // ends with the plugin
		if err != nil {
			return contract().Errors.FromWire(err)
		}
		for first := true; ; first = false {
			if _, err := stream.Recv(); err != nil {
				return contract().Errors.FromWire(err)
			}
			if first {
				begun(l)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &Client{keeper}, nil
}

// answerWithin is how long a plugin has for any question: a failing GPU can hold up NVIDIA's library for most of a minute. One that
// takes longer is ended, as is one that does not say that it lives.
const answerWithin = time.Minute

// Inventory implements gpu.Provider.
func (c *Client) Inventory(ctx context.Context) (inventory gpu.Inventory, err error) {
	err = c.CallWithin(ctx, answerWithin, func(ctx context.Context, l *link) error {
		i, err := l.api.Inventory(ctx, &gpupb.InventoryRequest{})
		inventory = inventoryFromWire(i)
		return err
	})
	return inventory, err
}

// Allocate implements gpu.Provider.
func (c *Client) Allocate(ctx context.Context, r gpu.Request) (grant gpu.Grant, err error) {
	err = c.CallWithin(ctx, answerWithin, func(ctx context.Context, l *link) error {
		g, err := l.api.Allocate(ctx, &gpupb.AllocateRequest{
			Task: r.Task, Kind: string(r.Kind), Count: int32(r.Count), Model: r.Model, MemoryBytes: r.MemoryBytes, Profile: r.Profile, Nvlink: r.NVLink,
		})
		grant = grantFromWire(g)
		return err
	})
	return grant, err
}

// Release implements gpu.Provider.
func (c *Client) Release(ctx context.Context, task string) (usage gpu.Usage, err error) {
	err = c.CallWithin(ctx, answerWithin, func(ctx context.Context, l *link) error {
		answer, err := l.api.Release(ctx, &gpupb.ReleaseRequest{Task: task})
		usage = usageFromWire(answer.GetUsage())
		return err
	})
	return usage, err
}

// Usage implements gpu.Provider.
func (c *Client) Usage(ctx context.Context) (usage map[string]gpu.Usage, err error) {
	err = c.CallWithin(ctx, answerWithin, func(ctx context.Context, l *link) error {
		answer, err := l.api.Usage(ctx, &gpupb.UsageRequest{})
		usage = make(map[string]gpu.Usage, len(answer.GetUsage()))
		for task, u := range answer.GetUsage() {
			usage[task] = usageFromWire(u)
		}
		return err
	})
	return usage, err
}

// Watch implements gpu.Provider. The channel is closed when the plugin is gone.
func (c *Client) Watch(ctx context.Context) (<-chan gpu.Event, error) {
	l, err := c.Current(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := l.api.Watch(ctx, &gpupb.WatchRequest{})
	if err != nil {
		return nil, contract().Errors.FromWire(err)
	}
	if _, err := stream.Recv(); err != nil {
		return nil, contract().Errors.FromWire(err)
	}
	events := make(chan gpu.Event)
	go func() {
		defer close(events)
		for {
			answer, err := stream.Recv()
			if err != nil {
				return // the plugin is gone, or ctx has ended
			}
			e := answer.GetEvent()
			select {
			case events <- gpu.Event{Device: e.GetDevice(), Sick: e.GetSick(), XID: int(e.GetXid()), Reason: e.GetReason(), Tasks: e.GetTasks()}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}
