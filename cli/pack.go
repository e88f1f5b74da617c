package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// packedName is what a copy is called on its way; its own name, which may be anything, is needed at its end only.
const packedName = "data"

// pack writes a file, or a folder with all in it, as tar does that the smallest images know: GNU's form, which takes names of any
// length and bytes.
func pack(to io.Writer, from string, count *counter) (got copied, err error) {
	out := tar.NewWriter(to)
	from, err = filepath.EvalSymlinks(from) // of what is named itself; links within it stay links
	if err != nil {
		return got, err
	}
	err = filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		kept, err := packOne(out, name, path.Join(packedName, filepath.ToSlash(rest)), info, count)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case !kept:
			got.LeftOut = append(got.LeftOut, name+": neither a file nor a folder")
		case !info.IsDir():
			got.Files++
		}
		return nil
	})
	return got, errors.Join(err, out.Close())
}

func packOne(out *tar.Writer, name, packed string, info fs.FileInfo, count *counter) (kept bool, err error) {
	h := &tar.Header{
		Name: packed, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second), Format: tar.FormatGNU,
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, packed+"/"
	case mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(name); err != nil {
			return false, err
		}
	case mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
	default:
		return false, nil
	}
	if h.Typeflag != tar.TypeReg {
		return true, out.WriteHeader(h)
	}
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if err := out.WriteHeader(h); err != nil {
		return false, err
	}
	n, err := io.Copy(io.MultiWriter(out, count), io.LimitReader(file, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("it has become shorter while it was read: %w", io.ErrUnexpectedEOF)
	}
	return true, err
}
