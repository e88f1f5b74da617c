package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) forwardVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "forward JOB[.TASK] [LOCAL:]PORT...",
		Short: "reach ports of a running task from this machine",
		Long: "Reach TCP ports of a running task from this machine, on 127.0.0.1 here, through the servers: no port is opened\n" +
			"where it runs. Only what the task itself listens on is reached. LOCAL is another port here, 0 any that is free.\n" +
			"It goes on until Ctrl-C, or until the job has ended.",
		Example:           "  coinop forward 12 8080\n  coinop forward 12 18080:8080 5432\n  coinop forward 12.7 0:8888",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ports := make([]forwarded, len(args)-1)
			for i, arg := range args[1:] {
				var err error
				if ports[i], err = parseForward(arg); err != nil {
					return err
				}
			}
			q, err := a.taskQuery(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.forward(cmd.Context(), q, ports)
		},
	}
}

// forwarded is one port of a task, and of this machine.
type forwarded struct{ local, port uint16 }

func parseForward(arg string) (forwarded, error) {
	here, there, both := strings.Cut(arg, ":")
	if !both {
		there = here
	}
	local, err := strconv.ParseUint(here, 10, 16)
	port, perr := strconv.ParseUint(there, 10, 16)
	if err != nil || perr != nil || port == 0 {
		return forwarded{}, usageError{fmt.Errorf("%q is neither PORT nor LOCAL:PORT", arg)}
	}
	return forwarded{uint16(local), uint16(port)}, nil
}

// listening is what --json prints of a port.
type listening struct {
	Job   uint64 `json:"job"`
	Task  int32  `json:"task"`
	Local string `json:"local"`
	Port  uint16 `json:"port"`
}

// forward passes connections on until Ctrl-C or the job's end.
func (a *app) forward(ctx context.Context, q client.ExecQuery, ports []forwarded) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	job, err := c.Job(ctx, q.Job, a.viewKey(ctx, q.Job))
	if err != nil {
		return err
	}
	if job.State == "done" {
		return fmt.Errorf("job %d has ended", q.Job)
	}
	q.Task = max(q.Task, job.Tasks.First)
	f := &forwarding{app: a, api: c, query: q}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
		f.open.Wait()
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p.local))))
		if err != nil {
			return fmt.Errorf("listen here: %w; name another port: coinop forward %d 0:%d", err, q.Job, p.port)
		}
		listeners = append(listeners, l)
		line := listening{q.Job, q.Task, l.Addr().String(), p.port}
		if err := a.show(line, func() { a.say("%s is port %d of job %d", line.Local, line.Port, line.Job) }); err != nil {
			return err
		}
		f.open.Go(func() { f.accept(ctx, l, p.port) })
	}
	f.open.Go(func() {
		a.eachChange(ctx, q.Job, a.viewKey(ctx, q.Job), leftEvery, func(j client.Job, _ []client.Event) {
			if j.State == "done" {
				stop(fmt.Errorf("job %d has ended: %s", q.Job, or(j.Reason, j.State)))
			}
		})
	})
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // Ctrl-C is how it ends
}

// forwarding is the ports of one task, and what is connected to them.
type forwarding struct {
	app   *app
	api   *client.Client
	query client.ExecQuery
	open  sync.WaitGroup
}

func (f *forwarding) accept(ctx context.Context, l net.Listener, port uint16) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // it was closed
		}
		f.open.Go(func() {
			if err := f.pass(ctx, conn.(*net.TCPConn), port); err != nil && ctx.Err() == nil {
				about := fmt.Sprintf("port %d: ", port)
				f.app.note("%s%s", about, strings.TrimPrefix(explain(err), about)) // which the machine's own word begins with, too
			}
		})
	}
}

// pass is one connection. One that fails is reset, so that nobody takes what came of it for all.
func (f *forwarding) pass(ctx context.Context, conn *net.TCPConn, port uint16) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	q := f.query
	q.Connect = port
	code, message, err := execute(ctx, f.api, q, ends{in: gone{conn, cancel}, out: conn, err: io.Discard, outEnd: func() { _ = conn.CloseWrite() }})
	if err == nil && code != 0 {
		err = errors.New(message)
	}
	if err != nil {
		_ = conn.SetLinger(0)
	}
	return err
}

// gone reads a connection, and ends all when that is reset: its other direction is of no use to anybody either.
type gone struct {
	*net.TCPConn
	cancel func()
}

// Read is part of [io.Reader].
func (g gone) Read(p []byte) (int, error) {
	n, err := g.TCPConn.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		g.cancel()
	}
	return n, err
}
