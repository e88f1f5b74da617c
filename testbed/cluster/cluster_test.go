package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a stand-in for a daemon.
func script(t *testing.T, dir, text string) *Process {
	t.Helper()
	p, err := start(dir, "daemon", os.Environ(), "/bin/sh", "-c", text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), d)
	t.Cleanup(stop)
	return ctx
}

func TestADaemonIsReadyWithItsFirstLine(t *testing.T) {
	p := script(t, t.TempDir(), "echo ready http://127.0.0.1:1; exec sleep 60")
	line, err := p.Ready(within(t, 10*time.Second))
	if err != nil || line != "ready http://127.0.0.1:1" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := p.Stop(10 * time.Second); err != nil || !p.Ended() {
		t.Errorf("stop: %v", err)
	}
}

func TestADaemonThatDiesIsToldWithItsLastWords(t *testing.T) {
	p := script(t, t.TempDir(), "echo the port is taken >&2; exit 3")
	_, err := p.Ready(within(t, 10*time.Second))
	if err == nil || !strings.Contains(err.Error(), "the port is taken") || p.ExitCode() != 3 {
		t.Errorf("%v, code %d", err, p.ExitCode())
	}
}

func TestADaemonThatDoesNotStopIsKilledAndTold(t *testing.T) {
	p := script(t, t.TempDir(), "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	if _, err := p.Ready(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(50 * time.Millisecond); err == nil || !p.Ended() {
		t.Errorf("it ended: %v, and the error is %v", p.Ended(), err)
	}
}

func TestWhatIsLeftIsFound(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := Left(dir); err != nil || len(left) != 0 {
		t.Fatalf("an empty folder: %v, %v", left, err)
	}
	p := script(t, dir, "echo ready; exec sleep 60") // it runs in the folder
	if _, err := p.Ready(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	left, err := Left(dir)
	if err != nil || len(left) != 1 || !strings.Contains(left[0], "sleep 60") {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := Clear(dir); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if left, err := Left(dir); err != nil || len(left) != 0 {
		t.Errorf("after the end: %v, %v", left, err)
	}
}

func TestACommandLineCanBePasted(t *testing.T) {
	for want, args := range map[string][]string{
		"coinop run -- sh -c 'echo $HOME; ls *'": {"run", "--", "sh", "-c", "echo $HOME; ls *"},
		`coinop run -- echo 'it'\''s' ''`:        {"run", "--", "echo", "it's", ""},
		"coinop submit --pay 5 a=b":              {"submit", "--pay", "5", "a=b"},
	} {
		if got := Line(args...); got != want {
			t.Errorf("%s\nis not\n%s", got, want)
		}
	}
}
