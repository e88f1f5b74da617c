package image

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/drivers/container/image/source"
)

func TestAnImageIsPulledByItsTag(t *testing.T) {
	w := newWorld(t)
	img := imageOf(t, layerOf(t, "a=lower", "b=lower"), layerOf(t, "b=upper"))
	ref := w.push("team/app:1", img)
	s := openStore(t, Config{})
	var told Progress
	got, err := s.Ensure(t.Context(), ref, source.Auth{}, func(p Progress) { told = p })
	if err != nil {
		t.Fatal(err)
	}
	defer got.Release()
	config, _ := img.ConfigName()
	if got.Digest != digestOf(t, img) || got.Manifest != got.Digest || got.ConfigDigest != config.String() {
		t.Errorf("digests %s, %s, %s", got.Digest, got.Manifest, got.ConfigDigest)
	}
	want := Run{Entrypoint: []string{"/bin/run"}, Cmd: []string{"--fast"}, Env: []string{"A=1"}, WorkDir: "/work", User: "1000:1000", StopSignal: "SIGINT", Labels: map[string]string{"of": "test"}}
	if diff := cmp.Diff(want, got.Run); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a=lower b=lower", "b=upper"}, contents(t, got)); diff != "" {
		t.Error(diff)
	}
	if told.Layers != 2 || told.LayersDone != 2 || told.Bytes != told.BytesTotal || told.Bytes == 0 {
		t.Errorf("progress ended at %+v", told)
	}
	if got.SizeBytes < 3*4096 {
		t.Errorf("it has %d bytes", got.SizeBytes)
	}
	s.left(t)
}

