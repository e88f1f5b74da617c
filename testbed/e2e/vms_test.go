//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm/vmtest"
	"github.com/coinop/coinop/testbed/cluster"
)

// The image of a container runs in a virtual machine, with inputs and outputs, and is billed; what is no disk is told, and does not
// count against the machine.
func TestAJobRunsInAVirtualMachine(t *testing.T) {
	kernel := vmtest.Need(t)
	root := t.TempDir()
	containertest.MakeRoot(t, root)
	repository, digest := push(t, root, v1.Config{Env: []string{"PATH=/bin", "OF=the image"}, Cmd: []string{"/bin/sh", "-c", "echo I am $OF"}})
	ctx, c := newCluster(t)
	addr, err := cluster.FreeAddr()
	must(t, err)
	h := c.Home("user", addr, "")
	must(t, c.StartDev(ctx, h, "--cpus", "2", "--vm-kernel", kernel))
	must(t, cluster.Until(ctx, time.Minute, "the machine runs virtual machines", func() (bool, error) {
		var list client.NodeList
		err := h.JSON(ctx, &list, "nodes")
		return len(list.Nodes) == 1 && slices.Contains(list.Nodes[0].Drivers, "vm"), err
	}))
	set, err := h.Run(ctx, "operator", "pool", "set", "default", "--drivers", "process,vm", "--token", "@"+filepath.Join(c.Dir, "dev", "server", "operator.token"))
	must(t, err)
	if set.Code != 0 {
		t.Fatal(set.Stderr)
	}

	input := filepath.Join(t.TempDir(), "input")
	must(t, os.WriteFile(input, []byte("in and out\n"), 0o644))
	before := balance(t, ctx, h)
	through := submit(t, ctx, h, job("--vm", repository+"@"+digest, "--input", input, "--output", "made",
		"--", "sh", "-c", "cp input made; pwd; id -u; echo $OF; [ -e /etc/shadow ] || echo own root; [ -e /dev/vda ] && echo own disk; sleep 1")...)
	undisturbed(t, ctx, h, through, "/work\n0\nthe image\nown root\nown disk\n")
	if p := show(t, ctx, h, through).Private; p == nil || p.SpentMicro < 1_000_000 {
		t.Errorf("a second in a virtual machine cost %+v", p)
	}
	out := t.TempDir()
	_, err = h.Run(ctx, "get", strconv.FormatUint(through, 10), out)
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(out, "made")); err != nil || string(got) != "in and out\n" {
		t.Errorf("its output is %q, %v", got, err)
	}

	open := submit(t, ctx, h, job("--vm", repository+":1", "--", "sleep", "60")...)
	inside, err := h.Run(ctx, "shell", strconv.FormatUint(open, 10), "--", "sh", "-c", "echo $OF; echo wrong >&2; pwd; exit 7") // it waits for the task
	must(t, err)
	if inside.Code != 7 || inside.Stdout != "the image\n/work\n" || inside.Stderr != "wrong\n" {
		t.Errorf("a command in the machine: %+v", inside)
	}
	_, err = h.Run(ctx, "cancel", strconv.FormatUint(open, 10))
	must(t, err)
	await(t, ctx, h, open, "done")
	after := balance(t, ctx, h)
	if after >= before {
		t.Errorf("the wallet had %d and has %d", before, after)
	}

	// A disk without a file system, which only the machine itself can find out; and a file that is no disk.
	dir := t.TempDir()
	for folder := dir; folder != "/"; folder = filepath.Dir(folder) { // the tasks' user has to get there
		must(t, os.Chmod(folder, 0o755))
		if folder == filepath.Clean(os.TempDir()) {
			must(t, os.Chmod(folder, 0o777|os.ModeSticky))
			break
		}
	}
	noise, blank := filepath.Join(dir, "noise"), filepath.Join(dir, "blank")
	must(t, os.WriteFile(noise, []byte(strings.Repeat("noise", 10_000)), 0o644))
	superblock := make([]byte, 4<<20) // with the mark of one and nothing else
	superblock[0x438], superblock[0x439] = 0x53, 0xef
	must(t, os.WriteFile(blank, superblock, 0o644))
	for i, bad := range []struct{ image, want string }{{noise, "it is no disk"}, {blank, "no file system"}} {
		none := submit(t, ctx, h, job("--vm", bad.image, "--", "true")...)
		await(t, ctx, h, none, "done")
		told, err := h.Run(ctx, "show", strconv.FormatUint(none, 10))
		must(t, err)
		if !strings.Contains(told.Stdout, bad.want) {
			t.Errorf("of %s it is told %s, want a word of %q", bad.image, told.Stdout, bad.want)
		}
		if got := balance(t, ctx, h); i == 0 && got != after { // the second is paid for as long as its machine ran
			t.Errorf("a file that is no disk cost %d", after-got)
		}
	}
	var list client.NodeList
	must(t, h.JSON(ctx, &list, "nodes"))
	if len(list.Nodes) != 1 || list.Nodes[0].State != "up" {
		t.Errorf("after bad images the machine is %+v", list.Nodes)
	}
}
