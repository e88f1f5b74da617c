package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

const (
	noOpContainers = 300 // jobs a round
	heldTasks      = 500 // that run at once, half of them in containers
)

// readNoOpContainers runs jobs as readNoOp does, each in a container of an image that is there.
func readNoOpContainers(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, h, image, stop, err := b.boxes(ctx, "boxes", "--cpus", "64")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if r, err := h.Run(ctx, "run", "--pay", "100", "--image", image, "--", "/busybox", "true"); err != nil || r.Code != 0 {
		return nil, fmt.Errorf("run the first container: %w%s", err, r.Stderr)
	}
	spec := small
	spec.Driver, spec.Image, spec.Command = "container", image, []string{"/busybox", "true"}
	w, err := newNoOps(ctx, h, spec)
	if err != nil {
		return nil, err
	}
	defer w.api.CloseIdle()
	if rounds, err = w.rounds(ctx, b.rounds, noOpContainers); err != nil {
		return nil, errors.Join(err, errors.New(c.Dev.LogTail(10)))
	}
	return rounds, allDone(ctx, h, 1+b.rounds*noOpContainers)
}

// readMemory adds up what an executor, its plugins and the shims of the tasks that run take.
func readMemory(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	c, h, image, stop, err := b.boxes(ctx, "memory", "--cpus", "1024")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	half, seconds := strconv.Itoa(heldTasks/2), strconv.Itoa(1_000_000+os.Getpid()) // no other process sleeps as long
	for _, more := range [][]string{{"--", "sleep", seconds}, {"--image", image, "--", "/busybox", "sleep", seconds}} {
		args := slices.Concat([]string{"submit", "--pay", "400000", "--time", "20m", "--memory", "16MiB", "--array", "1-" + half}, more)
		if r, err := h.Run(ctx, args...); err != nil || r.Code != 0 {
			return nil, fmt.Errorf("submit %s tasks: %w%s", half, err, r.Stderr)
		}
	}
	err = cluster.Until(ctx, 3*time.Minute, "all tasks run", func() (bool, error) {
		running, err := sleepers(seconds)
		return running == heldTasks, err
	})
	if err != nil {
		return nil, errors.Join(err, errors.New(c.Dev.LogTail(10)))
	}
	for range b.rounds {
		parts, err := memoryOf(c.Dir)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, []reading{
			{"ours", "MiB", parts.shims + parts.plugins + parts.agent}, {"the shims", "MiB of it", parts.shims},
			{"the plugins", "MiB of it", parts.plugins}, {"the agent, with its server in the same process", "MiB of it", parts.agent},
		})
	}
	return rounds, nil
}

// sleepers counts the processes that are `sleep` with this argument, and nothing around them.
func sleepers(argument string) (n int, err error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, _ := os.ReadFile(path) // nothing: it has ended
		words := strings.Split(string(line), "\x00")
		if len(words) >= 3 && len(words) <= 4 && words[len(words)-3] == "sleep" && words[len(words)-2] == argument {
			n++
		}
	}
	return n, err
}

type memory struct{ agent, plugins, shims float64 } // MiB, each page shared among those that have it

// memoryOf reads the proportional set size of all processes of coinop that name a folder.
func memoryOf(dir string) (memory, error) {
	var sum memory
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return sum, err
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte("coinop")) {
			continue // ended since
		}
		proc := filepath.Dir(path)
		cwd, _ := os.Readlink(filepath.Join(proc, "cwd"))
		if !bytes.Contains(line, []byte(dir)) && cwd != dir {
			continue
		}
		size, err := pss(proc)
		switch words := strings.Split(string(line), "\x00"); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return sum, err
		case words[0] == "coinop-shim":
			sum.shims += size
		case len(words) > 1 && words[1] == "plugin":
			sum.plugins += size
		case len(words) > 1 && words[1] == "dev":
			sum.agent += size
		}
	}
	if sum.agent == 0 || sum.plugins == 0 || sum.shims == 0 {
		return sum, fmt.Errorf("some processes of coinop were not found: %+v", sum)
	}
	return sum, nil
}

func pss(proc string) (mib float64, err error) {
	data, err := os.ReadFile(filepath.Join(proc, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "Pss:" {
			kib, err := strconv.ParseFloat(words[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("%s/smaps_rollup has no Pss", proc)
}

// boxes is dev on a machine that runs containers, and an image of busybox in a registry.
func (b *bench) boxes(ctx context.Context, name string, more ...string) (c *cluster.Cluster, h cluster.Home, image string, stop func() error, err error) {
	dir := filepath.Join(b.dir, name+"-image")
	fail := func(err error) (*cluster.Cluster, cluster.Home, string, func() error, error) {
		return nil, cluster.Home{}, "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	img, err := busybox()
	if err != nil {
		return fail(err)
	}
	ref, stopRegistry, err := serveImage(ctx, dir, img)
	if err != nil {
		return fail(err)
	}
	if c, h, err = b.dev(ctx, name, more...); err != nil {
		stopRegistry()
		return fail(err)
	}
	stop = func() error {
		stopRegistry()
		return c.Stop()
	}
	if err := offersContainers(ctx, h); err != nil {
		return fail(errors.Join(err, stop()))
	}
	return c, h, ref.String(), stop, nil
}

func offersContainers(ctx context.Context, h cluster.Home) error {
	return cluster.Until(ctx, time.Minute, "the machine runs containers", func() (bool, error) {
		var list client.NodeList
		err := h.JSON(ctx, &list, "nodes")
		return len(list.Nodes) == 1 && slices.Contains(list.Nodes[0].Drivers, "container"), err
	})
}

// busybox is an image of one program.
func busybox() (v1.Image, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install --no-install-recommends busybox-static crun", err)
	}
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	err = w.WriteHeader(&tar.Header{Name: "busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH}); err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layer)
}
