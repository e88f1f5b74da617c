package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coinop/coinop/api/client"
)

// replica answers `pools` as a server that has applied so many entries; one that lags has seen the rest when it was
// asked once more.
type replica struct {
	cluster string
	applied atomic.Uint64
	refused atomic.Int32
}

func (r *replica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set(client.HeaderCluster, r.cluster)
	wants, _ := strconv.ParseUint(req.Header.Get(client.HeaderIndex), 10, 64)
	if req.Header.Get(client.HeaderCluster) == r.cluster && wants > r.applied.Load() {
		r.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"code":"index_ahead","title":"x","detail":"behind","do":"ask another"}`))
		return
	}
	w.Header().Set(client.HeaderIndex, strconv.FormatUint(r.applied.Load(), 10))
	_, _ = w.Write([]byte(`{"pools":[]}`))
}

func serve(t *testing.T, r *replica) string {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL
}

// command runs one command line as a process of its own would.
func command(t *testing.T, args ...string) {
	t.Helper()
	a := &app{version: "test", in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	if code := a.run(context.Background(), args); code != 0 {
		t.Fatalf("%v exits with %d", args, code)
	}
}

func TestTheSecondCommandSeesWhatTheFirstHasDone(t *testing.T) {
	t.Setenv("COINOP_HOME", filepath.Join(t.TempDir(), "home"))
	fresh, late := &replica{cluster: "aa"}, &replica{cluster: "aa"}
	fresh.applied.Store(12)
	late.applied.Store(7)
	first, second := serve(t, fresh), serve(t, late)
	command(t, "pools", "--server", first+","+second)
	command(t, "pools", "--server", second+","+first)
	if late.refused.Load() != 1 {
		t.Fatal("the server that lags was not told what the first command has seen")
	}
	late.applied.Store(20)
	command(t, "pools", "--server", second)
	if got := seenAt([]string{first}); got.Cluster != "aa" || got.Index != 20 {
		t.Fatalf("kept %+v", got)
	}
}

func TestANewClusterAtAnOldAddressIsNotWaitedFor(t *testing.T) {
	t.Setenv("COINOP_HOME", t.TempDir())
	r := &replica{cluster: "aa"}
	r.applied.Store(900)
	url := serve(t, r)
	command(t, "pools", "--server", url)
	r.cluster = "bb"
	r.applied.Store(2)
	command(t, "pools", "--server", url)
	if got := seenAt([]string{url}); got.Cluster != "bb" || got.Index != 2 || r.refused.Load() != 0 {
		t.Fatalf("kept %+v, refused %d", got, r.refused.Load())
	}
}

func TestWhatWasSeenMayBeLost(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("COINOP_HOME", dir)
	r := &replica{cluster: "aa"}
	r.applied.Store(5)
	url := serve(t, r)
	for _, broken := range []string{"", "{", `[{"cluster":1}]`} {
		if err := os.WriteFile(filepath.Join(dir, seenFile), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, "pools", "--server", url)
	}
	t.Setenv("COINOP_HOME", "/dev/null/nowhere")
	command(t, "pools", "--server", url)
}
