// Package plugin puts a provider of GPUs into a process of its own, which a faulty library may end without harm to its caller.
package plugin

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/drivers/gpu/plugin/gpupb"
	"github.com/coinop/coinop/drivers/plugin/keep"
)

// contract is package gpu's own, as plugins serve it.
func contract() keep.Contract {
	return keep.Contract{
		Name: "gpu", Version: gpu.ProtocolVersion,
		Errors: keep.Errors{
			codes.NotFound:           drivers.ErrNoTask,
			codes.InvalidArgument:    drivers.ErrInvalid,
			codes.Unavailable:        drivers.ErrUnavailable,
			codes.ResourceExhausted:  gpu.ErrNoRoom,
			codes.FailedPrecondition: gpu.ErrNone,
			codes.DeadlineExceeded:   context.DeadlineExceeded,
			codes.Canceled:           context.Canceled,
		},
		Hello: func(ctx context.Context, conn *grpc.ClientConn) (string, int, error) {
			i, err := gpupb.NewProviderClient(conn).Inventory(ctx, &gpupb.InventoryRequest{})
			return "gpu", int(i.GetProtocolVersion()), err
		},
	}
}

// Runner is a provider with a life of its own.
type Runner interface {
	gpu.Provider
	Run(ctx context.Context) error
}

// ServeConfig says what to serve.
type ServeConfig struct {
	Provider Runner
	Log      *slog.Logger  // must survive the loss of what it writes to; nil: none
	Idle     time.Duration // a plugin that nobody has been connected to for so long ends; 0: ten minutes
}

// Serve is the whole of a plugin process, as keep.Serve says. Must be called once, from main.
func Serve(config ServeConfig) error {
	return keep.Serve(keep.ServeConfig{
		Contract: contract(), Run: config.Provider.Run, Log: config.Log, Idle: config.Idle,
		Register: func(s grpc.ServiceRegistrar) { gpupb.RegisterProviderServer(s, &server{provider: config.Provider}) },
	})
}

// server offers a provider over gRPC.
type server struct {
	gpupb.UnimplementedProviderServer
	provider gpu.Provider
}

func (s *server) Inventory(ctx context.Context, _ *gpupb.InventoryRequest) (*gpupb.InventoryResponse, error) {
	i, err := s.provider.Inventory(ctx)
	if err != nil {
		return nil, contract().Errors.ToWire(err)
	}
	return inventoryToWire(i), nil
}

func (s *server) Allocate(ctx context.Context, r *gpupb.AllocateRequest) (*gpupb.AllocateResponse, error) {
	g, err := s.provider.Allocate(ctx, gpu.Request{
		Task: r.GetTask(), Kind: gpu.Kind(r.GetKind()), Count: int(r.GetCount()), Model: r.GetModel(), MemoryBytes: r.GetMemoryBytes(),
		Profile: r.GetProfile(), NVLink: r.GetNvlink(),
	})
	if err != nil {
		return nil, contract().Errors.ToWire(err)
	}
	return grantToWire(g), nil
}

func (s *server) Release(ctx context.Context, r *gpupb.ReleaseRequest) (*gpupb.ReleaseResponse, error) {
	u, err := s.provider.Release(ctx, r.GetTask())
	if err != nil {
		return nil, contract().Errors.ToWire(err)
	}
	return &gpupb.ReleaseResponse{Usage: usageToWire(u)}, nil
}

func (s *server) Usage(ctx context.Context, _ *gpupb.UsageRequest) (*gpupb.UsageResponse, error) {
	all, err := s.provider.Usage(ctx)
	if err != nil {
		return nil, contract().Errors.ToWire(err)
	}
	answer := &gpupb.UsageResponse{Usage: make(map[string]*gpupb.Usage, len(all))}
	for task, u := range all {
		answer.Usage[task] = usageToWire(u)
	}
	return answer, nil
}

func (s *server) Watch(_ *gpupb.WatchRequest, stream gpupb.Provider_WatchServer) error {
	events, err := s.provider.Watch(stream.Context())
	if err != nil {
		return contract().Errors.ToWire(err)
	}
	if err := stream.Send(&gpupb.WatchResponse{}); err != nil {
		return err
	}
	for e := range events {
		sent := &gpupb.Event{Device: e.Device, Sick: e.Sick, Xid: int32(e.XID), Reason: e.Reason, Tasks: e.Tasks}
		if err := stream.Send(&gpupb.WatchResponse{Event: sent}); err != nil {
			return err // the stream's context has ended, and with it the watch
		}
	}
	return nil
}
