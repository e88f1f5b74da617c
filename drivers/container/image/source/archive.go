package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// archive is files of a tar, which are read where they lie in it.
type archive struct {
	file  *os.File
	parts map[string]part
}

type part struct {
	at, size int64
	link     string // the part that is meant instead
}

// partsMax is far more than the blobs of any image.
const partsMax = 10_000

func openArchive(ref Ref) (place, error) {
	file, err := os.Open(ref.path)
	if err != nil {
		return nil, bad.Errorf("open the archive: %w", err)
	}
	at, err := readArchive(file, ref)
	if err != nil {
		file.Close()
		return nil, err
	}
	return at, nil
}

func readArchive(file *os.File, ref Ref) (place, error) {
	a := &archive{file: file, parts: map[string]part{}}
	if err := a.scan(); err != nil {
		return nil, err
	}
	if _, ok := a.parts["index.json"]; ok {
		return &layout{a}, nil
	}
	if _, ok := a.parts["manifest.json"]; ok {
		return openSaved(a, ref)
	}
	return nil, bad.Errorf("the archive is neither an OCI layout (it has no index.json) nor made by `docker save` (it has no manifest.json)")
}

// scan finds out where in the archive its files are. The tar reader reads nothing ahead and skips by seeking.
func (a *archive) scan() error {
	var magic [4]byte
	if n, _ := a.file.ReadAt(magic[:], 0); n >= 2 && magic[0] == 0x1f && magic[1] == 0x8b || string(magic[:n]) == "\x28\xb5\x2f\xfd" {
		return bad.Errorf("the archive is compressed: unpack it with gunzip or unzstd first")
	}
	in := tar.NewReader(a.file)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bad.Errorf("read the archive: %w", err)
		}
		if len(a.parts) >= partsMax {
			return bad.Errorf("the archive has more than %d files", partsMax)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return fmt.Errorf("read the archive: %w", err)
			}
			a.parts[name] = part{at: at, size: h.Size}
		case tar.TypeSymlink: // docker save writes a layer that is there twice once
			a.parts[name] = part{link: path.Join("/", path.Dir(name), h.Linkname)[1:]}
		case tar.TypeLink:
			a.parts[name] = part{link: path.Clean("/" + h.Linkname)[1:]}
		}
	}
}

func (a *archive) open(name string, from int64) (io.ReadCloser, error) {
	found, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if from > found.size {
		return nil, errors.New("it is shorter")
	}
	return io.NopCloser(io.NewSectionReader(a.file, found.at+from, found.size-from)), nil
}

func (a *archive) find(name string) (part, error) {
	for range 10 {
		found, ok := a.parts[name]
		if !ok {
			return part{}, fmt.Errorf("%s is not in the archive: %w", short(name), fs.ErrNotExist)
		}
		if found.link == "" {
			return found, nil
		}
		name = found.link
	}
	return part{}, fmt.Errorf("%s is a link to a link to a link", short(name))
}

func (a *archive) Close() error { return a.file.Close() }

// short quotes a name for people.
func short(name string) string {
	if len(name) > 100 {
		name = name[:50] + "..." + name[len(name)-50:]
	}
	return fmt.Sprintf("%q", strings.ToValidUTF8(name, "?"))
}
