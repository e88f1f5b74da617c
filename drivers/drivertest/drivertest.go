// Package drivertest is the specification of drivers.Driver as a suite of checks that every driver passes.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
)

// Harness is one driver and what the checks need around it.
type Harness struct {
	Driver    func() drivers.Driver // the one to use now; another after Restart
	Now       func() int64          // the driver's CLOCK_BOOTTIME
	Advance   func(time.Duration)   // turns a clock that stands still; nil: it goes by itself
	Elsewhere func() drivers.Driver // one like it that knows nothing of its tasks; nil: itself, under another id
	Folder    func() (string, error)
	Exit      func(code int) []string // a command that ends at once
	Block     []string                // one that ends by SIGTERM only
	Stubborn  []string                // one that ends by SIGKILL only

	UID, GID  uint32
	AllowRoot bool
	Image     string                   // what every task runs in, for a driver that runs images: /bin/sh and the usual programs, nothing else, and root
	Programs  bool                     // the machine's own programs can be run: the checks of real processes apply
	Restart   func() error             // kills the driver's process; it comes back by itself. nil: it has none
	Leaks     func() ([]string, error) // what is left of tasks that were removed
	Timeout   time.Duration            // of each check; 0: a minute, of which none takes a tenth on an idle machine
	Many      int                      // how many tasks "many" are; 0: 60
	Machine   string                   // this machine's loopback, as a task with the network calls it; "": 127.0.0.1
	Mark      string                   // a NAME=value in every task's environment, by which Leaks knows its processes
}

// Check is one promise of the contract.
type Check struct {
	Name string
	// Needs says whether the check applies to a driver at all.
	Needs func(Harness, drivers.Description) bool
	Run   func(*Session) error
}

// Session is one check under way.
type Session struct {
	Harness
	ctx         context.Context
	description drivers.Description
	prefix      string
	count       atomic.Int64
	folders     []string
	ids         []string
}

// Checks lists all of them, those for any driver first.
func Checks() []Check {
	all := append(lifeChecks(), leaseChecks()...)
	all = append(all, processChecks()...)
	all = append(all, limitChecks()...)
	all = append(all, execChecks()...)
	all = append(all, connectChecks()...)
	all = append(all, imageChecks()...)
	all = append(all, shareChecks()...)
	all = append(all, deviceChecks()...)
	all = append(all, suspendChecks()...)
	all = append(all, moveChecks()...)
	return append(all, endChecks()...)
}

// Run runs the suite on one driver.
func Run(t *testing.T, h Harness) {
	description, err := h.Driver().Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			if check.Needs != nil && !check.Needs(h, description) {
				t.Skip("does not apply to this driver here")
			}
			if err := runCheck(t.Context(), h, description, check, i); err != nil {
				t.Error(err)
			}
		})
	}
}

// Failing runs the checks named, or all, and returns the names of those that fail: for drivers that are meant to.
func Failing(ctx context.Context, h Harness, names ...string) ([]string, error) {
	description, err := h.Driver().Describe(ctx)
	if err != nil {
		return nil, err
	}
	var failing []string
	for i, check := range Checks() {
		wanted := len(names) == 0 || slices.Contains(names, check.Name)
		if !wanted || check.Needs != nil && !check.Needs(h, description) {
			continue
		}
		if err := runCheck(ctx, h, description, check, i); err != nil {
			failing = append(failing, check.Name)
		}
	}
	return failing, nil
}

