// Package keep keeps a plugin's process running, finds it again, and serves what it is asked for.
package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/coinop/coinop/drivers"
)

// Contract is what plugins of a kind serve. Both processes have the same.
type Contract struct {
	Name    string // of the kind: driver
	Version int
	Errors  Errors
	// Hello asks one question, by which the plugin shows that it lives, and returns the version that it speaks.
	Hello func(ctx context.Context, conn *grpc.ClientConn) (name string, version int, err error)
}

// Config says which plugin to keep running.
type Config struct {
	Dir     string   // absolute; made 0700: the socket, and who serves it
	Command []string // starts the plugin
	Env     []string // all that the plugin gets, beside what the handshake needs
	Stderr  io.Writer
	Log     *slog.Logger // nil: none
	Name    string       // what it has to call itself; "": anything

	Ask, Answer time.Duration // how often it is asked whether it lives, and how long it has to say so; 0: ten seconds, and thirty
}

// Keeper keeps one plugin process, with which its user has a link, of a type of its own.
type Keeper[L any] struct {
	config   Config
	contract Contract
	live     func(ctx context.Context, conn *grpc.ClientConn, begun func(*L)) error

	mu      sync.Mutex
	link    *L
	failure error         // why there is no link, once a start has failed
	end     func()        // of the link's process
	broken  error         // what a process was ended for, until somebody has asked
	accused *L            // its link
	changed chan struct{} // closed and replaced when link or failure change
}

// New checks the configuration. Nothing is started before Run. live lives through one connection until it breaks, and calls begun
// when it stands.
func New[L any](config Config, contract Contract, live func(ctx context.Context, conn *grpc.ClientConn, begun func(*L)) error) (*Keeper[L], error) {
	if !filepath.IsAbs(config.Dir) || len(config.Command) == 0 {
		return nil, fmt.Errorf("%s plugin: %w: it needs an absolute folder and a command", contract.Name, drivers.ErrInvalid)
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Stderr == nil {
		config.Stderr = io.Discard
	}
	config.Ask, config.Answer = cmp.Or(config.Ask, askEvery), cmp.Or(config.Answer, answerWithin)
	return &Keeper[L]{config: config, contract: contract, live: live, changed: make(chan struct{})}, nil
}

func (c *Keeper[L]) set(l *L, failure error) { c.setLink(l, failure, nil) }

func (c *Keeper[L]) setLink(l *L, failure error, end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.failure, c.end = l, failure, end
	close(c.changed)
	c.changed = make(chan struct{})
}

// Accuse ends a link's process for something that cannot be. Broken says it once; the process is started again, as after a
// death.
func (c *Keeper[L]) Accuse(l *L, why error) error {
	why = fmt.Errorf("%w: %w", drivers.ErrBroken, why)
	c.mu.Lock()
	if c.link == l && c.broken == nil {
		c.broken, c.accused = why, l
	}
	c.mu.Unlock()
	c.End(l, why)
	return why
}

// End ends a link's process, which is then started again.
func (c *Keeper[L]) End(l *L, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.config.Log.Error("a "+c.contract.Name+" plugin is ended", "err", why)
		c.end()
	}
}

// Broken says what a process was accused of since it was last asked, and has been ended for.
func (c *Keeper[L]) Broken(ctx context.Context) error {
	c.mu.Lock()
	why, accused := c.broken, c.accused
	c.mu.Unlock()
	if why == nil {
		return nil
	}
	if err := c.replaced(ctx, accused); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken, c.accused = nil, nil
	return why
}

// Current waits for a plugin. If the last attempt to start one failed, it says so at once.
func (c *Keeper[L]) Current(ctx context.Context) (*L, error) {
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

// Call repeats a request until a plugin has answered it.
func (c *Keeper[L]) Call(ctx context.Context, request func(*L) error) error {
	for {
		l, err := c.Current(ctx)
		if err != nil {
			return err
		}
		err = c.contract.Errors.FromWire(request(l))
		if ctx.Err() != nil || !errors.Is(err, drivers.ErrUnavailable) && !c.cutOff(l, err) {
			return err
		}
		if err := c.replaced(ctx, l); err != nil {
			return err
		}
	}
}

// cutOff says whether a request was not answered because its connection was closed under it, as is done when a link is given up.
func (c *Keeper[L]) cutOff(l *L, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != l && errors.Is(err, context.Canceled)
}

// CallWithin is Call for what has its time. A plugin that takes longer hangs, and is ended.
func (c *Keeper[L]) CallWithin(ctx context.Context, most time.Duration, request func(context.Context, *L) error) error {
	return c.Call(ctx, func(l *L) error {
		limited, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		err := request(limited, l)
		if limited.Err() != nil && ctx.Err() == nil {
			c.End(l, fmt.Errorf("it has not answered for %s", most))
			return c.contract.Errors.ToWire(drivers.ErrUnavailable)
		}
		return err
	})
}

// replaced waits until a link that failed is given up.
func (c *Keeper[L]) replaced(ctx context.Context, l *L) error {
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
