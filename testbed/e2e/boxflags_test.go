//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What an image says of its start counts where the job says nothing: its entrypoint with its command, its folder, its
// variables. What the job says counts instead, by flags as by a file.
func TestAJobSaysHowItsImageStarts(t *testing.T) {
	ctx, _, h, repository, _ := boxes(t, v1.Config{
		Env: []string{"PATH=/bin", "OF=the image"}, WorkingDir: "/srv/app",
		Entrypoint: []string{"/bin/sh", "-c", `echo "$OF: $0 $* in $(pwd)"`, "says"}, Cmd: []string{"its", "command"},
	})
	file := filepath.Join(t.TempDir(), "job.hcl")
	must(t, os.WriteFile(file, []byte(`job "box" {
  image      = "`+repository+`:1"
  entrypoint = ["sh", "-c", "pwd; df -k /dev/shm | awk 'END {print $2}'; touch /new || echo read-only; touch new && echo $1"]
  command    = ["sh", "its own"]
  workdir    = "/work"
  read_only  = true
  shm_size   = "3MiB"
  time       = "1m"
  pay        = 1000
}
`), 0o644))
	const readOnly = "/work\n3072\nread-only\nits own\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{job("--image", repository+":1"), "the image: says its command in /srv/app\n"},
		{job("--image", repository+":1", "--env", "OF=the job", "--", "another"), "the job: says another in /srv/app\n"},
		{job("--image", repository+":1", "--workdir", "/tmp"), "the image: says its command in /tmp\n"},
		{job("--image", repository+":1", "--entrypoint", "echo", "--entrypoint", "just"), "just\n"},
		{job("--image", repository+":1", "--entrypoint", "echo", "--", "that"), "that\n"},
		{[]string{file}, readOnly},
	} {
		undisturbed(t, ctx, h, submit(t, ctx, h, c.args...), c.want)
	}
	open := submit(t, ctx, h, job("--image", repository+":1", "--entrypoint", "sleep", "--read-only", "--workdir", "/bin", "--", "600")...)
	await(t, ctx, h, open, "running")
	number := strconv.FormatUint(open, 10)
	if got := runs(t, ctx, h, "shell", number, "--", "sh", "-c", "pwd; touch /new || echo $OF").Stdout; got != "/bin\nthe image\n" {
		t.Errorf("in its shell: %q", got)
	}
	if p := show(t, ctx, h, open).Private; p == nil || !p.ReadOnly || len(p.Entrypoint) != 1 {
		t.Errorf("shown as %+v", p)
	}
	runs(t, ctx, h, "cancel", number)
	await(t, ctx, h, open, "done")
	none := submit(t, ctx, h, job("--image", repository+":1", "--read-only")...)
	await(t, ctx, h, none, "done")
	if p := show(t, ctx, h, none); !strings.Contains(p.Private.Runs[0].Text, "enter the work folder /srv/app: no such file") || p.Private.SpentMicro != 0 {
		t.Errorf("started in a folder that a read-only image has not, it ended as %q, %+v", p.Reason, p.Private)
	}
}
