package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// files are those of a folder or of an archive.
type files interface {
	// open reads a file from a byte on.
	open(name string, from int64) (io.ReadCloser, error)
	Close() error
}

// layout is an OCI layout: blobs under their digests, and an index of what they are.
type layout struct {
	files files
}

func openLayout(ref Ref) (place, error) {
	root, err := os.OpenRoot(ref.path)
	if err != nil {
		return nil, bad.Errorf("open the OCI layout: %w", err)
	}
	at := &layout{folder{root}}
	if _, err := at.text("index.json"); err != nil {
		root.Close()
		return nil, bad.Errorf("the folder is no OCI layout: %w", err)
	}
	return at, nil
}

// folder is files below a folder. None of them can be of another one.
type folder struct{ *os.Root }

func (f folder) open(name string, from int64) (io.ReadCloser, error) {
	file, err := f.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO is to be an error, not to wait for somebody
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err == nil {
		_, err = file.Seek(from, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (l *layout) text(name string) ([]byte, error) {
	file, err := l.files.open(name, 0)
	if err != nil {
		return nil, bad.Errorf("read %s: %w", name, err)
	}
	defer file.Close()
	return text(file, name)
}

func (l *layout) manifest(_ context.Context, digest string) ([]byte, string, error) {
	named := digest != ""
	if !named {
		all, err := l.text("index.json")
		if err != nil {
			return nil, "", err
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(all))
		if err == nil {
			digest, err = choose(index)
		}
		if err != nil {
			return nil, "", bad.Errorf("index.json: %w", err)
		}
	}
	if err := checkDigest(digest); err != nil {
		return nil, "", bad.Errorf("manifest %q: %w", digest, err)
	}
	all, err := l.text(blobName(digest))
	if err == nil && !named {
		err = match(all, digest)
	}
	return all, "", err
}

func (l *layout) blob(_ context.Context, blob v1.Descriptor, from int64) (io.ReadCloser, error) {
	return l.files.open(blobName(blob.Digest.String()), from)
}

func blobName(digest string) string { return path.Join("blobs/sha256", digest[len("sha256:"):]) }

// again: a file says tomorrow what it says today.
func (l *layout) again(error) bool { return false }

func (l *layout) close() { l.files.Close() }
