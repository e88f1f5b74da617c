package image

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/drivers/container/image/source"
)

const stall = 300 * time.Millisecond

// hang answers with what it is given and then with nothing more, until the client goes.
func hang(first []byte) func(http.ResponseWriter, *http.Request) {
	return func(rw http.ResponseWriter, r *http.Request) {
		if len(first) > 0 {
			_, _ = rw.Write(first)
			rw.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

// A registry that hangs is given up, wherever it hangs, and so is one from which next to nothing comes.
func TestARegistryThatHangs(t *testing.T) {
	drip := func(rw http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(stall / 20):
				if _, err := rw.Write([]byte{0}); err != nil {
					return
				}
				rw.(http.Flusher).Flush()
			}
		}
	}
	tests := []struct {
		name, part string
		answer     func(http.ResponseWriter, *http.Request)
	}{
		{"at the greeting", "/v2/", hang(nil)},
		{"before the manifest", "/manifests/", hang(nil)},
		{"in the manifest", "/manifests/", hang([]byte(`{"schemaVersion":2,`))},
		{"before a blob", "/blobs/", hang(nil)},
		{"in a blob", "/blobs/", hang([]byte("{"))},
		{"drips the manifest", "/manifests/", drip},
		{"drips a blob", "/blobs/", drip},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ref := w.push("app:1", imageOf(t, filled(t, "a", mib)))
			w.handler = changed(w.inner, test.part, test.answer)
			s := openStore(t, Config{Stall: stall})
			began := time.Now()
			_, err := s.Ensure(t.Context(), ref, source.Auth{}, nil)
			if err == nil || !strings.Contains(err.Error(), "nothing comes from it for 300ms") || errors.Is(err, ErrBad) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 20*stall {
				t.Errorf("it took %s", took)
			}
			s.left(t)
		})
	}
}

// One that does not even answer the connection.
func TestARegistryThatSaysNothingAtAll(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	s := openStore(t, Config{Stall: stall})
	_, err = s.Ensure(t.Context(), parse(t, deaf.Addr().String()+"/app:1"), source.Auth{}, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing comes from it") {
		t.Errorf("got %v", err)
	}
}

// One that is slow, but goes on, may take as long as it needs: the time is for nothing coming, not for all.
func TestASlowRegistryIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	img := imageOf(t, filled(t, "a", 3*mib))
	ref := w.push("app:1", img)
	digest, bytes := layerBytes(t, img, 0)
	w.handler = changed(w.inner, digest, func(rw http.ResponseWriter, _ *http.Request) {
		for len(bytes) > 0 {
			n := min(len(bytes), 128<<10)
			_, _ = rw.Write(bytes[:n])
			rw.(http.Flusher).Flush()
			bytes = bytes[n:]
			time.Sleep(stall / 3) // this is the registry's slowness, which is what is tested
		}
	})
	s := openStore(t, Config{Stall: 4 * stall})
	began := time.Now()
	ensure(t, s, ref)
	if took := time.Since(began); took < 5*stall {
		t.Errorf("it was not slow: %s", took)
	}
}

func layerBytes(t testing.TB, img v1.Image, i int) (digest string, text []byte) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[i].Digest()
	if err != nil {
		t.Fatal(err)
	}
	in, err := layers[i].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if text, err = io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	return d.String(), text
}

// A registry that ends in the midst of a layer is asked for the rest, whether or not it knows how to give only that.
func TestALayerThatBreaksOffGoesOn(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprint("ranges ", ranges), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			img := imageOf(t, filled(t, "a", 3*mib))
			ref := w.push("app:1", img)
			digest, all := layerBytes(t, img, 0)
			var asked, sent atomic.Int64
			w.handler = changed(w.inner, digest, func(rw http.ResponseWriter, r *http.Request) {
				from := 0
				if r.Header.Get("Range") != "" && ranges {
					if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil {
						t.Error(err)
					}
					rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(all)-1, len(all)))
					rw.Header().Set("Content-Length", fmt.Sprint(len(all)-from))
					rw.WriteHeader(http.StatusPartialContent)
				} else {
					rw.Header().Set("Content-Length", fmt.Sprint(len(all)))
				}
				part := all[from:]
				if n := asked.Add(1); n < 7 { // more often than it is asked in vain
					part = part[:min(len(part), int(n)*120_000)]
				}
				sent.Add(int64(len(part)))
				_, _ = rw.Write(part)
			})
			s := openStore(t, Config{})
			ensure(t, s, ref)
			if asked.Load() != 7 && ranges {
				t.Errorf("asked %d times", asked.Load())
			}
			if ranges && sent.Load() > int64(len(all))+100_000 {
				t.Errorf("%d bytes were sent for %d", sent.Load(), len(all))
			}
			s.left(t)
		})
	}
}

func TestALayerThatAlwaysBreaksOffIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	img := imageOf(t, filled(t, "a", mib))
	ref := w.push("app:1", img)
	digest, all := layerBytes(t, img, 0)
	w.handler = changed(w.inner, digest, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = rw.Write(all[:500_000])
	})
	s := openStore(t, Config{})
	_, err := s.Ensure(t.Context(), ref, source.Auth{}, nil)
	if err == nil || !strings.Contains(err.Error(), "answers 503 Service Unavailable") || errors.Is(err, ErrBad) {
		t.Errorf("got %v", err)
	}
	s.left(t)
}

func TestABusyRegistryIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.push("app:1", imageOf(t, layerOf(t, "a=1")))
	var asked atomic.Int64
	w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 1 {
			rw.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.inner.ServeHTTP(rw, r)
	})
	ensure(t, openStore(t, Config{}), ref)
}

// guarded lets in whoever has the password: with Basic, or with a token that costs the password.
func guarded(inner http.Handler, bearer bool) http.Handler {
	const password = "Basic am9objpzZWNyZXQ=" // john:secret
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/token" && given == password:
			fmt.Fprint(w, `{"token":"opensesame"}`)
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		case bearer && given == "Bearer opensesame", !bearer && given == password:
			inner.ServeHTTP(w, r)
		case bearer:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

func authFile(t *testing.T, text string) source.Auth {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	auth, err := source.ReadAuth(path)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func TestCredentials(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		t.Run(fmt.Sprint("bearer ", bearer), func(t *testing.T) {
			w := newWorld(t)
			img := imageOf(t, layerOf(t, "a=1"))
			ref := w.push("team/app:1", img)
			w.handler = guarded(w.inner, bearer)
			with := func(password string) source.Auth {
				return authFile(t, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, w.host, base64.StdEncoding.EncodeToString([]byte("john:"+password))))
			}
			s := openStore(t, Config{})
			for _, test := range []struct {
				auth source.Auth
				want string
			}{
				{source.Auth{}, "wants credentials and there are none for it"},
				{with("wrong"), "refuses the credentials that "},
				{authFile(t, `{"auths":{"elsewhere.example":{"auth":"am9objpzZWNyZXQ="}}}`), "there are none for it"},
				{authFile(t, `{"credsStore":"desktop"}`), "names a program for them, which is not started"},
			} {
				if _, err := s.Ensure(t.Context(), ref, test.auth, nil); err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, ErrBad) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, want %q", err, test.want)
				}
			}
			got, err := s.Ensure(t.Context(), ref, with("secret"), nil)
			if err != nil {
				t.Fatal(err)
			}
			got.Release()
			// What took credentials to get is not for everybody who knows its digest, although it is there.
			by := w.ref("team/app@" + got.Digest)
			if _, err := s.Ensure(t.Context(), by, source.Auth{}, nil); err == nil {
				t.Error("it was given to somebody without credentials")
			}
			if _, err := s.Ensure(t.Context(), by, with("secret"), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// The file may name the repository, as podman's does; the longest name rules.
func TestCredentialsOfARepository(t *testing.T) {
	w := newWorld(t)
	ref := w.push("team/app:1", imageOf(t, layerOf(t, "a=1")))
	w.handler = guarded(w.inner, false)
	auth := authFile(t, fmt.Sprintf(`{"auths":{%q:{"auth":"d3Jvbmc6d3Jvbmc="},%q:{"username":"john","password":"secret"}}}`, w.host, w.host+"/team"))
	if _, err := openStore(t, Config{}).Ensure(t.Context(), ref, auth, nil); err != nil {
		t.Error(err)
	}
}

// Credentials are for the registry, not for whom it sends us to.
func TestARedirectionGetsNoCredentials(t *testing.T) {
	w := newWorld(t)
	img := imageOf(t, filled(t, "a", 100_000))
	ref := w.push("app:1", img)
	digest, text := layerBytes(t, img, 0)
	var given atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		given.Store(r.Header.Get("Authorization"))
		_, _ = io.Copy(rw, bytes.NewReader(text))
	}))
	defer elsewhere.Close()
	w.handler = guarded(changed(w.inner, digest, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, elsewhere.URL+"/blob?signature=s3cr3t", http.StatusTemporaryRedirect)
	}), false)
	auth := authFile(t, fmt.Sprintf(`{"auths":{%q:{"username":"john","password":"secret"}}}`, w.host))
	if _, err := openStore(t, Config{}).Ensure(t.Context(), ref, auth, nil); err != nil {
		t.Fatal(err)
	}
	if given.Load() != "" {
		t.Errorf("it was given %q", given.Load())
	}
	elsewhere.Close()
	_, err := openStore(t, Config{}).Ensure(t.Context(), ref, auth, nil)
	if err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}
