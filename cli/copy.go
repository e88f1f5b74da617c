package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) copyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "cp SRC JOB[.TASK]:DST | JOB[.TASK]:SRC DST",
		Short: "copy a file or a folder into a running task, or out of it",
		Long: "Copy a file or a folder, with all in it, into a running task or out of it. Modes and times are kept. A path there\n" +
			"that does not begin with / is in the task's work folder. Where DST is a folder that is there, the copy goes into it;\n" +
			"what has the same name is replaced, when all has arrived. The image needs sh, tar, mkdir, mv and rm.\n" +
			"Links within a folder stay links; those that lead out of it are left out on the way here.",
		Example: "  coinop cp data.csv 12:\n  coinop cp ./src 12:/work/src\n  coinop cp 12:results . && ls results\n  coinop cp 12.7:/work/model.bin ./12:odd-name",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			jobs, _ := a.completeJobs(cmd, args, text)
			for i := range jobs {
				jobs[i] += ":"
			}
			return jobs, cobra.ShellCompDirectiveNoSpace // or a file here
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parsePlace(args[0])
			if err != nil {
				return err
			}
			to, err := parsePlace(args[1])
			if err != nil {
				return err
			}
			if (from.task == "") == (to.task == "") {
				return usageError{errors.New("one of the two is in a task, as JOB:PATH, and the other one is here")}
			}
			q, err := a.taskQuery(cmd.Context(), from.task+to.task)
			if err != nil {
				return err
			}
			return a.copy(cmd.Context(), q, from, to)
		},
	}
}

// place is one end of a copy.
type place struct {
	task string // JOB or JOB.TASK; "": here
	path string
}

// parsePlace takes what begins with a number and a colon for a path in a task; a file here of such a name is ./12:name.
func parsePlace(arg string) (place, error) {
	task, there, found := strings.Cut(arg, ":")
	if arg == "" {
		return place{}, usageError{errors.New("a path is empty")}
	}
	if !found || strings.Trim(task, "0123456789.") != "" || task == "" {
		return place{path: arg}, nil
	}
	if strings.IndexByte(there, 0) >= 0 {
		return place{}, usageError{errors.New("a path holds a NUL byte")}
	}
	if !strings.HasPrefix(there, "/") { // so that no path looks like a flag, and each has a folder
		there = "./" + there
	}
	_, _, err := jobAndTask(task)
	return place{task, there}, err
}

// remote runs a shell's script in a task, with arguments.
type remote func(ctx context.Context, in io.Reader, out io.Writer, script string, args ...string) error

// copied is what --json prints of a copy.
type copied struct {
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	LeftOut []string `json:"left_out,omitempty"`
}

func (a *app) copy(ctx context.Context, q client.ExecQuery, from, to place) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	run := func(ctx context.Context, in io.Reader, out io.Writer, script string, args ...string) error {
		return runThere(ctx, c, q, in, out, script, args...)
	}
	count := a.countBytes()
	var got copied
	if from.task == "" {
		got, err = copyIn(ctx, run, from.path, to.path, count)
	} else {
		got, err = copyOut(ctx, run, from.path, to.path, count)
	}
	count.end()
	if ctx.Err() != nil {
		return exitInterrupted
	}
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	got.Bytes = count.total()
	for _, name := range got.LeftOut {
		a.note("left out: %s", plain(name))
	}
	if err := a.show(got, func() { a.say("%s, %s", things(fmt.Sprint(got.Files), "file"), size(got.Bytes)) }); err != nil {
		return err
	}
	if len(got.LeftOut) > 0 {
		return exitCode(1)
	}
	return nil
}

// runThere runs a script in a task; what it says of an error is part of the error.
func runThere(ctx context.Context, c *client.Client, q client.ExecQuery, in io.Reader, out io.Writer, script string, args ...string) error {
	q.Command = append([]string{"sh", "-c", script, "sh"}, args...)
	said := &firstBytes{most: 4 << 10}
	code, message, err := execute(ctx, c, q, ends{in: in, out: out, err: said})
	switch text := strings.TrimSpace(plain(said.String())); {
	case err != nil:
		return err
	case code == 0:
		return nil
	case text != "":
		return fmt.Errorf("in job %d: %s", q.Job, text)
	case code == codeNotFound || code == codeNotExecutable:
		return fmt.Errorf("job %d has no shell: a copy needs sh, tar, mkdir, mv and rm in its image (%s)", q.Job, message)
	default:
		return fmt.Errorf("in job %d: %s", q.Job, message)
	}
}

