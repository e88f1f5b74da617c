package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// cookie keeps people from starting a plugin by hand; it is no secret.
const cookieName, cookie = "COINOP_DRIVER_PLUGIN", "62d1c1ab"

func (c Contract) handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: uint(c.Version), MagicCookieKey: cookieName, MagicCookieValue: cookie}
}

// messageMax is above what Linux takes as a command and its environment, so that the refusal is Linux's.
const messageMax = 16 << 20

// adapter fits a contract into go-plugin: one of its sides is used in each process.
type adapter struct {
	goplugin.NetRPCUnsupportedPlugin
	register func(grpc.ServiceRegistrar)
}

func (a *adapter) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	a.register(s)
	return nil
}

func (a *adapter) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func (c Contract) sets(register func(grpc.ServiceRegistrar)) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{c.Version: {c.Name: &adapter{register: register}}}
}

// ServeConfig says what to serve.
type ServeConfig struct {
	Contract Contract
	Register func(grpc.ServiceRegistrar)
	Run      func(ctx context.Context) error // beside serving, until ctx ends
	Log      *slog.Logger                    // must survive the loss of what it writes to; nil: none
	Idle     time.Duration                   // a plugin that nobody has been connected to for so long ends; 0: ten minutes
}

// Serve is the whole of a plugin process: it offers its contract on a socket until its client ends it or stays away for too long.
// The client's death is no reason to end: the next one takes up where it left. Must be called once, from main.
func Serve(config ServeConfig) error {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Idle == 0 {
		config.Idle = 10 * time.Minute
	}
	// Standard error is a pipe to the agent. When the agent is killed, a write to it must be an error and no death.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	idle := &idleness{limit: config.Idle}
	idle.timer = time.AfterFunc(min(config.Idle, 30*time.Second), func() { // a client killed in the handshake never connects
		config.Log.Info("nobody is connected, ending")
		cancel()
	})
	defer idle.timer.Stop()
	ran := make(chan error, 1)
	go func() {
		ran <- config.Run(ctx)
		cancel()
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig:  config.Contract.handshake(),
			VersionedPlugins: config.Contract.sets(config.Register),
			Logger:           hclog.NewNullLogger(),
			GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
				return grpc.NewServer(append(options, grpc.StatsHandler(idle), grpc.MaxRecvMsgSize(messageMax))...)
			},
		})
	}()
	select {
	case <-served:
		cancel()
	case <-ctx.Done(): // go-plugin has no way to be told; the process ends with this function
	}
	if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s plugin: %w", config.Contract.Name, err)
	}
	return nil
}

// Asked says whether this process was started as a plugin.
func Asked() bool { return os.Getenv(cookieName) == cookie }

// idleness counts connections and lets the timer run while there are none.
type idleness struct {
	limit time.Duration
	timer *time.Timer

	mu          sync.Mutex
	connections int
}

func (i *idleness) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (i *idleness) HandleRPC(context.Context, stats.RPCStats)                         {}
func (i *idleness) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (i *idleness) HandleConn(_ context.Context, s stats.ConnStats) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		i.connections++
		i.timer.Stop()
	case *stats.ConnEnd:
		i.connections--
		if i.connections == 0 {
			i.timer.Reset(i.limit)
		}
	}
}
