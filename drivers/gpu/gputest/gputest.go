// Package gputest is the specification of gpu.Provider as a suite of checks, for a machine whose GPUs can be made to fail.
package gputest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers/gpu"
)

// Machine is what the GPUs under test let a test do. It has four A100 of 40 GB, 0 to 3, joined in pairs by NVLink, and four L4, 4 to 7.
type Machine interface {
	Reset() error                                    // as if nothing had ever happened to it
	Use(gpu, percent int) error                      // how busy it is
	Burn(gpu int, millijoules int64) error           // energy, at once; from now on it takes none by itself
	Start(gpu, instance, pid int, bytes int64) error // a process on it, or in its MIG instance (-1: none)
	Stop(gpu, pid int) error                         // and away
	XID(gpu, instance, xid int) error                // the driver reports an error
	DoubleBit(gpu int) error                         // its memory fails
	Set(gpu int, fact string, value any) error       // as testbed/nvml has them
	Get(gpu int, fact string) (value string, err error)
	Instances(gpu int) (int, error)
	Fail(function string, code int) error // of the library; 0: no more
}

// Setting is how the provider is configured for a check.
type Setting struct {
	MIG      bool
	Shares   int
	Settings gpu.Settings
}

// Harness is a provider and its machine.
type Harness struct {
	Machine Machine
	Timeout time.Duration // of each check; 0: a minute, of which none takes a tenth on an idle machine
	// Open starts the provider with nothing allocated. Restart ends it without warning and starts it again.
	Open func(Setting) (provider gpu.Provider, restart func() (gpu.Provider, error), end func(), err error)
}

// Check is one promise of the contract.
type Check struct {
	Name    string
	Setting Setting
	Run     func(*Session) error
}

// Session is one check under way.
type Session struct {
	Machine
	gpu.Provider
	ctx     context.Context
	restart func() (gpu.Provider, error)
}

// Checks lists all of them.
func Checks() []Check {
	return slices.Concat(wholeChecks(), sliceChecks(), shareChecks(), usageChecks(), healthChecks())
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			if err := runCheck(t.Context(), h, check); err != nil {
				t.Error(err)
			}
		})
	}
}

// Failing runs the checks named, and returns the names of those that fail: for providers that are meant to.
func Failing(ctx context.Context, h Harness, names ...string) []string {
	var failing []string
	for _, check := range Checks() {
		if !slices.Contains(names, check.Name) {
			continue
		}
		if err := runCheck(ctx, h, check); err != nil {
			failing = append(failing, check.Name)
		}
	}
	return failing
}

func runCheck(ctx context.Context, h Harness, check Check) error {
	if h.Timeout == 0 {
		h.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	if err := h.Machine.Reset(); err != nil {
		return err
	}
	provider, restart, end, err := h.Open(check.Setting)
	if err != nil {
		return err
	}
	defer end()
	return check.Run(&Session{Machine: h.Machine, Provider: provider, ctx: ctx, restart: restart})
}

func (s *Session) again() error {
	provider, err := s.restart()
	s.Provider = provider
	return err
}

// get allocates and expects success.
func (s *Session) get(r gpu.Request) (gpu.Grant, error) {
	g, err := s.Allocate(s.ctx, r)
	if err != nil {
		return g, fmt.Errorf("allocate %+v: %w", r, err)
	}
	return g, nil
}

// all allocates one after the other.
func (s *Session) all(requests ...gpu.Request) (grants []gpu.Grant, err error) {
	for _, r := range requests {
		g, err := s.get(r)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// refused expects an error of a kind.
func (s *Session) refused(r gpu.Request, kind error) error {
	if g, err := s.Allocate(s.ctx, r); !errors.Is(err, kind) {
		return fmt.Errorf("allocate %+v: got %+v and %v, want %v", r, g, err, kind)
	}
	return nil
}

// release expects that all are known.
func (s *Session) release(tasks ...string) error {
	for _, task := range tasks {
		if _, err := s.Release(s.ctx, task); err != nil {
			return fmt.Errorf("release %s: %w", task, err)
		}
	}
	return nil
}

func (s *Session) device(index int) (gpu.Device, error) {
	i, err := s.Inventory(s.ctx)
	if err != nil {
		return gpu.Device{}, err
	}
	for _, d := range i.Devices {
		if d.Index == index {
			return d, nil
		}
	}
	return gpu.Device{}, fmt.Errorf("GPU %d is not in %+v", index, i)
}

func (s *Session) index(g gpu.Grant) (int, error) {
	i, err := s.Inventory(s.ctx)
	if err != nil {
		return 0, err
	}
	for _, d := range i.Devices {
		if d.ID == g.Devices[0].Device {
			return d.Index, nil
		}
	}
	return 0, fmt.Errorf("the grant's GPU %s is not in the inventory", g.Devices[0].Device)
}

// until asks again and again.
func (s *Session) until(what string, condition func() (bool, error)) error {
	for {
		ok, err := condition()
		if ok || err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return fmt.Errorf("never: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// state waits for a GPU to get into a state.
func (s *Session) state(index int, want gpu.State) error {
	return s.until(fmt.Sprintf("GPU %d is %s", index, want), func() (bool, error) {
		d, err := s.device(index)
		return d.State == want, err
	})
}

// steps runs until the first error.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func expect(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