// firstBytes keeps the beginning of what is written to it.
type firstBytes struct {
	bytes.Buffer
	most int
}

// Write is part of [io.Writer].
func (f *firstBytes) Write(p []byte) (int, error) {
	f.Buffer.Write(p[:min(len(p), f.most-f.Len())])
	return len(p), nil
}

const needTar = `command -v tar >/dev/null 2>&1 || { echo "there is no tar, which a copy needs in the image" >&2; exit 127; }
`

// Where a copy goes in a task: into a folder that is there, else it becomes DST. It is unpacked beside that, on the same disk.
const wherein = `to=$1 name=$2
if [ -d "$to" ]; then to=${to%/}/$name; fi
case $to in */) echo "there is no folder $to" >&2; exit 1;; esac
dir=${to%/*}
stage=$dir/$3
`

const unpackIn = needTar + wherein + `[ -d "$dir/" ] || { echo "there is no folder $dir" >&2; exit 1; }
mkdir "$stage" && exec tar -x -o -p -f - -C "$stage"
`

// placeIn puts all that has arrived under its final name; a folder that is there already takes up what is in the new one.
const placeIn = wherein + `place() {
	if [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$2" ]; then
		for f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
			if [ -e "$f" ] || [ -L "$f" ]; then place "$f" "$2/${f##*/}" || return 1; fi
		done
	elif [ -d "$2" ] && [ ! -L "$2" ]; then
		echo "$2 is a folder, and a file was to go there" >&2
		return 1
	else
		mv -f "$1" "$2"
	fi
}
place "$stage/data" "$to" && rm -rf "$stage"
`

const dropIn = wherein + `rm -rf "$stage"
`

// copyIn copies into a task: packed here, unpacked there beside its place, and put there by a second command. A connection
// that breaks looks like an end to tar, so only this side knows that all has arrived.
func copyIn(ctx context.Context, run remote, from, to string, count *counter) (copied, error) {
	absolute, err := filepath.Abs(from)
	if err != nil {
		return copied{}, err
	}
	args := []string{to, filepath.Base(absolute), ".coinop-cp-" + ulid.Make().String()}
	if err := count.expect(absolute); err != nil {
		return copied{}, err
	}
	packed, packs := io.Pipe()
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan copied, 1)
	go func() {
		got, err := pack(packs, absolute, count)
		if err != nil { // tar there must not take this for the end
			stop(err)
		}
		packs.CloseWithError(err) //nolint:errcheck // it never fails
		done <- got
	}()
	err = run(going, packed, io.Discard, unpackIn, args...)
	if cause := context.Cause(going); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	packed.CloseWithError(errors.New("nobody takes it any more")) //nolint:errcheck // it never fails
	got := <-done
	if err == nil {
		err = run(ctx, nil, io.Discard, placeIn, args...)
	}
	if err != nil {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = run(tidying, nil, io.Discard, dropIn, args...) // what stays ends with the task
	}
	return got, err
}

const packOut = needTar + `if [ -d "$1" ]; then exec tar -c -f - -C "$1" .; fi
[ -e "$1" ] || { echo "there is no $1" >&2; exit 1; }
dir=${1%/*}
exec tar -c -h -f - -C "$dir/" "./${1##*/}"
`

// copyOut copies out of a task.
func copyOut(ctx context.Context, run remote, from, to string, count *counter) (copied, error) {
	site, err := openSite(path.Base(from), to)
	if err != nil {
		return copied{}, err
	}
	defer site.close()
	packed, packs := io.Pipe()
	type result struct {
		got copied
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := site.unpack(packed, count)
		packed.CloseWithError(err) //nolint:errcheck // it never fails
		done <- result{got, err}
	}()
	err = run(ctx, nil, packs, packOut, from)
	packs.CloseWithError(err) //nolint:errcheck // it never fails
	r := <-done
	if err == nil {
		err = r.err
	}
	if err == nil {
		err = site.place()
	}
	return r.got, err
}
