// Package source reads the manifests and layers of container images from where they are, and believes nothing that their digests do not say.
package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// Source is one image in a registry, a layout or an archive, opened. Its methods may be called from several goroutines.
type Source struct {
	ref   Ref
	place place
}

// place is where manifests and blobs lie under their digests.
type place interface {
	// manifest reads a manifest or an index. An empty digest asks for what the reference means; the media type may be
	// empty where the place does not tell it.
	manifest(ctx context.Context, digest string) (text []byte, mediaType string, err error)
	// blob reads a blob from a byte on. What it gives need not be what was asked for: the caller checks.
	blob(ctx context.Context, blob v1.Descriptor, from int64) (io.ReadCloser, error)
	// again says whether reading on may help after this error.
	again(error) bool
	close()
}

// Open finds the place of a reference. A registry from which nothing comes for as long as stall is given up.
func Open(ctx context.Context, ref Ref, auth Auth, stall time.Duration) (*Source, error) {
	if ref.image != nil {
		r, err := openRegistry(ctx, ref, auth, stall)
		if err != nil {
			return nil, err
		}
		return &Source{ref, r}, nil
	}
	if ref.path == "" {
		return nil, bad.Errorf("no image is named")
	}
	info, err := os.Stat(ref.path)
	if err != nil {
		return nil, bad.Errorf("there is no such path: %w", err)
	}
	var at place
	switch {
	case info.IsDir():
		at, err = openLayout(ref)
	case info.Mode().IsRegular():
		at, err = openArchive(ref)
	default:
		err = bad.Errorf("it is neither a folder nor a file")
	}
	if err != nil {
		return nil, err
	}
	return &Source{ref, at}, nil
}

// Close ends what Open began. Layers that are still being read end with an error.
func (s *Source) Close() { s.place.close() }

// textMax is the size of a manifest, an index or a config. Registries take no larger ones.
const textMax = 4 << 20

// text reads something small to its end.
func text(from io.Reader, what string) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(from, textMax+1))
	if err != nil {
		return nil, err
	}
	if len(all) > textMax {
		return nil, bad.Errorf("%s is larger than %d MiB", what, textMax>>20)
	}
	return all, nil
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// manifest reads a manifest and checks it against the digest, if there is one.
func (s *Source) manifest(ctx context.Context, digest string) ([]byte, string, error) {
	all, mediaType, err := s.place.manifest(ctx, digest)
	if err == nil && digest != "" {
		err = match(all, digest)
	}
	return all, mediaType, err
}

func match(manifest []byte, digest string) error {
	if got := digestOf(manifest); got != digest {
		return fmt.Errorf("manifest %s: what came has the digest %s", digest, got)
	}
	return nil
}

// config reads a config and checks it against its digest.
func (s *Source) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Size > textMax {
		return nil, bad.Errorf("config %s is larger than %d MiB", d.Digest, textMax>>20)
	}
	if d.Data != nil && digestOf(d.Data) == d.Digest.String() {
		return d.Data, nil
	}
	from := s.open(ctx, d)
	defer from.Close()
	all, err := text(from, "config "+d.Digest.String())
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", d.Digest, err)
	}
	return bytes.Clone(all), nil
}

// Layer reads a layer as it is stored. Its end comes only if size and digest are those of the manifest.
func (s *Source) Layer(ctx context.Context, l Layer) io.ReadCloser { return s.open(ctx, l.blob) }

// Where is the registry that gives the layers, or the file or folder.
func (s *Source) Where() string {
	if s.ref.image != nil {
		return s.ref.image.Context().RegistryStr()
	}
	return s.ref.path
}

// Public says that a registry gives the image to whoever asks.
func (s *Source) Public() bool {
	r, ok := s.place.(*registry)
	return ok && !r.known
}
