//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/api/client"
)

// The image of a container runs in a virtual machine, with inputs and outputs, and is billed; what is no disk is told, and does not
// count against the machine.
func TestAJobRunsInAVirtualMachine(t *testing.T) {
	ctx, _, h, repository, digest := machines(t, v1.Config{Env: []string{"PATH=/bin", "OF=the image"}, Cmd: []string{"/bin/sh", "-c", "echo I am $OF"}}, 1, "2")
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
	_, err := h.Run(ctx, "get", strconv.FormatUint(through, 10), out)
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

	// A file that is no disk; one of which only a machine can find out that it cannot be mounted; and one without the command.
	dir := t.TempDir()
	for folder := dir; folder != "/"; folder = filepath.Dir(folder) { // the tasks' user has to get there
		must(t, os.Chmod(folder, 0o755))
		if folder == filepath.Clean(os.TempDir()) {
			must(t, os.Chmod(folder, 0o777|os.ModeSticky))
			break
		}
	}
	noise, blank, empty := filepath.Join(dir, "noise"), filepath.Join(dir, "blank"), filepath.Join(dir, "empty")
	must(t, os.WriteFile(noise, []byte(strings.Repeat("noise", 10_000)), 0o644))
	superblock := make([]byte, 4<<20) // with the mark of one and nothing else
	superblock[0x438], superblock[0x439] = 0x53, 0xef
	must(t, os.WriteFile(blank, superblock, 0o644))
	must(t, exec.Command("mkfs.ext4", "-q", empty, "4M").Run())
	must(t, os.Chmod(empty, 0o644))
	for _, bad := range []struct{ image, want string }{
		{noise, "it is no disk"}, {blank, "mount the image: invalid argument: EXT4-fs"}, {empty, "execute true: no such file or directory"},
	} {
		none := submit(t, ctx, h, job("--vm", bad.image, "--", "true")...)
		await(t, ctx, h, none, "done")
		told, err := h.Run(ctx, "show", strconv.FormatUint(none, 10))
		must(t, err)
		if !strings.Contains(told.Stdout, bad.want) {
			t.Errorf("of %s it is told %s, want a word of %q", bad.image, told.Stdout, bad.want)
		}
		if got := balance(t, ctx, h); got != after {
			t.Errorf("%s cost %d", bad.image, after-got)
		}
	}
	var list client.NodeList
	must(t, h.JSON(ctx, &list, "nodes"))
	if len(list.Nodes) != 1 || list.Nodes[0].State != "up" {
		t.Errorf("after bad images the machine is %+v", list.Nodes)
	}
}
