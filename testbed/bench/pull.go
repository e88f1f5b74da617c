package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/drivers/container/image"
	"github.com/coinop/coinop/drivers/container/image/source"
)

const pullLayers = 10

// readPull fetches an image from a registry on loopback into an empty store. The reference copies the same layers, each
// gzipped as in the registry, and has tar unpack them, one after the other.
func readPull(ctx context.Context, b *bench) (rounds [][]reading, err error) {
	dir := filepath.Join(b.dir, "pull")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	img, files, err := pulled(dir, int64(b.pull)<<20)
	if err != nil {
		return nil, err
	}
	ref, stop, err := serveImage(ctx, dir, img)
	if err != nil {
		return nil, err
	}
	defer stop()
	for range b.rounds {
		// Each begins with nothing to be written by the one before it.
		reference, worked, err := timed(func() error { return copyAndUnpack(ctx, filepath.Join(dir, "reference"), files) })
		if err != nil {
			return nil, err
		}
		ours, work, err := timed(func() error { return pull(ctx, filepath.Join(dir, "store"), ref) })
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, []reading{
			{"ours", "times", ours / reference},
			{"the pull", "s", ours},
			{"cp and tar -xz", "s", reference},
			{"processor time of the pull, the registry's with it", "CPU s", work},
			{"processor time of cp and tar -xz", "CPU s", worked},
		})
	}
	return rounds, nil
}

// timed says how long something took, and how much processor time of this process and its children.
func timed(do func() error) (took, worked float64, err error) {
	if out, err := exec.Command("sync").CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("sync: %w\n%s", err, out)
	}
	before, err := processorTime()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	took = time.Since(began).Seconds()
	after, err := processorTime()
	return took, after - before, err
}

func processorTime() (seconds float64, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			return 0, err
		}
		seconds += time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
	}
	return seconds, nil
}

func pull(ctx context.Context, dir string, ref source.Ref) error {
	store, err := image.Open(image.Config{Dir: dir, LimitBytes: 1 << 40})
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer store.Close()
	img, err := store.Ensure(ctx, ref, source.Auth{}, nil)
	if err != nil {
		return err
	}
	img.Release()
	return nil
}

func copyAndUnpack(ctx context.Context, dir string, files []string) error {
	defer os.RemoveAll(dir)
	for i, file := range files {
		to := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "cp", file, to+".tar.gz").CombinedOutput(); err != nil {
			return fmt.Errorf("cp: %w\n%s", err, out)
		}
		if out, err := exec.CommandContext(ctx, "tar", "-C", to, "-xzf", to+".tar.gz").CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w\n%s", err, out)
		}
	}
	return nil
}

// pulled makes an image of so many bytes, and says where its layers are.
func pulled(dir string, bytes int64) (v1.Image, []string, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		return nil, nil, err
	}
	var files []string
	for i := range pullLayers {
		file := filepath.Join(dir, fmt.Sprint("layer", i))
		if err := writeLayer(file, uint64(i), bytes/pullLayers); err != nil {
			return nil, nil, err
		}
		layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
		if err == nil {
			img, err = mutate.AppendLayers(img, layer)
		}
		if err != nil {
			return nil, nil, err
		}
		files = append(files, file)
	}
	return img, files, nil
}

// writeLayer makes a layer as software is: many small files, a few large ones, bytes that gzip makes two fifths of.
func writeLayer(path string, seed uint64, bytes int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	zip := gzip.NewWriter(file)
	w := tar.NewWriter(zip)
	random := seed*0x9e3779b97f4a7c15 + 1
	next := func() uint64 {
		random ^= random << 13
		random ^= random >> 7
		random ^= random << 17
		return random
	}
	buffer := make([]byte, 4<<20)
	for n := 0; bytes > 0; n++ {
		size := int64(next() % (32 << 10))
		if n%50 == 0 {
			size = int64(len(buffer))
		}
		size = min(size, bytes)
		text := buffer[:size]
		for i := range text {
			if next()%5 < 3 && i >= 64 {
				text[i] = text[i-64]
			} else {
				text[i] = byte(next() % 96)
			}
		}
		name := fmt.Sprintf("usr/lib/part%d/d%d/file%d", seed, n%40, n)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		bytes -= size
	}
	return errors.Join(w.Close(), zip.Close())
}

// serveImage has a registry on loopback hold an image.
func serveImage(ctx context.Context, dir string, img v1.Image) (ref source.Ref, stop func(), err error) {
	blobs := filepath.Join(dir, "registry")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return ref, nil, err
	}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ref, nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	server := &http.Server{Handler: registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(quiet))}
	go server.Serve(at) //nolint:errcheck // it ends with the error that says so
	defer func() {
		if err != nil {
			server.Close()
		}
	}()
	text := at.Addr().String() + "/bench:1"
	tag, err := name.NewTag(text)
	if err != nil {
		return ref, nil, err
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return ref, nil, err
	}
	ref, err = source.Parse(text)
	return ref, func() { server.Close() }, err
}
