package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/scheduler/jobfile"
)

// readJob is the job that a command line, an environment and files stand for.
func readJob(t *testing.T, stdin string, args ...string) (jobfile.Job, error) {
	t.Helper()
	a := &app{in: strings.NewReader(stdin), out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	var (
		f   jobFlags
		job jobfile.Job
	)
	cmd := &cobra.Command{Use: "submit", Args: jobArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			job, err = a.job(cmd, &f, args)
			return err
		}}
	f.add(cmd, a)
	cmd.SetArgs(args)
	return job, cmd.Execute()
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsComeBeforeVariablesAndThoseBeforeTheFile(t *testing.T) {
	file := write(t, "#!/bin/sh\n#COINOP --name file --pool file --time 1m --cpus 1\ntrue\n")
	t.Setenv("COINOP_SUBMIT_NAME", "variable")
	t.Setenv("COINOP_SUBMIT_POOL", "variable")
	t.Setenv("COINOP_SUBMIT_MAX_TOTAL", "7")
	job, err := readJob(t, "", "--name", "flag", file)
	if err != nil {
		t.Fatal(err)
	}
	if job.Name != "flag" || job.Pool != "variable" || job.Time != 60_000 || job.CPUMilli != 1000 || job.MaxTotal != 7_000_000 {
		t.Errorf("%+v", job)
	}
}

func TestTheCommandStandsBehindTheDashes(t *testing.T) {
	job, err := readJob(t, "", "--pay", "5", "--", "sh", "-c", "echo --pay 6")
	if err != nil || !reflect.DeepEqual(job.Argv(), []string{"sh", "-c", "echo --pay 6"}) || job.Pay != 5_000_000 {
		t.Errorf("%+v, %v", job, err)
	}
	job, err = readJob(t, "#!/bin/sh\necho $1\n", "-", "--", "an argument")
	if err != nil || string(job.Script) != "#!/bin/sh\necho $1\n" || !reflect.DeepEqual(job.Command, []string{"an argument"}) {
		t.Errorf("%+v, %v", job, err)
	}
}

func TestWrongJobsAreUsageErrors(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"an empty image":     {"job \"x\" {\n}\n", []string{"--image", "", "-"}, "image: is empty"},
		"nothing":            {"", nil, "what is to run?"},
		"two files":          {"", []string{"a", "b"}, "behind --: coinop submit -- a"},
		"no command":         {"job \"x\" {\n}\n", []string{"-"}, "no command"},
		"a typo":             {"job \"x\" {\n  tiem = \"1m\"\n}\n", []string{"-"}, "standard input:2"},
		"a typo in a script": {"#!/bin/sh\n#COINOP --tiem 1m\n", []string{"-"}, "Did you mean --time?"},
		"neither":            {"just text", []string{"-"}, "standard input"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readJob(t, c.stdin, c.args...)
			var usage usageError
			if err == nil || !strings.Contains(err.Error(), c.want) || (len(c.args) == 1 && !errors.As(err, &usage)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnImageMayBringItsCommand(t *testing.T) {
	job, err := readJob(t, "", "--image", "busybox:1")
	if err != nil || job.Image != "busybox:1" || len(job.Argv()) != 0 {
		t.Errorf("%+v, %v", job, err)
	}
}

func TestWhatIsSentIsWhatWasSaid(t *testing.T) {
	job, err := readJob(t, "", "--array", "2-5%3", "--mode", "stream", "--gpus", "a100:1", "--nvlink", "--gpu-memory", "40GiB", "--disk", "1GiB", "--label", "a=b",
		"--env", "X=1", "--output", "*.png", "--bid", "0.5", "--max-total", "9", "--driver", "container", "--image", "busybox:1", "--", "true")
	if err != nil {
		t.Fatal(err)
	}
	s := specOf(job, nil)
	if s.Array == nil || s.Array.First != 2 || s.Array.Last != 5 || s.Array.AtOnce != 3 || s.Mode != "stream" || s.GPUs != 1 || s.GPUKind != "a100" || !s.NVLink || s.GPUMemoryBytes != 40<<30 ||
		s.DiskBytes != 1<<30 || s.Labels["a"] != "b" || s.Env["X"] != "1" || s.Outputs[0] != "*.png" || s.BidMicro != 500_000 || s.MaxTotalMicro != 9_000_000 ||
		s.Driver != "container" || s.Image != "busybox:1" {
		t.Errorf("%+v", s)
	}
}

// A folder to work in is told as servers and machines know it, wherever it was said.
func TestAFolderToWorkInIsTakenFromHere(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	file := write(t, "job \"x\" {\n  command = [\"true\"]\n  chdir = \"from/a/file\"\n}\n")
	script := write(t, "#!/bin/sh\n#COINOP --chdir ../up\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--chdir", "data", "--", "true"}, filepath.Join(here, "data")},
		{[]string{"--chdir", ".", "--", "true"}, here},
		{[]string{"--chdir", "/srv//a/../b/", "--", "true"}, "/srv/b"},
		{[]string{file}, filepath.Join(here, "from/a/file")},
		{[]string{"--chdir", "/flag", file}, "/flag"},
		{[]string{script}, filepath.Join(filepath.Dir(here), "up")},
		{[]string{"--", "true"}, ""},
	} {
		job, err := readJob(t, "", c.args...)
		if err != nil || job.Chdir != c.want {
			t.Errorf("%q: works in %q, %v; want %q", c.args, job.Chdir, err, c.want)
		}
		if got := specOf(job, nil).Chdir; got != c.want {
			t.Errorf("%q: servers are told %q", c.args, got)
		}
	}
}