func TestByDigestAndThereNobodyIsAsked(t *testing.T) {
	w := newWorld(t)
	img := imageOf(t, layerOf(t, "a=1"))
	w.push("app:1", img)
	ref := w.ref("app@" + digestOf(t, img))
	s := openStore(t, Config{})
	ensure(t, s, w.ref("app:1")).Release()
	w.forget()
	got := ensure(t, s, ref)
	got.Release()
	if asked := w.forget(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	if diff := cmp.Diff([]string{"a=1"}, contents(t, got)); diff != "" {
		t.Error(diff)
	}
}

func TestLayersAreShared(t *testing.T) {
	w := newWorld(t)
	base := filled(t, "base", mib)
	one := w.push("one:1", imageOf(t, base, layerOf(t, "one=1")))
	two := w.push("two:1", imageOf(t, base, layerOf(t, "two=2")))
	s := openStore(t, Config{})
	digest, _ := base.Digest()
	var all sync.WaitGroup
	images := make([]*Image, 16)
	for i := range images {
		all.Go(func() {
			ref := one
			if i%2 == 1 {
				ref = two
			}
			var err error
			if images[i], err = s.Ensure(t.Context(), ref, source.Auth{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if n := w.times("/blobs/" + digest.String()); n != 1 {
		t.Errorf("the layer that all share was fetched %d times", n)
	}
	if images[0].Layers[0] != images[1].Layers[0] {
		t.Errorf("it is in %s and in %s", images[0].Layers[0], images[1].Layers[0])
	}
	for _, img := range images {
		img.Release()
		img.Release()
	}
	if s.held() != "0 of 5" {
		t.Errorf("held: %s", s.held())
	}
	s.left(t)
}

// Whoever began is told to stop; who waited for it goes on by itself.
func TestACancelledPullIsTakenOver(t *testing.T) {
	w := newWorld(t)
	ref := w.push("app:1", imageOf(t, filled(t, "big", mib)))
	s := openStore(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	started := make(chan struct{})
	var once sync.Once
	gate := make(chan struct{})
	w.handler = gated(w.inner, "/blobs/", func() { once.Do(func() { close(started); <-gate }) })
	go func() { _, err := s.Ensure(ctx, ref, source.Auth{}, nil); first <- err }()
	<-started
	go func() { _, err := s.Ensure(t.Context(), ref, source.Auth{}, nil); second <- err }()
	cancel()
	close(gate)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
	s.left(t)
}

// A registry that hangs keeps nobody waiting who gets the same layer elsewhere; nor does it matter who is first.
func TestASlowRegistryIsNobodyElsesAffair(t *testing.T) {
	img := imageOf(t, filled(t, "shared", mib))
	digest, text := layerBytes(t, img, 0)
	slow, good := newWorld(t), newWorld(t)
	there := slow.push("trap:1", img)
	started, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow.handler = changed(slow.inner, digest, func(rw http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(started); <-gate })
		_, _ = rw.Write(text)
	})
	s := openStore(t, Config{})
	first := make(chan error, 1)
	go func() {
		got, err := s.Ensure(t.Context(), there, source.Auth{}, nil)
		if err == nil {
			got.Release()
		}
		first <- err
	}()
	<-started
	ensure(t, s, good.push("app:1", img)).Release()
	close(gate)
	if err := <-first; err != nil {
		t.Errorf("the slow one: %v", err)
	}
	s.left(t)
	if s.held() != "0 of 2" {
		t.Errorf("held %s", s.held())
	}
}

func TestTheOldestGoesAndWhatIsInUseStays(t *testing.T) {
	w := newWorld(t)
	s := openStore(t, Config{LimitBytes: 4 * mib})
	refs := map[string]source.Ref{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		refs[name] = w.push(name+":1", imageOf(t, filled(t, name, mib)))
	}
	a := ensure(t, s, refs["a"])
	ensure(t, s, refs["b"]).Release()
	ensure(t, s, refs["c"]).Release()
	ensure(t, s, refs["b"]).Release() // now c is the oldest that nobody uses
	w.forget()
	ensure(t, s, refs["d"]).Release()
	there := func(img *Image) bool { _, err := os.Stat(img.Layers[0]); return err == nil }
	if !there(a) {
		t.Error("a is in use and went")
	}
	w.forget()
	ensure(t, s, refs["b"]).Release()
	if n := w.times("/blobs/"); n != 1 { // the config alone
		t.Errorf("b was used after c, and went before it: %d blobs were fetched", n)
	}
	ensure(t, s, refs["c"]).Release()
	if n := w.times("/blobs/"); n != 2 {
		t.Errorf("c was the oldest, and did not go: %d blobs were fetched", n)
	}
	s.left(t)

	var held []*Image
	for _, name := range []string{"b", "c"} {
		held = append(held, ensure(t, s, refs[name]))
	}
	_, err := s.Ensure(t.Context(), refs["e"], source.Auth{}, nil)
	if !errors.Is(err, ErrFull) || errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "raise its limit") || !strings.Contains(err.Error(), "e:1") {
		t.Errorf("a full store says %v", err)
	}
	s.left(t)
	held[0].Release()
	ensure(t, s, refs["e"]).Release()
	if !there(a) || !there(held[1]) {
		t.Error("what is in use went")
	}
	s.left(t)
}

func TestTasksHoldTheirImagesAcrossRestarts(t *testing.T) {
	w := newWorld(t)
	config := Config{Dir: filepath.Join(t.TempDir(), "store"), LimitBytes: 3 * mib}
	refs := map[string]source.Ref{}
	for _, name := range []string{"a", "b", "c"} {
		refs[name] = w.push(name+":1", imageOf(t, filled(t, name, mib)))
	}
	s := openStore(t, config)
	a := ensure(t, s, refs["a"])
	for range 2 {
		if err := a.Hold("task-1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Hold("../task"); err == nil {
		t.Error("a task with a path for a name was taken")
	}
	a.Release()
	if _, err := Open(config); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process: %v", err)
	}
	for range 2 { // as after kill -9: nothing was closed in order but the file of the lock
		s.lock.Close()
		s = openStore(t, config)
		if got := s.Tasks(); !slices.Equal(got, []string{"task-1"}) {
			t.Fatalf("tasks %q", got)
		}
		ensure(t, s, refs["b"]).Release()
		ensure(t, s, refs["c"]).Release()
		if _, err := os.Stat(a.Layers[0]); err != nil {
			t.Fatal("a is in use and went:", err)
		}
	}
	for range 2 {
		if err := s.Drop("task-1"); err != nil {
			t.Fatal(err)
		}
	}
	ensure(t, s, refs["b"]).Release()
	ensure(t, s, refs["c"]).Release()
	if _, err := os.Stat(a.Layers[0]); err == nil {
		t.Error("a is in nobody's use, the oldest, and stayed")
	}
	if len(s.Tasks()) != 0 {
		t.Errorf("tasks %q", s.Tasks())
	}
	s.left(t)
}

func TestHoldsAreCounted(t *testing.T) {
	w := newWorld(t)
	s := openStore(t, Config{})
	a, b := ensure(t, s, w.push("a:1", imageOf(t, layerOf(t, "a=1")))), ensure(t, s, w.push("b:1", imageOf(t, layerOf(t, "b=1"))))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Hold("one"))
	must(a.Hold("one"))
	must(a.Hold("two"))
	a.Release()
	b.Release()
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "2 of 4"},
		{func() error { return s.Drop("two") }, "2 of 4"},
		{func() error { return b.Hold("one") }, "2 of 4"}, // b's instead of a's
		{func() error { return s.Drop("none") }, "2 of 4"},
		{func() error { return s.Drop("one") }, "0 of 4"},
	} {
		must(step.do())
		if got := s.held(); got != step.want {
			t.Errorf("held %s, want %s", got, step.want)
		}
	}
	s.left(t)
}

// What a process left in the midst of its work, or what was damaged since, is made anew.
func TestNothingHalfIsTrusted(t *testing.T) {
	w := newWorld(t)
	ref := w.push("app:1", imageOf(t, layerOf(t, "a=1"), layerOf(t, "b=2")))
	// Each harms something, and says what has to be gone when the store is opened again.
	damage := map[string]func(t *testing.T, s *Store, img *Image) (gone string){
		"a layer without its record": func(t *testing.T, s *Store, img *Image) string {
			remove(t, filepath.Join(img.Layers[0], "../layer.json"))
			return img.Layers[0]
		},
		"a torn record": func(t *testing.T, s *Store, img *Image) string {
			write(t, filepath.Join(img.Layers[1], "../layer.json"), `{"DiffID":"sha`)
			return img.Layers[1]
		},
		"a record of another layer": func(t *testing.T, s *Store, img *Image) string {
			text, err := os.ReadFile(filepath.Join(img.Layers[0], "../layer.json"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(img.Layers[1], "../layer.json"), string(text))
			return img.Layers[1]
		},
		"a torn record of the image": func(t *testing.T, s *Store, img *Image) string {
			write(t, s.path(imageKey(img.Digest), "image.json"), "{")
			return s.path(imageKey(img.Digest))
		},
		"a record of another image": func(t *testing.T, s *Store, img *Image) string {
			write(t, s.path(imageKey(img.Digest), "image.json"), `{"Digest":"sha256:00"}`)
			return s.path(imageKey(img.Digest))
		},
		"a layer in the making": func(t *testing.T, s *Store, img *Image) string {
			if err := os.MkdirAll(s.path("tmp", "123", "fs", "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			return s.path("tmp", "123")
		},
		"a task's torn file": func(t *testing.T, s *Store, img *Image) string {
			write(t, s.path("tasks", "t1"), `["lay`)
			return s.path("tasks", "t1")
		},
		"a hold of what is gone": func(t *testing.T, s *Store, img *Image) string {
			write(t, s.path("tasks", "t1"), `["layers/gone"]`)
			return s.path("layers", "gone")
		},
		"a stray file": func(t *testing.T, s *Store, img *Image) string {
			write(t, s.path("layers", "stray"), "")
			return s.path("layers", "stray")
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			config := Config{Dir: filepath.Join(t.TempDir(), "store")}
			s := openStore(t, config)
			gone := harm(t, s, ensure(t, s, ref))
			s.Close()
			s = openStore(t, config)
			s.left(t)
			if _, err := os.Lstat(gone); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", gone, err)
			}
			if diff := cmp.Diff([]string{"a=1", "b=2"}, contents(t, ensure(t, s, ref))); diff != "" {
				t.Error(diff)
			}
			s.left(t)
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A layer that is there twice is one folder for overlayfs, the upper one; one that hides all below it ends the stack.
func TestWhatOverlayfsIsToSee(t *testing.T) {
	w := newWorld(t)
	a, b := layerOf(t, "x=a"), layerOf(t, "x=b")
	hides := layerOf(t, ".wh..wh..opq=", "y=1")
	tests := []struct {
		name   string
		layers []v1.Layer
		want   []string
	}{
		{"twice", []v1.Layer{a, b, a}, []string{"x=b", "x=a"}},
		{"hidden", []v1.Layer{a, b, hides, a}, []string{"y=1", "x=a"}},
		{"none", nil, nil},
	}
	for _, test := range tests {
		s := openStore(t, Config{})
		img := ensure(t, s, w.push(test.name+":1", imageOf(t, test.layers...)))
		if diff := cmp.Diff(test.want, contents(t, img)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		img.Release()
		if held := s.held(); !strings.HasPrefix(held, "0 of") {
			t.Errorf("%s: held %s", test.name, held)
		}
	}
}
