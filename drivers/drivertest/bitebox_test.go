//go:build e2e

package drivertest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/drivertest"
	"github.com/coinop/coinop/drivers/shim"
)

// twoImages has a second image, in which somebody has been before.
type twoImages struct {
	containertest.Store
	used string
}

func (s twoImages) Hold(ctx context.Context, ref, task string) (container.Image, error) {
	image, err := s.Store.Hold(ctx, containertest.Busybox, task)
	if ref == "used" {
		image.Layers = append(image.Layers, s.used)
		return image, err
	}
	return s.Store.Hold(ctx, ref, task)
}

func containerHarness(t *testing.T) (drivertest.Harness, drivers.Driver) {
	containertest.Need(t)
	yard := containertest.Yard(t)
	containertest.MakeRoot(t, filepath.Join(yard, "image"))
	images := twoImages{containertest.Store(filepath.Join(yard, "image")), filepath.Join(yard, "used")}
	if err := os.Mkdir(images.used, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(images.used, "drivertest-was-here"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := container.New(container.Config{Dir: filepath.Join(yard, "driver"), Images: images})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := d.Describe(t.Context()); err != nil {
		t.Skip(err)
	}
	return drivertest.Harness{
		Driver: func() drivers.Driver { return d }, Now: shim.Boottime, UID: 65534, GID: 65534, Programs: true,
		Mark: "BITE=" + yard, Image: containertest.Busybox,
		Folder: func() (string, error) { return containertest.TaskFolder(yard) },
		Exit:   func(code int) []string { return []string{"/bin/sh", "-c", "exit " + strconv.Itoa(code)} },
		Block:  []string{"sleep", "1000"}, Stubborn: []string{"/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
	}, d
}

// What only containers promise. That the good driver keeps it all is seen elsewhere.
func TestSuiteBitesOnContainers(t *testing.T) {
	h, d := containerHarness(t)
	exec := func(fault func(*drivers.ExecRequest, *drivers.ExecStreams)) func(context.Context, *drivers.ExecRequest, *drivers.ExecStreams) context.Context {
		return func(ctx context.Context, r *drivers.ExecRequest, s *drivers.ExecStreams) context.Context {
			fault(r, s)
			return ctx
		}
	}
	for _, c := range []struct {
		fault string
		check string
		b     broken
	}{
		{"its root is another's", "a task's root is its image, for itself alone", broken{task: func(t *drivers.Task) { t.Image = "used" }}},
		{"it is another user's", "a task is its user's to the machine", broken{task: func(t *drivers.Task) { t.UID = 65533 }}},
		{"its files are another user's", "what a task writes to its work folder is its user's", broken{task: func(t *drivers.Task) {
			t.UID = 65533
			_ = os.Chown(t.WorkDir, 65533, 65533) // what fails here fails the check's own way
		}}},
		{"no root is read-only", "a root may be read-only", broken{task: func(t *drivers.Task) { t.ReadOnlyRoot = false }}},
		{"shared memory has any size", "shared memory has its size", broken{task: func(t *drivers.Task) { t.ShmBytes = 0 }}},
		{"no entrypoint counts", "an image's entrypoint can be replaced", broken{task: func(t *drivers.Task) { t.Entrypoint = nil }}},
		{"it starts anywhere", "a task starts where it is told", broken{task: func(t *drivers.Task) { t.StartDir = "" }}},
		{"any image will do", "an image that is not there is refused", broken{task: func(t *drivers.Task) { t.Image = containertest.Busybox }}},
		{"what is outside of the work folder is free", "what a task changes in its image counts to its disk", broken{task: func(t *drivers.Task) { t.DiskBytes = 0 }}},
		{"everybody has the network", "the network is withheld, and granted", broken{task: func(t *drivers.Task) { t.Network = true }}},
		{"nobody has the network", "the network is withheld, and granted", broken{task: func(t *drivers.Task) { t.Network = false }}},
		{"there is no terminal", "exec has a terminal that can be resized", broken{exec: exec(func(r *drivers.ExecRequest, _ *drivers.ExecStreams) { r.Terminal = false })}},
		{"a terminal stays as it is", "exec has a terminal that can be resized", broken{exec: exec(func(_ *drivers.ExecRequest, s *drivers.ExecStreams) { s.Resize = nil })}},
		{"a terminal begins as it likes", "exec has a terminal that can be resized", broken{exec: exec(func(r *drivers.ExecRequest, _ *drivers.ExecStreams) { r.Rows = 1 })}},
		{"exec never fails", "exec tells how a command ended, or why it did not begin", broken{exec: exec(func(r *drivers.ExecRequest, _ *drivers.ExecStreams) {
			r.Argv = []string{"true"}
		})}},
		{"exec has no variables", "what exec runs is the task's", broken{exec: exec(func(r *drivers.ExecRequest, _ *drivers.ExecStreams) { r.Env = nil })}},
		{"exec is not limited", "what exec runs is the task's", broken{task: func(t *drivers.Task) { t.PidsMax = 0 }}},
		{"it is told nothing", "a task reads what it is told, and cannot change it", broken{task: func(t *drivers.Task) { t.NoticeDir = "" }}},
		{"devices are the machine's own", "a task opens the devices that it was given, and no others", broken{task: func(t *drivers.Task) { t.Devices = nil }}},
		{"every device is everybody's", "a task opens the devices that it was given, and no others", broken{task: func(t *drivers.Task) { t.Devices = []string{"coinop/test=two"} }}},
		{"devices that are not there do not matter", "a device that is not there is refused", broken{task: func(t *drivers.Task) { t.Devices = nil }}},
		{"exec does not care for its caller", "exec ends with its caller, and with its task", broken{exec: func(ctx context.Context, _ *drivers.ExecRequest, _ *drivers.ExecStreams) context.Context {
			return context.WithoutCancel(ctx)
		}}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			c.b.Driver = d
			bad := h
			bad.Timeout = 4 * time.Second
			bad.Driver = func() drivers.Driver { return &c.b }
			failing, err := drivertest.Failing(t.Context(), bad, c.check)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(failing, c.check) {
				t.Errorf("%q did not notice", c.check)
			}
		})
	}
	ids, err := shim.Names(filepath.Join(h.Mark[len("BITE="):], "driver", "tasks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids { // of checks that ran out of time
		if err := d.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}
