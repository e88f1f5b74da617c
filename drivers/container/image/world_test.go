package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// tarOf makes a layer's tar: names that end in a slash are folders.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		path, text, _ := strings.Cut(f, "=")
		h := &tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}
		if strings.HasSuffix(path, "/") {
			h.Typeflag = tar.TypeDir
		}
		if strings.HasSuffix(path, "tmp/") {
			h.Mode = 0o1777
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func layerOf(t testing.TB, files ...string) v1.Layer { return layerFrom(t, tarOf(t, files...)) }

func layerFrom(t testing.TB, bare []byte) v1.Layer {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(bare)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// filled is a layer of which each byte counts: it does not compress.
func filled(t testing.TB, name string, bytes int) v1.Layer {
	t.Helper()
	text := make([]byte, bytes)
	seed := uint64(len(name)) + 88172645463325252
	for _, c := range name {
		seed = seed*31 + uint64(c)
	}
	for i := range text {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		text[i] = byte(seed)
	}
	return layerOf(t, name+"="+string(text))
}

func imageOf(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	return imageFor(t, runtime.GOARCH, layers...)
}

func imageFor(t testing.TB, arch string, layers ...v1.Layer) v1.Image {
	t.Helper()
	made := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.ConfigFile(made, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{
		Entrypoint: []string{"/bin/run"}, Cmd: []string{"--fast"}, Env: []string{"A=1"}, WorkingDir: "/work", User: "1000:1000", StopSignal: "SIGINT", Labels: map[string]string{"of": "test"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if made, err = mutate.AppendLayers(made, layers...); err != nil {
		t.Fatal(err)
	}
	return made
}

// world is a registry on loopback, and what it was asked.
type world struct {
	t       testing.TB
	host    string
	inner   http.Handler
	handler http.Handler // instead of inner, once set
	asked   chan string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0))), asked: make(chan string, 10_000)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked <- r.Method + " " + r.URL.Path
		if w.handler != nil {
			w.handler.ServeHTTP(rw, r)
			return
		}
		w.inner.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	return w
}

// push puts an image into the registry, and forgets what that asked of it.
func (w *world) push(ref string, img v1.Image) source.Ref {
	w.t.Helper()
	at, err := name.ParseReference(w.host + "/" + ref)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := remote.Write(at, img); err != nil {
		w.t.Fatal(err)
	}
	w.forget()
	return w.ref(ref)
}

func (w *world) forget() (asked []string) {
	for {
		select {
		case one := <-w.asked:
			asked = append(asked, one)
		default:
			return asked
		}
	}
}

// times counts requests that contain something, since the last forget.
func (w *world) times(part string) (n int) {
	for _, one := range w.forget() {
		if strings.Contains(one, part) {
			n++
		}
	}
	return n
}

func (w *world) ref(ref string) source.Ref {
	w.t.Helper()
	return parse(w.t, w.host+"/"+ref)
}

func parse(t testing.TB, text string) source.Ref {
	t.Helper()
	ref, err := source.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const mib = 1 << 20

func openStore(t testing.TB, config Config) *Store {
	t.Helper()
	if config.Dir == "" {
		config.Dir = filepath.Join(t.TempDir(), "store")
	}
	if config.LimitBytes == 0 {
		config.LimitBytes = 64 * mib
	}
	s, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
	})
	return s
}

func ensure(t testing.TB, s *Store, ref source.Ref) *Image {
	t.Helper()
	img, err := s.Ensure(t.Context(), ref, source.Auth{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// contents says what an image's layers hold, one line each.
func contents(t testing.TB, img *Image) (lines []string) {
	t.Helper()
	for _, layer := range img.Layers {
		var names []string
		err := filepath.WalkDir(layer, func(path string, d os.DirEntry, err error) error {
			if err == nil && path != layer {
				rel, _ := filepath.Rel(layer, path)
				if d.Type().IsRegular() {
					text, err := os.ReadFile(path)
					if err != nil {
						return err
					}
					if len(text) < 100 {
						rel += "=" + string(text)
					}
				}
				names = append(names, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join(names, " "))
	}
	return lines
}

// left fails the test if anything of an unfinished work is still there, on disk or in the books.
func (s *Store) left(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(s.path("tmp"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left in tmp: %v, %v", entries, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes int64
	for key, it := range s.items {
		bytes += it.bytes
		if it.held < 0 {
			t.Errorf("%s is held %d times", key, it.held)
		}
	}
	if bytes != s.bytes || len(s.making) > 0 {
		t.Errorf("the books say %d bytes, there are %d; %d are being made", s.bytes, bytes, len(s.making))
	}
	for _, kind := range []string{"layers", "images"} {
		entries, err := os.ReadDir(s.path(kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if s.items[filepath.Join(kind, e.Name())] == nil {
				t.Errorf("%s/%s is in no book", kind, e.Name())
			}
		}
	}
}

// held counts what is in use.
func (s *Store) held() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, held := 0, 0
	for _, it := range s.items {
		items++
		if it.held > 0 {
			held++
		}
	}
	return fmt.Sprintf("%d of %d", held, items)
}

func digestOf(t testing.TB, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}