func runCheck(ctx context.Context, h Harness, d drivers.Description, check Check, number int) error {
	if h.Timeout == 0 {
		h.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	s := &Session{Harness: h, ctx: ctx, description: d, prefix: fmt.Sprintf("c%d", number)}
	err := check.Run(s)
	return errors.Join(err, s.close())
}

// close removes every task of the check, and expects nothing to remain. It has time of its own: the tasks of a check that has used
// up its time are there all the same, and their folders are about to go.
func (s *Session) close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.Timeout)
	defer cancel()
	var stay error
	for _, id := range s.ids {
		if err := s.Driver().Remove(ctx, id); err != nil {
			stay = errors.Join(stay, fmt.Errorf("remove %s afterwards: %w", id, err))
		}
	}
	if stay != nil {
		return stay
	}
	for _, folder := range s.folders {
		entries, err := os.ReadDir(filepath.Join(folder, driverDir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("after Remove there still is %s in the task's folder", entries[0].Name())
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	if s.Leaks == nil {
		return nil
	}
	left, err := s.Leaks()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("after Remove there still is: %q", left)
	}
	return err
}

// driverDir is what the tests call Task.Dir. It is the driver's to make.
const driverDir = "driver"

// Task makes a task with a fresh id and folder.
func (s *Session) task(argv ...string) (drivers.Task, error) {
	folder, err := s.Folder()
	if err != nil {
		return drivers.Task{}, err
	}
	id := fmt.Sprintf("%s.%d", s.prefix, s.count.Add(1))
	s.folders = append(s.folders, folder)
	s.ids = append(s.ids, id)
	task := drivers.Task{
		ID: id, Dir: filepath.Join(folder, driverDir), WorkDir: "/", Argv: argv, UID: s.UID, GID: s.GID, AllowRoot: s.AllowRoot,
		Image: s.Image, Env: []string{"PATH=/usr/bin:/bin"}, KillDelayMillis: 60_000,
	}
	if s.Mark != "" {
		task.Env = append(task.Env, s.Mark)
	}
	if s.description.WorkDir != "" { // then it is shown by itself, and not as a part of all
		task.WorkDir = filepath.Join(folder, "work")
		if err := errors.Join(os.Mkdir(task.WorkDir, 0o755), os.Chown(task.WorkDir, int(s.UID), int(s.GID))); err != nil {
			return drivers.Task{}, err
		}
	}
	return task, nil
}

// seenWorkDir is where a task finds its work folder, and seenUser who it finds itself to be.
func (s *Session) seenWorkDir() string {
	if s.description.WorkDir != "" {
		return s.description.WorkDir
	}
	return "/"
}

func (s *Session) seenUser() (uid, gid uint32) {
	if s.description.Images {
		return 0, 0
	}
	return s.UID, s.GID
}

func (s *Session) shell(script string) (drivers.Task, error) { return s.task("/bin/sh", "-c", script) }

func (s *Session) start(task drivers.Task) (drivers.Status, error) {
	return s.Driver().Start(s.ctx, task)
}

// await watches until a status satisfies the condition. A watch that ends early is begun anew, as the contract asks for.
func (s *Session) await(id, what string, condition func(drivers.Status) bool) (drivers.Status, error) {
	var last drivers.Status
	for s.ctx.Err() == nil {
		statuses, err := s.Driver().Watch(s.ctx, id)
		if errors.Is(err, drivers.ErrUnavailable) {
			continue
		}
		if err != nil {
			return last, err
		}
		for last = range statuses {
			if condition(last) {
				return last, nil
			}
		}
		if last.State.Final() {
			break
		}
	}
	return last, fmt.Errorf("task %s was never %s; last: %+v", id, what, last)
}

func (s *Session) awaitState(id string, state drivers.State) (drivers.Status, error) {
	return s.await(id, string(state), func(st drivers.Status) bool { return st.State == state })
}

func (s *Session) awaitEnd(id string) (drivers.Status, error) {
	return s.await(id, "at its end", func(st drivers.Status) bool { return st.State.Final() })
}

// run starts a task and waits for its end.
func (s *Session) run(task drivers.Task) (drivers.Status, error) {
	if _, err := s.start(task); err != nil {
		return drivers.Status{}, err
	}
	return s.awaitEnd(task.ID)
}

// running starts a task that blocks, and waits until it runs.
func (s *Session) running(task drivers.Task) (drivers.Status, error) {
	if _, err := s.start(task); err != nil {
		return drivers.Status{}, err
	}
	return s.awaitState(task.ID, drivers.StateRunning)
}

func (s *Session) control(id string, c drivers.Control) error {
	return s.Driver().Control(s.ctx, id, c)
}

func (s *Session) pass(by time.Duration) {
	if s.Advance != nil {
		s.Advance(by)
	}
}

func supports(d drivers.Description, limit drivers.Limit) bool {
	for _, l := range d.Limits {
		if l.Limit == limit {
			return l.Supported
		}
	}
	return false
}

func expect(what string, got, want any) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func expectEnd(st drivers.Status, code, signal int, cause drivers.ExitCause) error {
	if st.State != drivers.StateExited || st.Exit.Code != code || st.Exit.Signal != signal || st.Exit.Cause != cause {
		return fmt.Errorf("ended as %s %+v, want code %d, signal %d, cause %s", st.State, st.Exit, code, signal, cause)
	}
	if st.StartedBoot <= 0 || st.EndedBoot < st.StartedBoot {
		return fmt.Errorf("ran from %d to %d", st.StartedBoot, st.EndedBoot)
	}
	return nil
}
