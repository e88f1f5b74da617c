package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// changed is a registry's answer to GETs of paths that contain part, put in place of its own.
func changed(inner http.Handler, part string, answer func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) {
			answer(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func edited(t *testing.T, img v1.Image, edit func(*v1.Manifest)) v1.Image {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	m = m.DeepCopy()
	edit(m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return rawImage{img, text}
}

// rawImage has another manifest than its image.
type rawImage struct {
	v1.Image
	manifest []byte
}

func (r rawImage) RawManifest() ([]byte, error) { return r.manifest, nil }
func (r rawImage) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(r.manifest))}, nil
}

// Each bad image has an error that names it and says what is wrong; and nothing of it stays.
func TestBadImages(t *testing.T) {
	good := func(t *testing.T) v1.Image { return imageOf(t, layerOf(t, "a=1"), filled(t, "b", 100_000)) }
	layer := func(t *testing.T, img v1.Image, i int) string {
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		d, _ := layers[i].Digest()
		return d.String()
	}
	other := []byte("these are other bytes than the digest says")
	tests := []struct {
		name string
		make func(t *testing.T, w *world) source.Ref
		want string
		bad  bool
	}{
		{"a layer's bytes are others", func(t *testing.T, w *world) source.Ref {
			ref := w.push("x:1", good(t))
			m, _ := good(t).Manifest()
			w.handler = changed(w.inner, layer(t, good(t), 1), func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = rw.Write(bytes.Repeat([]byte{7}, int(m.Layers[1].Size)))
			})
			return ref
		}, "what came has the digest", false},
		{"a layer is another layer of the same size", func(t *testing.T, w *world) source.Ref {
			img := imageOf(t, layerOf(t, "a=1"), layerOf(t, "a=2"))
			ref := w.push("x:1", img)
			layers, _ := img.Layers()
			in, _ := layers[0].Compressed()
			text, _ := io.ReadAll(in)
			w.handler = changed(w.inner, layer(t, img, 1), func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(text) })
			return ref
		}, "what came has the digest", false},
		{"the config's bytes are others", func(t *testing.T, w *world) source.Ref {
			img := good(t)
			ref := w.push("x:1", img)
			config, _ := img.ConfigName()
			text, _ := img.RawConfigFile()
			w.handler = changed(w.inner, config.String(), func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = rw.Write(bytes.Repeat([]byte{7}, len(text)))
			})
			return ref
		}, "what came has the digest", false},
		{"the manifest's bytes are others", func(t *testing.T, w *world) source.Ref {
			img := good(t)
			w.push("x:1", img)
			w.handler = changed(w.inner, "/manifests/", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(other) })
			return w.ref("x@" + digestOf(t, img))
		}, "what came has the digest", false},
		{"a wrong diff id", func(t *testing.T, w *world) source.Ref {
			img := good(t)
			file, _ := img.ConfigFile()
			file = file.DeepCopy()
			file.RootFS.DiffIDs[0], file.RootFS.DiffIDs[1] = file.RootFS.DiffIDs[1], file.RootFS.DiffIDs[0]
			img, err := mutate.ConfigFile(img, file)
			if err != nil {
				t.Fatal(err)
			}
			return w.push("x:1", img)
		}, "the config says", true},
		{"a layer too many", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }))
		}, "has 3 layers, its config 2", true},
		{"another architecture", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", imageFor(t, "s390x", layerOf(t, "a=1")))
		}, `it is for "linux"/"s390x"`, true},
		{"no architecture", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", imageFor(t, "", layerOf(t, "a=1")))
		}, `it is for "linux"/""`, true},
		{"an index without this machine", func(t *testing.T, w *world) source.Ref {
			return w.pushIndex("x:1", map[string]v1.Image{"s390x": imageFor(t, "s390x", layerOf(t, "a=1")), "riscv64": imageFor(t, "riscv64", layerOf(t, "a=1"))})
		}, "no image for linux/" + runtime.GOARCH + ", only for linux/riscv64, linux/s390x", true},
		{"an unknown media type of a layer", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", imageOf(t, static.NewLayer([]byte("x"), "application/x-new+lz4")))
		}, `media type "application/x-new+lz4" is unknown`, true},
		{"a foreign layer", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers[1].MediaType = types.DockerForeignLayer }))
		}, "to be had elsewhere only", true},
		{"no container image", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }))
		}, "is of no container image", true},
		{"an unknown media type of the manifest", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.MediaType = "application/x-manifest" }))
		}, `its media type "application/x-manifest" is unknown`, true},
		{"a manifest of 2015", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.SchemaVersion = 1 }))
		}, "schema 1", true},
		{"a layer of less than no size", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers[0].Size = -1 }))
		}, "its size is -1", true},
		{"a layer without a digest", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers[0].Digest = v1.Hash{} }))
		}, "", true},
		{"a layer that says to be larger than the store", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers[0].Size = 1 << 40 }))
		}, "more than the 64 MiB that the image store may hold", true},
		{"a layer that is larger than it says", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", edited(t, good(t), func(m *v1.Manifest) { m.Layers[1].Size -= 10 }))
		}, "bytes come that the manifest says", false},
		{"a layer that is larger than the store", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", imageOf(t, layerOf(t, "a=1"), layerOf(t, "zeros="+strings.Repeat("\x00", 65*mib))))
		}, "more than the 64 MiB", true},
		{"a layer that leaves its folder", func(t *testing.T, w *world) source.Ref {
			return w.push("x:1", imageOf(t, layerOf(t, "a=1"), layerOf(t, "../../../x=1")))
		}, `"../../../x": the name leads out of the layer`, true},
		{"too many layers", func(t *testing.T, w *world) source.Ref {
			layers := make([]v1.Layer, 128)
			for i := range layers {
				layers[i] = layerOf(t, fmt.Sprint("a=", i))
			}
			return w.push("x:1", imageOf(t, layers...))
		}, "128 layers, 127 are possible", true},
		{"no such tag", func(t *testing.T, w *world) source.Ref { return w.ref("x:none") }, "has no such image", true},
		{"no such digest", func(t *testing.T, w *world) source.Ref { return w.ref("x@sha256:" + strings.Repeat("0", 64)) }, "has no such image", true},
		{"no such registry", func(t *testing.T, w *world) source.Ref { return parse(t, "127.0.0.1:1/x:1") }, "connection refused", false},
		{"a layer is missing", func(t *testing.T, w *world) source.Ref {
			ref := w.push("x:1", good(t))
			w.handler = changed(w.inner, layer(t, good(t), 1), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
			return ref
		}, "404", true},
		{"a manifest without end", func(t *testing.T, w *world) source.Ref {
			w.handler = changed(w.inner, "/manifests/", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(bytes.Repeat([]byte(" "), 5<<20)) })
			return w.ref("x:1")
		}, "larger than 4 MiB", true},
		{"a page of HTML", func(t *testing.T, w *world) source.Ref {
			w.handler = changed(w.inner, "/manifests/", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<html>secret") })
			return w.ref("x:1")
		}, "it is no JSON", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // some wait between their tries
			w := newWorld(t)
			s := openStore(t, Config{Stall: 5 * time.Second})
			ref := test.make(t, w)
			_, err := s.Ensure(t.Context(), ref, source.Auth{}, nil)
			switch {
			case err == nil:
				t.Fatal("it was taken")
			case !strings.Contains(err.Error(), test.want), !strings.HasPrefix(err.Error(), "image "+ref.String()+": "):
				t.Errorf("got %v, want %q", err, test.want)
			case errors.Is(err, ErrBad) != test.bad:
				t.Errorf("%v blames the image: %v", err, !test.bad)
			}
			s.left(t)
			if held := s.held(); !strings.HasPrefix(held, "0 of") {
				t.Errorf("held %s", held)
			}
			t.Log(err)
		})
	}
}

