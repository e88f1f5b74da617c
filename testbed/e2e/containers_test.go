//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm/vmtest"
	"github.com/coinop/coinop/testbed/cluster"
)

// push makes an image of a folder, and puts it into a registry on loopback.
func push(t *testing.T, folder string, config v1.Config) (repository, digest string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link, _ := os.Readlink(path) // empty for what is none
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		if header.Name, err = filepath.Rel(folder, path); err != nil {
			return err
		}
		if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}))
	must(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
	must(t, err)
	image, err := mutate.AppendLayers(empty.Image, layer)
	must(t, err)
	file, err := image.ConfigFile()
	must(t, err)
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	image, err = mutate.ConfigFile(image, file)
	must(t, err)
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/team/busybox:1")
	must(t, err)
	must(t, remote.Write(ref, image))
	hash, err := image.Digest()
	must(t, err)
	return ref.Context().Name(), hash.String()
}

// boxes is a cluster whose one machine runs containers, and an image for them.
func boxes(t *testing.T, config v1.Config) (ctx context.Context, c *cluster.Cluster, h cluster.Home, repository, digest string) {
	t.Helper()
	containertest.Need(t)
	if err := container.Installed(); err != nil {
		t.Skip(err)
	}
	return offering(t, config, "container", 1, "--cpus", "2")
}

// machines is one whose machines, of so many CPUs each, run virtual machines.
func machines(t *testing.T, config v1.Config, executors int, cpus string) (ctx context.Context, c *cluster.Cluster, h cluster.Home, repository, digest string) {
	t.Helper()
	return offering(t, config, "vm", executors, "--executors", strconv.Itoa(executors), "--cpus", cpus, "--vm-kernel", vmtest.Need(t))
}

func offering(t *testing.T, config v1.Config, driver string, executors int, args ...string) (ctx context.Context, c *cluster.Cluster, h cluster.Home, repository, digest string) {
	t.Helper()
	root := t.TempDir()
	containertest.MakeRoot(t, root)
	repository, digest = push(t, root, config)
	ctx, c = newCluster(t)
	addr, err := cluster.FreeAddr()
	must(t, err)
	h = c.Home("user", addr, "")
	must(t, c.StartDev(ctx, h, args...))
	must(t, cluster.Until(ctx, time.Minute, "all machines offer "+driver, func() (bool, error) {
		var list client.NodeList
		err := h.JSON(ctx, &list, "nodes")
		lacks := func(one client.Node) bool { return !slices.Contains(one.Drivers, driver) }
		return len(list.Nodes) == executors && !slices.ContainsFunc(list.Nodes, lacks), err
	}))
	set, err := h.Run(ctx, "operator", "pool", "set", "default", "--drivers", "process,"+driver, "--token", "@"+filepath.Join(c.Dir, "dev", "server", "operator.token"))
	must(t, err)
	if set.Code != 0 {
		t.Fatal(set.Stderr)
	}
	return ctx, c, h, repository, digest
}

// An image is built, pushed, pulled by digest, run with inputs and outputs, and billed; what is no image costs nothing.
func TestAJobRunsInAContainer(t *testing.T) {
	ctx, _, h, repository, digest := boxes(t, v1.Config{Env: []string{"PATH=/bin", "OF=the image"}, Cmd: []string{"/bin/sh", "-c", "echo I am $OF"}})
	own := submit(t, ctx, h, job("--image", repository+":1")...)
	undisturbed(t, ctx, h, own, "I am the image\n")

	input := filepath.Join(t.TempDir(), "input")
	must(t, os.WriteFile(input, []byte("in and out\n"), 0o644))
	before := balance(t, ctx, h)
	through := submit(t, ctx, h, job("--image", repository+"@"+digest, "--input", input, "--output", "made",
		"--", "sh", "-c", "cp input made; pwd; id -u; [ -e /etc/shadow ] || echo own root; sleep 2")...)
	undisturbed(t, ctx, h, through, "/work\n0\nown root\n")
	if p := show(t, ctx, h, through).Private; p == nil || p.SpentMicro < 2_000_000 {
		t.Errorf("two seconds in a container cost %+v", p)
	}
	out := t.TempDir()
	_, err := h.Run(ctx, "get", strconv.FormatUint(through, 10), out)
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(out, "made")); err != nil || string(got) != "in and out\n" {
		t.Errorf("its output is %q, %v", got, err)
	}

	open := submit(t, ctx, h, job("--image", repository+":1", "--", "sleep", "60")...)
	inside, err := h.Run(ctx, "shell", strconv.FormatUint(open, 10), "--", "sh", "-c", "echo $OF; echo wrong >&2; pwd; exit 7") // it waits for the task
	must(t, err)
	if inside.Code != 7 || inside.Stdout != "the image\n/work\n" || inside.Stderr != "wrong\n" {
		t.Errorf("a command in the container: %+v", inside)
	}
	_, err = h.Run(ctx, "cancel", strconv.FormatUint(open, 10))
	must(t, err)
	await(t, ctx, h, open, "done")

	after := balance(t, ctx, h)
	if after >= before {
		t.Errorf("the wallet had %d and has %d", before, after)
	}
	none := submit(t, ctx, h, job("--image", repository+"@sha256:"+strings.Repeat("0", 64), "--", "true")...)
	await(t, ctx, h, none, "done")
	if reason := show(t, ctx, h, none).Reason; reason == "" {
		t.Error("nothing is said of an image that is not there")
	}
	if got := balance(t, ctx, h); got != after {
		t.Errorf("an image that is not there cost %d", after-got)
	}
}
