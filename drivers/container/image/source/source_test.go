package source

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestReferences(t *testing.T) {
	tests := []struct {
		text, repository, digest string
		local                    bool
		refused                  string
	}{
		{text: "debian:12", repository: "index.docker.io/library/debian"},
		{text: "registry.example/team/app:1.2", repository: "registry.example/team/app"},
		{text: "docker://registry.example/app", repository: "registry.example/app"},
		{text: "registry.example/app@" + zeros, repository: "registry.example/app", digest: zeros},
		{text: "registry.example/app:1@" + zeros, repository: "registry.example/app", digest: zeros},
		{text: "localhost:5000/app", repository: "localhost:5000/app", local: true},
		{text: "127.9.9.9:5000/app", repository: "127.9.9.9:5000/app", local: true},
		{text: "[::1]:5000/app", repository: "[::1]:5000/app", local: true},
		{text: "0.0.0.0:5000/app", repository: "0.0.0.0:5000/app", local: true},
		{text: "10.0.0.1:5000/app", repository: "10.0.0.1:5000/app"},
		{text: "/images/app", repository: "/images/app", local: true},
		{text: "/images/../app.tar@" + zeros, repository: "/app.tar", digest: zeros, local: true},
		{text: "x.sif", refused: "Apptainer"},
		{text: "/images/x.SIF", refused: "Apptainer"},
		{text: "registry.example/x.sif:1", repository: "registry.example/x.sif"},
		{text: "./app.tar", refused: "absolute path"},
		{text: "", refused: "is not a reference"},
		{text: "Upper/Case", refused: "is not a reference"},
		{text: "app@sha256:12", refused: "is not a reference"},
		{text: "app@sha512:" + strings.Repeat("0", 128), refused: "64 hexadecimal digits"},
		{text: "/images/app@", refused: "64 hexadecimal digits"},
		{text: "/images/app@sha256:../../../etc/passwd", refused: "64 hexadecimal digits"},
	}
	for _, test := range tests {
		ref, err := Parse(test.text)
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%q: got %v, want %q", test.text, err, test.refused)
			}
			continue
		}
		if err != nil || ref.Repository() != test.repository || ref.Digest() != test.digest || ref.Local() != test.local || ref.String() != test.text {
			t.Errorf("%q: %q %q local=%v, %v", test.text, ref.Repository(), ref.Digest(), ref.Local(), err)
		}
	}
	if _, err := Open(t.Context(), Ref{}, Auth{}, time.Second); !errors.Is(err, bad.Image) {
		t.Errorf("no reference: %v", err)
	}
}

func TestFilesOfCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := ReadAuth(path); err == nil {
		t.Error("a file that is not there was read")
	}
	for text, want := range map[string]string{
		`{"auths":{"index.docker.io":{"auth":"am9objpzZWNyZXQ="}}}`:             "john",
		`{"auths":{"https://index.docker.io/v1/":{"auth":"am9objpzZWNyZXQ="}}}`: "john",
		`{"auths":{"docker.io":{"username":"john","password":"secret"}}}`:       "john",
		`{"auths":{"index.docker.io":{}},"credsStore":"desktop"}`:               "",
		`{}`: "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		auth, err := ReadAuth(path)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		ref, _ := Parse("debian:12")
		found, known := auth.of(ref.image.Context())
		given, err := found.Authorization()
		if err != nil || given.Username != want || known != (want != "") {
			t.Errorf("%s: %q %v, %v", text, given.Username, known, err)
		}
	}
	for _, text := range []string{"", "[]", `{"auths":{"a":{"auth":"***"}}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAuth(path); err == nil || strings.Contains(err.Error(), "***") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A registry elsewhere cannot lead to this machine, nor to anybody without encryption.
func TestWhereARegistryMayLead(t *testing.T) {
	asked := false
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer service.Close()
	port := service.URL[strings.LastIndex(service.URL, ":"):]
	ask := func(here bool, url string) error {
		opened := line(here, time.Second)
		defer opened.CloseIdleConnections()
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&patient{opened, here, time.Second}).RoundTrip(request)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	for _, url := range []string{"http://127.0.0.1" + port, "https://localhost" + port, "http://[::1]" + port, "https://0.0.0.0" + port, "http://registry.example/", "https://169.254.169.254/"} {
		if err := ask(false, url); !errors.Is(err, bad.Image) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := ask(true, "http://192.0.2.1/"); !errors.Is(err, bad.Image) {
		t.Errorf("plain HTTP from loopback to elsewhere: %v", err)
	}
	if asked {
		t.Error("the service on this machine was asked")
	}
	if err := ask(true, "http://127.0.0.1"+port); err != nil || !asked {
		t.Errorf("a registry on this machine: %v", err)
	}
	// A name of elsewhere that resolves to this machine is only found out when it is dialled.
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "0.0.0.0:443", "169.254.169.254:80", "[fe80::1]:443", "[::ffff:127.0.0.1]:443"} {
		if err := own(address); !errors.Is(err, bad.Image) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"10.0.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"} {
		if err := own(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
