package plugin

import (
	"cmp"
	"context"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
)

// server offers a driver over gRPC.
type server struct {
	driverpb.UnimplementedDriverServer
	driver  drivers.Driver
	version string
}

func (s *server) Describe(ctx context.Context, _ *driverpb.DescribeRequest) (*driverpb.DescribeResponse, error) {
	d, err := s.driver.Describe(ctx)
	if err != nil {
		return nil, toWire(err)
	}
	d.Version = cmp.Or(d.Version, s.version)
	return describeToWire(d), nil
}

func (s *server) Start(ctx context.Context, r *driverpb.StartRequest) (*driverpb.StartResponse, error) {
	status, err := s.driver.Start(ctx, taskFromWire(r))
	if err != nil {
		return nil, toWire(err)
	}
	return &driverpb.StartResponse{Status: statusToWire(status)}, nil
}

func (s *server) Control(ctx context.Context, r *driverpb.ControlRequest) (*driverpb.ControlResponse, error) {
	return &driverpb.ControlResponse{}, toWire(s.driver.Control(ctx, r.GetId(), controlFromWire(r)))
}

func (s *server) Watch(r *driverpb.WatchRequest, stream driverpb.Driver_WatchServer) error {
	statuses, err := s.driver.Watch(stream.Context(), r.GetId())
	if err != nil {
		return toWire(err)
	}
	if r.GetId() == "" { // says that the watch has begun, even if there is no task yet
		if err := stream.Send(&driverpb.WatchResponse{}); err != nil {
			return err
		}
	}
	for status := range statuses {
		if err := stream.Send(&driverpb.WatchResponse{Status: statusToWire(status)}); err != nil {
			return err // the stream's context has ended, and with it the watch
		}
	}
	return nil
}

func (s *server) Usage(ctx context.Context, r *driverpb.UsageRequest) (*driverpb.UsageResponse, error) {
	u, err := s.driver.Usage(ctx, r.GetId())
	if err != nil {
		return nil, toWire(err)
	}
	return &driverpb.UsageResponse{
		CpuMillis: u.CPUMillis, MemoryPeakBytes: u.MemoryPeakBytes, PidsPeak: u.PidsPeak, LogBytes: u.LogBytes,
	}, nil
}

func (s *server) Remove(ctx context.Context, r *driverpb.RemoveRequest) (*driverpb.RemoveResponse, error) {
	return &driverpb.RemoveResponse{}, toWire(s.driver.Remove(ctx, r.GetId()))
}
