//go:build e2e

// Package e2e breaks real processes while they work.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// binary is the coinop that all tests run: built once, or named by COINOP_BINARY.
var binary = os.Getenv("COINOP_BINARY")

func TestMain(m *testing.M) { os.Exit(built(m)) }

func built(m *testing.M) int {
	if binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "coinop-e2e-")
	if err == nil {
		binary = filepath.Join(dir, "coinop")
		err = errors.Join(os.Chmod(dir, 0o755), cluster.Build(context.Background(), "../..", binary))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// newCluster is a cluster whose end leaves nothing, or the test fails.
func newCluster(t *testing.T) (context.Context, *cluster.Cluster) {
	t.Helper()
	return newClusterFor(t, 4*time.Minute)
}

func newClusterFor(t *testing.T, patience time.Duration) (context.Context, *cluster.Cluster) {
	t.Helper()
	dir, err := cluster.TempDir("e2e-")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(dir, binary)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			for _, p := range c.Running() {
				t.Logf("%s:\n%s", p.Name, p.LogTail(15))
			}
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		left, err := cluster.Left(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := errors.Join(cluster.Clear(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return ctx, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// submit sends a job and returns its number.
func submit(t *testing.T, ctx context.Context, h cluster.Home, args ...string) uint64 {
	t.Helper()
	var answer client.SubmitAnswer
	must(t, h.JSON(ctx, &answer, append([]string{"submit"}, args...)...))
	return answer.Job
}

func show(t *testing.T, ctx context.Context, h cluster.Home, n uint64) client.Job {
	t.Helper()
	var job client.Job
	must(t, h.JSON(ctx, &job, "show", fmt.Sprint(n)))
	return job
}

// await waits for a job's state.
func await(t *testing.T, ctx context.Context, h cluster.Home, n uint64, state string) {
	t.Helper()
	must(t, cluster.Until(ctx, time.Minute, fmt.Sprintf("job %d is %s", n, state), func() (bool, error) {
		var job client.Job
		err := h.JSON(ctx, &job, "show", fmt.Sprint(n))
		return job.State == state, err
	}))
}

// undisturbed fails unless a job has ended well, in one run, with this output.
func undisturbed(t *testing.T, ctx context.Context, h cluster.Home, n uint64, output string) {
	t.Helper()
	await(t, ctx, h, n, "done")
	job := show(t, ctx, h, n)
	if job.ExitCode == nil || *job.ExitCode != 0 || job.Private == nil || len(job.Private.Runs) != 1 {
		t.Errorf("job %d: %s, code %v, %+v", n, job.Reason, job.ExitCode, job.Private)
	}
	logs, err := h.Run(ctx, "logs", fmt.Sprint(n), "--stdout")
	must(t, err)
	if logs.Stdout != output {
		t.Errorf("job %d wrote %q, want %q (%s)", n, logs.Stdout, output, logs.Stderr)
	}
}

func balance(t *testing.T, ctx context.Context, h cluster.Home) uint64 {
	t.Helper()
	var lines []struct{ Free, Reserved uint64 }
	must(t, h.JSON(ctx, &lines, "wallet", "balance"))
	if len(lines) != 1 || lines[0].Reserved != 0 {
		t.Fatalf("the wallet has %+v", lines)
	}
	return lines[0].Free
}

// pluginOf is the process of a plugin in a machine's folder: a driver's, or the provider's of GPUs.
func pluginOf(t *testing.T, dir, name string) int {
	t.Helper()
	pids, err := cluster.Processes(dir)
	must(t, err)
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(line), "\x00plugin\x00"+name+"\x00") {
			return pid
		}
	}
	t.Fatalf("no plugin %s runs in %s", name, dir)
	return 0
}

// gone waits until no process below a folder has a text on its command line.
func gone(t *testing.T, ctx context.Context, dir, text string) {
	t.Helper()
	must(t, cluster.Until(ctx, time.Minute, "no process says "+text, func() (bool, error) {
		pids, err := cluster.Processes(dir)
		for _, pid := range pids {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), text) {
				return false, nil
			}
		}
		return err == nil, err
	}))
}
