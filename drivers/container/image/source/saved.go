package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// saved is what `docker save` wrote before it wrote OCI layouts, and what other tools still write: files without digests.
// So they are read once to find those out, and a manifest is made of them.
type saved struct {
	files  files
	config string
	layers []string
	names  map[string]string // of files, by the digests of what they hold
}

func openSaved(in *archive, ref Ref) (place, error) {
	s := &saved{files: in, names: map[string]string{}}
	all, err := s.read("manifest.json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(all, &list); err != nil {
		return nil, bad.Errorf("manifest.json is not what `docker save` writes: %w", err)
	}
	if len(list) != 1 {
		var tags []string
		for _, one := range list {
			tags = append(tags, one.RepoTags...)
		}
		return nil, bad.Errorf("the archive holds %d images (%s): save one alone", len(list), short(strings.Join(tags, " ")))
	}
	if len(list[0].Layers) > layersMax {
		return nil, bad.Errorf("the image has %d layers, %d are possible", len(list[0].Layers), layersMax)
	}
	if ref.digest != "" {
		return nil, bad.Errorf("what `docker save` wrote has no digests: leave out @%s", ref.digest)
	}
	s.config, s.layers = path.Clean("/" + list[0].Config)[1:], list[0].Layers
	return s, nil
}

func (s *saved) read(name string) ([]byte, error) {
	file, err := s.files.open(name, 0)
	if err != nil {
		return nil, bad.Errorf("read %s: %w", name, err)
	}
	defer file.Close()
	return text(file, name)
}

func (s *saved) manifest(ctx context.Context, _ string) ([]byte, string, error) {
	config, err := s.read(s.config)
	if err != nil {
		return nil, "", err
	}
	made := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2}
	made.Config = v1.Descriptor{MediaType: types.DockerConfigJSON, Size: int64(len(config)), Digest: s.name(s.config, sha256.Sum256(config))}
	for _, layer := range s.layers {
		d, err := s.describe(ctx, path.Clean("/" + layer)[1:])
		if err != nil {
			return nil, "", fmt.Errorf("layer %s: %w", short(layer), err)
		}
		made.Layers = append(made.Layers, d)
	}
	all, err := json.Marshal(made)
	return all, "", err
}

func (s *saved) name(file string, sum [sha256.Size]byte) v1.Hash {
	digest := v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum)}
	s.names[digest.String()] = file
	return digest
}

// describe reads a layer once. Whether it is compressed is found out when it is unpacked.
func (s *saved) describe(ctx context.Context, name string) (v1.Descriptor, error) {
	file, err := s.files.open(name, 0)
	if err != nil {
		return v1.Descriptor{}, bad.Errorf("%w", err)
	}
	defer file.Close()
	hash, size := sha256.New(), int64(0)
	for {
		n, err := io.CopyN(hash, file, 8<<20)
		size += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return v1.Descriptor{}, err
		}
	}
	return v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: size, Digest: s.name(name, [sha256.Size]byte(hash.Sum(nil)))}, nil
}

func (s *saved) blob(_ context.Context, blob v1.Descriptor, from int64) (io.ReadCloser, error) {
	return s.files.open(s.names[blob.Digest.String()], from)
}

func (s *saved) again(error) bool { return false }

func (s *saved) close() { s.files.Close() }
