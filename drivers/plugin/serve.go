package plugin

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
	"github.com/coinop/coinop/drivers/plugin/keep"
)

// contract is package drivers' own, as plugins serve it.
func contract() keep.Contract {
	return keep.Contract{
		Name: "driver", Version: drivers.ProtocolVersion, Errors: kinds(),
		Hello: func(ctx context.Context, conn *grpc.ClientConn) (string, int, error) {
			d, err := driverpb.NewDriverClient(conn).Describe(ctx, &driverpb.DescribeRequest{})
			return d.GetName(), int(d.GetProtocolVersion()), err
		},
	}
}

// Runner is a driver with a life of its own.
type Runner interface {
	drivers.Driver
	Run(ctx context.Context) error
}

// ServeConfig says what to serve.
type ServeConfig struct {
	Driver  Runner
	Version string        // of the driver, where it says none itself
	Log     *slog.Logger  // must survive the loss of what it writes to; nil: none
	Idle    time.Duration // a plugin that nobody has been connected to for so long ends; 0: ten minutes
}

// Serve is the whole of a plugin process, as keep.Serve says. Must be called once, from main.
func Serve(config ServeConfig) error {
	return keep.Serve(keep.ServeConfig{
		Contract: contract(), Run: config.Driver.Run, Log: config.Log, Idle: config.Idle,
		Register: func(s grpc.ServiceRegistrar) {
			driverpb.RegisterDriverServer(s, &server{driver: config.Driver, version: config.Version})
		},
	})
}

// Asked says whether this process was started as a plugin.
func Asked() bool { return keep.Asked() }
