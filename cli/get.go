package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) getVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "get JOB [DIR]",
		Short: "fetch a job's output files",
		Long: "Fetch a job's output files into DIR (default: here). An array's go into a folder for each task.\n" +
			"A file that is already there with the same bytes is left alone; with other bytes it is kept, and the command fails.",
		Example:           "  coinop get 12 results",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 2 {
				dir = args[1]
			}
			return a.get(cmd.Context(), args[0], dir)
		},
	}
}

func (a *app) get(ctx context.Context, arg, dir string) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	n, err := jobNumber(arg)
	if err != nil {
		return err
	}
	view, err := a.needViewKey(ctx, n)
	if err != nil {
		return err
	}
	job, err := c.Job(ctx, n, view)
	if err != nil {
		return err
	}
	list, err := c.Outputs(ctx, n, view)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("fetch outputs: %w", err)
	}
	root, err := os.OpenRoot(dir) // names come from strangers' tasks: nothing leaves the folder
	if err != nil {
		return fmt.Errorf("fetch outputs: %w", err)
	}
	defer root.Close()
	array := job.Tasks.First != job.Tasks.Last
	for _, f := range list.Files {
		name := f.Name
		if array {
			name = path.Join(strconv.Itoa(int(f.Task)), f.Name)
		}
		if err := fetch(ctx, c, root, name, f, view); err != nil {
			return fmt.Errorf("fetch %s: %w", name, err)
		}
		a.say("%s  %s", name, size(f.Size))
	}
	if a.json {
		return a.printJSON(list)
	}
	if len(list.Files) == 0 {
		a.note("job %d left no output files", n)
	}
	return nil
}

// fetch writes one file beside its name first, and renames it when its digest is right.
func fetch(ctx context.Context, c *client.Client, root *os.Root, name string, f client.File, view string) (err error) {
	switch same, err := sameBytes(root, name, f.SHA256); {
	case err != nil:
		return err
	case same:
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	part := name + ".part"
	out, err := root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fs.FileMode(f.Mode).Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), root.Remove(part))
		}
	}()
	sum := sha256.New()
	if _, err = c.Blob(ctx, f.SHA256, view, io.MultiWriter(out, sum)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("the bytes' digest is %s, not %s", got, f.SHA256)
	}
	if err = out.Close(); err != nil {
		return err
	}
	return root.Rename(part, name)
}

// sameBytes reports whether the file is there already; another file of that name is an error.
func sameBytes(root *os.Root, name, digest string) (bool, error) {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	if hex.EncodeToString(sum.Sum(nil)) == digest {
		return true, nil
	}
	return false, errors.New("another file of that name is there; move it away or name another folder")
}
