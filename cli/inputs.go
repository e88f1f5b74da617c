package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler/jobfile"
)

// inputFile is one file that goes along with a job.
type inputFile struct {
	client.InputFile
	from   string
	digest [32]byte
}

// readInputs finds the files of a job's inputs, whole folders too, and their digests.
func readInputs(inputs []jobfile.Input) ([]inputFile, error) {
	var files []inputFile
	for _, in := range inputs {
		err := filepath.WalkDir(in.From, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(in.From, name)
			if err != nil {
				return err
			}
			to := in.To
			if rel != "." {
				to = path.Join(in.To, filepath.ToSlash(rel))
			}
			file, err := readInput(name, to)
			files = append(files, file)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read input %s: %w", in.From, err)
		}
	}
	return files, nil
}

func readInput(name, to string) (inputFile, error) {
	info, err := os.Stat(name)
	if err != nil {
		return inputFile{}, err
	}
	if !info.Mode().IsRegular() {
		return inputFile{}, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return inputFile{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return inputFile{}, err
	}
	file := inputFile{from: name, digest: [32]byte(sum.Sum(nil))}
	file.InputFile = client.InputFile{To: to, SHA256: hex.EncodeToString(file.digest[:]), Size: n, Mode: uint32(info.Mode().Perm())}
	return file, nil
}

// sendInputs sends the bytes that the servers lack, before the job that names them.
func (a *app) sendInputs(ctx context.Context, c *client.Client, files []inputFile) error {
	for i, f := range files {
		have, err := c.HasBlob(ctx, f.SHA256)
		if err != nil {
			return fmt.Errorf("send input %s: %w", f.from, err)
		}
		if have {
			continue
		}
		if f.Size >= 16<<20 {
			a.note("sending %s, %s (%d of %d)", f.from, size(f.Size), i+1, len(files))
		}
		err = c.PutBlob(ctx, f.digest, f.Size, func() (io.ReadCloser, error) { return os.Open(f.from) })
		if err != nil {
			return fmt.Errorf("send input %s: %w", f.from, err)
		}
	}
	return nil
}