func (w *world) pushIndex(ref string, images map[string]v1.Image) source.Ref {
	w.t.Helper()
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for arch, img := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	at, err := name.ParseReference(w.host + "/" + ref)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := remote.WriteIndex(at, index); err != nil {
		w.t.Fatal(err)
	}
	w.forget()
	return w.ref(ref)
}

func TestAnIndexIsForManyMachines(t *testing.T) {
	w := newWorld(t)
	mine := imageFor(t, runtime.GOARCH, layerOf(t, "mine=1"))
	ref := w.pushIndex("x:1", map[string]v1.Image{"s390x": imageFor(t, "s390x", layerOf(t, "a=1")), runtime.GOARCH: mine})
	s := openStore(t, Config{})
	img := ensure(t, s, ref)
	if img.Manifest != digestOf(t, mine) || img.Digest == img.Manifest {
		t.Errorf("digests %s, %s", img.Digest, img.Manifest)
	}
	again := ensure(t, s, w.ref("x@"+img.Digest))
	if again.Layers[0] != img.Layers[0] || again.Manifest != img.Manifest {
		t.Errorf("by its digest it is %+v", again)
	}
}

// A disk that is full is told as such, and what was half written goes.
func TestTheDiskIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("coinop-image-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("cannot mount a small disk:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t)
	s := openStore(t, Config{Dir: filepath.Join(dir, "store")})
	small, large := w.push("small:1", imageOf(t, filled(t, "small", mib))), w.push("large:1", imageOf(t, filled(t, "large", 5*mib)))
	_, err := s.Ensure(t.Context(), large, source.Auth{}, nil)
	if !errors.Is(err, ErrFull) || errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("got %v", err)
	}
	s.left(t)
	ensure(t, s, small).Release()
	s.left(t)
}
