//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/testbed/cluster"
)

// Two machines, of which one shares a folder: whoever works in it gets that one, though the other is the better fit, and finds
// there what people have put there, as they find what it makes. What cannot be is refused, or ends, and costs nothing.
func TestAJobWorksInASharedFolder(t *testing.T) {
	containertest.Need(t)
	if err := container.Installed(); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	containertest.MakeRoot(t, root)
	repository, _ := push(t, root, v1.Config{Env: []string{"PATH=/bin"}, WorkingDir: "/srv"})
	share, err := os.MkdirTemp("/srv", "coinop-e2e-share-") // /tmp a task has for itself
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(share)) })
	project := filepath.Join(share, "project")
	must(t, errors.Join(os.Chmod(share, 0o755), os.Mkdir(project, 0o755), os.Chmod(project, 0o777),
		os.WriteFile(filepath.Join(project, "given"), []byte("given\n"), 0o644), os.Symlink("/etc", filepath.Join(share, "out"))))

	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	_, err = c.StartExecutor(ctx, "without", "--cpus", "1", "--memory", "1GiB", "--local-images")
	must(t, err)
	_, err = c.StartExecutor(ctx, "with", "--cpus", "3", "--memory", "8GiB", "--local-images", "--share", share, "--share", share+"-gone")
	must(t, err)
	h := c.Operator()
	runs(t, ctx, h, "operator", "issue", "100000")
	must(t, cluster.Until(ctx, time.Minute, "both machines run containers", func() (bool, error) {
		n := gpuNode(t, ctx, h, "with")
		return slices.Contains(n.Drivers, "container") && slices.Contains(gpuNode(t, ctx, h, "without").Drivers, "container") && slices.Equal(n.Shares, []string{share}), nil
	}))
	if got := runs(t, ctx, h, "nodes", "show", "with").Stdout; !strings.Contains(got, share+"-gone") {
		t.Errorf("it does not say which folder is not there: %s", got)
	}
	box := []string{"--image", repository + ":1"}
	refused := func(saying string, args ...string) {
		t.Helper()
		before := balance(t, ctx, h)
		r, err := h.Run(ctx, append([]string{"submit"}, args...)...)
		must(t, err)
		if r.Code == 0 || !strings.Contains(r.Stderr, saying) || balance(t, ctx, h) != before {
			t.Errorf("%s: %+v, and the wallet has %d of %d", cluster.Line(args...), r, balance(t, ctx, h), before)
		}
	}
	refused("the machines of pool default share no folder", job("--chdir", project, "--", "true")...)
	runs(t, ctx, h, "operator", "pool", "set", "default", "--drivers", "process,container", "--share", share)
	if got := runs(t, ctx, h, "pools").Stdout; !strings.Contains(got, share) {
		t.Errorf("the pools are %s", got)
	}
	if r, err := h.Run(ctx, "operator", "pool", "set", "default", "--drivers", "container", "--admission", "open"); err != nil || r.Code == 0 || !strings.Contains(r.Stderr, "strangers") {
		t.Errorf("an open pool that shares: %+v, %v", r, err)
	}

	// in a container, twice at once, on the machine that has the folder
	boxed := submit(t, ctx, h, job(append(box, "--array", "0-1", "--chdir", project, "--output", "kept", "--", "sh", "-c",
		`pwd; cat given; echo made by $COINOP_TASK >made-$COINOP_TASK; echo kept >$HOME/kept; ls ..; sleep 1`)...)...)
	await(t, ctx, h, boxed, "done")
	private := show(t, ctx, h, boxed).Private
	if private.Chdir != project || len(private.Runs) != 2 {
		t.Errorf("it is shown as %+v", private)
	}
	for _, r := range private.Runs {
		if r.Node != "with" || r.ExitCode == nil || *r.ExitCode != 0 {
			t.Errorf("task %d ran on %s: %+v", r.Task, r.Node, r)
		}
		file := filepath.Join(project, "made-"+strconv.Itoa(int(r.Task)))
		if got, err := os.ReadFile(file); err != nil || string(got) != "made by "+strconv.Itoa(int(r.Task))+"\n" {
			t.Errorf("in the share lies %q, %v", got, err)
		}
		if info, err := os.Stat(file); err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 { //nolint:forcetypeassert // it is one on Linux
			t.Errorf("%s is root's: %v", file, err)
		}
	}
	if got := runs(t, ctx, h, "logs", strconv.FormatUint(boxed, 10), "--task", "1", "--stdout").Stdout; got != project+"\ngiven\nproject\n" {
		t.Errorf("in its container: %q", got)
	}
	out := t.TempDir()
	runs(t, ctx, h, "get", strconv.FormatUint(boxed, 10), out)
	if found, _ := filepath.Glob(filepath.Join(out, "*/kept")); len(found) != 2 {
		t.Errorf("its outputs are %q", found)
	}

	// without an image, as a script that says it, with an input: that lies in the task's own folder
	script, input := filepath.Join(t.TempDir(), "job.sh"), filepath.Join(t.TempDir(), "input")
	must(t, errors.Join(os.WriteFile(input, []byte("input\n"), 0o644), os.WriteFile(script, []byte("#!/bin/sh\n#COINOP --chdir "+project+"\n#COINOP --input "+input+
		"\n#COINOP --cpus 1 --memory 64MiB --time 2m --pay 400\n[ \"$PWD\" = \"$(pwd)\" ] && pwd; cat given $HOME/input made-0; [ -e input ] || echo apart\n"), 0o755)))
	plain := submit(t, ctx, h, script)
	undisturbed(t, ctx, h, plain, project+"\ngiven\ninput\nmade by 0\napart\n")
	if r := show(t, ctx, h, plain).Private.Runs[0]; r.Node != "with" {
		t.Errorf("it ran on %s", r.Node)
	}
	elsewhere := submit(t, ctx, h, job("--", "true")...)
	await(t, ctx, h, elsewhere, "done")
	if r := show(t, ctx, h, elsewhere).Private.Runs[0]; r.Node != "without" {
		t.Errorf("what needs no folder ran on %s, so that the other was the better fit was not seen", r.Node)
	}

	file := filepath.Join(t.TempDir(), "job.hcl")
	must(t, os.WriteFile(file, []byte("job \"outside\" {\n  command = [\"true\"]\n  chdir   = \"/etc\"\n  time    = \"1m\"\n  pay     = 100\n}\n"), 0o644))
	refused("is not in "+share, file)
	refused("virtual machines have no shared folders", job("--vm", repository+":1", "--chdir", project, "--", "true")...)

	// a link that somebody has planted
	for _, args := range [][]string{nil, box} {
		n := submit(t, ctx, h, job(append(args, "--chdir", filepath.Join(share, "out"), "--", "true")...)...)
		await(t, ctx, h, n, "done")
		if j := show(t, ctx, h, n); j.Reason != "start_failed" || j.ExitCode == nil || *j.ExitCode != 126 || j.Private.SpentMicro != 0 ||
			!strings.Contains(j.Private.Runs[0].Text, "follow a link out of a share") {
			t.Errorf("by a link out of the share it ended as %s, %+v", j.Reason, j.Private)
		}
	}
	runs(t, ctx, h, "operator", "pool", "set", "default", "--share", "")
	var pools client.PoolList
	must(t, h.JSON(ctx, &pools, "pools"))
	if pools.Pools[0].Share != "" {
		t.Errorf("it shares %s still", pools.Pools[0].Share)
	}
}
