package image

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// A process that was killed in the midst of a layer leaves the layers that were whole, and nothing else; its tasks keep
// what they hold.
func TestKilledInTheMidstOfALayer(t *testing.T) {
	if dir := os.Getenv("COINOP_TEST_STORE"); dir != "" {
		pullForEver(t, dir, os.Getenv("COINOP_TEST_REF"))
		return
	}
	w := newWorld(t)
	img := imageOf(t, layerOf(t, "a=1"), filled(t, "b", mib))
	ref := w.push("app:1", img)
	digest, text := layerBytes(t, img, 1)
	var killed atomic.Bool
	var asked atomic.Int64 // for blobs after the kill, other than the layer that was not whole
	torn := changed(w.inner, digest, hang(text[:len(text)/2]))
	w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case !killed.Load():
			torn.ServeHTTP(rw, r)
			return
		case filepath.Base(r.URL.Path) != digest && filepath.Base(filepath.Dir(r.URL.Path)) == "blobs":
			asked.Add(1)
		}
		w.inner.ServeHTTP(rw, r)
	})
	dir := filepath.Join(t.TempDir(), "store")
	child := exec.Command("/proc/self/exe", "-test.run", "^TestKilledInTheMidstOfALayer$")
	child.Env = append(os.Environ(), "COINOP_TEST_STORE="+dir, "COINOP_TEST_REF="+ref.String())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		half, _ := filepath.Glob(filepath.Join(dir, "tmp/*/fs/b"))
		whole, _ := filepath.Glob(filepath.Join(dir, "layers/*/fs/a"))
		if len(half) == 1 && len(whole) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it never came to the midst of the layer")
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	killed.Store(true)
	s := openStore(t, Config{Dir: dir})
	s.left(t)
	if held := s.held(); held != "0 of 1" {
		t.Errorf("after the kill: held %s", held)
	}
	if diff := cmp.Diff([]string{"a=1", "b"}, contents(t, ensure(t, s, ref))); diff != "" {
		t.Error(diff)
	}
	if asked.Load() != 1 { // the config
		t.Errorf("the layer that was whole was fetched again: %d", asked.Load())
	}
	s.left(t)
}

func pullForEver(t *testing.T, dir, text string) {
	ref, err := source.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: dir, LimitBytes: 64 * mib})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Ensure(context.Background(), ref, source.Auth{}, nil)
	t.Error("it ended:", err)
}
