package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/fake"
	"github.com/coinop/coinop/drivers/shim"
)

// liar is a driver that says what cannot be, once a task was given to it.
type liar struct {
	*fake.Driver
	lie   string
	lies  chan drivers.Status
	asked int
}

func newLiar(lie string) *liar {
	return &liar{Driver: fake.New(fake.Config{Start: shim.Boottime()}), lie: lie, lies: make(chan drivers.Status, 8)}
}

func (l *liar) Start(ctx context.Context, t drivers.Task) (drivers.Status, error) {
	s, err := l.Driver.Start(ctx, t)
	over, again := s, s
	over.State, over.EndedBoot, over.Exit = drivers.StateExited, s.StartedBoot, drivers.Exit{Cause: drivers.CauseExited}
	switch l.lie {
	case "it goes backwards":
		l.lies <- over
		l.lies <- s
	case "its start moves":
		again.StartedBoot -= 5
		l.lies <- again
	case "an exit without a start":
		over.StartedBoot = 0
		l.lies <- over
	case "it starts in the future":
		again.StartedBoot += int64(time.Hour)
		l.lies <- again
	case "it answers about another":
		s.ID = "another"
	}
	return s, err
}

func (l *liar) Usage(ctx context.Context, id string) (drivers.Usage, error) {
	u, err := l.Driver.Usage(ctx, id)
	l.asked++
	switch {
	case l.lie == "its usage shrinks" && l.asked == 1:
		u.LogBytes = 100
	case l.lie == "more than all processors":
		u.CPUMillis = 1 << 40
	}
	return u, err
}

func (l *liar) Watch(ctx context.Context, id string) (<-chan drivers.Status, error) {
	truth, err := l.Driver.Watch(ctx, id)
	if err != nil || id != "" {
		return truth, err
	}
	both := make(chan drivers.Status)
	go func() {
		defer close(both)
		for {
			var s drivers.Status
			var open bool
			select {
			case s, open = <-truth:
				if !open {
					return
				}
			case s = <-l.lies:
			}
			select {
			case both <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	return both, nil
}

// A plugin that lies is ended and started again; who watches it is told once that nothing that it said counts.
func TestALiarIsEnded(t *testing.T) {
	for _, lie := range []string{"it goes backwards", "its start moves", "an exit without a start", "it starts in the future",
		"it answers about another", "its usage shrinks", "more than all processors"} {
		t.Run(lie, func(t *testing.T) {
			dir := t.TempDir()
			config := pluginConfig(t, "liar "+lie, dir)
			client := run(t, config)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			news, err := client.Watch(ctx, "")
			if err != nil {
				t.Fatal(err)
			}
			before := pid(t, config)
			task := drivers.Task{ID: "task", Dir: filepath.Join(dir, "task"), WorkDir: "/", Argv: []string{"block"}}
			usage := strings.Contains(lie, "usage") || strings.Contains(lie, "processors")
			if usage {
				task.Argv = []string{"exit", "0"}
			}
			_, err = client.Start(ctx, task)
			for usage && err == nil {
				_, err = client.Usage(ctx, task.ID)
			}
			if err != nil && !errors.Is(err, drivers.ErrBroken) {
				t.Error(err)
			}
			for range news { // ends with the plugin
			}
			if _, err := client.Watch(ctx, ""); !errors.Is(err, drivers.ErrBroken) {
				t.Errorf("who watches hears: %v", err)
			}
			if _, err := client.Watch(ctx, ""); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if _, err := client.Describe(ctx); err != nil || pid(t, config) == before {
				t.Errorf("it was not started again: %v", err)
			}
		})
	}
}

// A plugin that is there and says nothing is ended; its tasks go on.
func TestAPluginThatHangsIsEnded(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "process", dir)
	config.Ask, config.Answer = 50*time.Millisecond, 2*time.Second
	client := run(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	task := drivers.Task{ID: "task", Dir: filepath.Join(dir, "task"), WorkDir: "/", Argv: []string{"sleep", "1000"}, AllowRoot: true}
	if _, err := client.Start(ctx, task); err != nil {
		t.Fatal(err)
	}
	first := pid(t, config)
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for stopped := false; !stopped; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", first))
		if err != nil {
			t.Fatal(err)
		}
		stopped = strings.Contains(string(stat), ") T ")
	}
	s, err := client.Start(ctx, task)
	if err != nil || s.State.Final() || pid(t, config) == first {
		t.Errorf("after plugin %d hung, now %d: %+v, %v", first, pid(t, config), s, err)
	}
	if err := client.Remove(ctx, task.ID); err != nil {
		t.Error(err)
	}
}

// A plugin that does not start is tried again, more and more seldom, and each caller hears why.
func TestAPluginThatDoesNotStartIsTriedMoreAndMoreSeldom(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "fake", dir)
	tries := filepath.Join(dir, "tries")
	config.Command = []string{"/bin/sh", "-c", `echo >>"$0"; exit 3`, tries}
	began := time.Now()
	client := run(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for count := 0; count < 5; {
		if _, err := client.Describe(ctx); !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "/bin/sh") {
			t.Fatalf("a caller hears: %v", err)
		}
		text, err := os.ReadFile(tries)
		if err != nil {
			t.Fatal(err)
		}
		count = len(text)
	}
	if took := time.Since(began); took < 750*time.Millisecond { // 50, 100, 200 and 400 ms between them
		t.Errorf("five tries within %s", took)
	}
}

// One that says nothing while it starts is no plugin either.
func TestACommandThatHangsIsNoPlugin(t *testing.T) {
	config := pluginConfig(t, "fake", t.TempDir())
	config.Command, config.Answer = []string{"sleep", "1000"}, 200*time.Millisecond
	client := run(t, config)
	if _, err := client.Describe(t.Context()); !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("describe: %v", err)
	}
}

// A plugin that gives itself another's name is not taken for it.
func TestAPluginHasItsOwnName(t *testing.T) {
	config := pluginConfig(t, "fake", t.TempDir())
	config.Name = "process"
	client := run(t, config)
	if _, err := client.Describe(t.Context()); !errors.Is(err, drivers.ErrInvalid) || !strings.Contains(err.Error(), `calls itself "fake"`) {
		t.Errorf("describe: %v", err)
	}
}

// An agent that is started again with another build of the plugin does not go on with the old one; tasks do.
func TestAnotherBuildTakesOver(t *testing.T) {
	dir := t.TempDir()
	config := pluginConfig(t, "process", dir)
	before := killedAgent(t, dir, config)
	build := filepath.Join(dir, "build")
	data, err := os.ReadFile(config.Command[0])
	if err == nil {
		err = os.WriteFile(build, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	config.Command = []string{build}
	client := run(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	long, err := client.Start(ctx, drivers.Task{ID: "long", Dir: filepath.Join(dir, "long"), WorkDir: "/", Argv: []string{"false"}, AllowRoot: true})
	if err != nil || long.State.Final() || syscall.Kill(long.Pid, 0) != nil {
		t.Errorf("the long task is %+v, %v", long, err)
	}
	after := pid(t, config)
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", after)); after == before || err != nil || exe != build {
		t.Errorf("the plugin was process %d and is %d, %s, %v", before, after, exe, err)
	}
	for _, id := range []string{"long", "short"} {
		if err := client.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	}
}
