//go:build e2e

package guide

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

const (
	readyMax = time.Minute     // until dev is ready
	guideMax = 5 * time.Minute // for all blocks together
	endMax   = 20 * time.Second
)

// TestTheGuideWorks pastes every block of the guide, in order, into one shell beside a fresh `coinop dev`.
func TestTheGuideWorks(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := Blocks(string(page))
	if err != nil {
		t.Fatal(err)
	}
	bin, home, work, script := folder(t), folder(t), folder(t), folder(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "coinop"), "github.com/coinop/coinop")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build coinop: %v\n%s", err, out)
	}
	env := environment(bin, home)
	addr, devLog := startDev(t, filepath.Join(bin, "coinop"), env)

	ctx, cancel := context.WithTimeout(t.Context(), guideMax)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", writeBlocks(t, script, blocks))
	shell.Dir, shell.Env = work, append(env, "COINOP_ADDR="+addr)
	// What a block leaves in the background ends with the shell.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = time.Second
	if err := shell.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		i, out := begun(t, script)
		t.Fatalf("docs/guide.md, the block at line %d: %v\n%s\nprinted:\n%s\ndev said:\n%s", blocks[i].Line, err, blocks[i].Text, out, devLog())
	}
}

// folder is a temporary folder that tasks' users can pass through.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := cluster.TempDir("coinop-guide-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// environment is this process's without any setting of coinop's.
func environment(bin, home string) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "COINOP_") && !strings.HasPrefix(e, "PATH=") {
			env = append(env, e)
		}
	}
	return append(env, "PATH="+bin+":"+os.Getenv("PATH"), "COINOP_HOME="+home)
}

// freePort is an address of this machine that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

// startDev returns where dev listens once it is ready, and a function that tells what it has logged.
func startDev(t *testing.T, coinop string, env []string) (addr string, logged func() string) {
	t.Helper()
	logFile := filepath.Join(folder(t), "dev.log")
	logTo, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer logTo.Close()
	dev := exec.Command(coinop, "dev", "--http", freePort(t))
	dev.Env, dev.Stderr = env, logTo
	stdout, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(endMax, func() { _ = dev.Process.Kill() })
		defer late.Stop()
		_ = dev.Process.Signal(syscall.SIGTERM)
		if err := dev.Wait(); err != nil {
			t.Errorf("dev's end: %v", err)
		}
	})
	logged = func() string {
		b, _ := os.ReadFile(logFile)
		return string(bytes.TrimSpace(b))
	}
	late := time.AfterFunc(readyMax, func() { _ = dev.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready http://")
	if !ok {
		t.Fatalf("dev's first line is %q (%v)\n%s", line, err, logged())
	}
	return addr, logged
}
