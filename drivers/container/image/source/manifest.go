package source

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// Manifest is what an image consists of, checked against its digests and against this machine.
type Manifest struct {
	Digest       string // what the reference means: of the index, if there is one
	Manifest     string // of this platform's manifest
	ConfigDigest string
	Config       v1.ConfigFile
	Layers       []Layer // lowest first
}

// Layer is a layer as it is stored, and the digest of what comes out of it.
type Layer struct {
	DiffID string
	blob   v1.Descriptor
}

// Size is of the layer as it is stored.
func (l Layer) Size() int64 { return l.blob.Size }

// String names the layer as the manifest does.
func (l Layer) String() string { return l.blob.Digest.String() }

// dockerZstd is what BuildKit calls zstd beside Docker's other types.
const dockerZstd types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"

// layersMax is what Docker and containerd can mount, so nobody builds more.
const layersMax = 127

// Manifest reads what the image consists of on this machine.
func (s *Source) Manifest(ctx context.Context) (Manifest, error) {
	var m Manifest
	digest := s.ref.digest
	for nested := 0; ; nested++ {
		all, mediaType, err := s.manifest(ctx, digest)
		if err != nil {
			return Manifest{}, err
		}
		m.Manifest = digestOf(all)
		if m.Digest == "" {
			m.Digest = m.Manifest
		}
		index, one, err := parse(all, mediaType)
		if err != nil {
			return Manifest{}, bad.Errorf("manifest %s: %w", m.Manifest, err)
		}
		if one != nil {
			return m, s.complete(ctx, &m, one)
		}
		if nested > 2 {
			return Manifest{}, bad.Errorf("manifest %s: indexes are nested too deep", m.Manifest)
		}
		if digest, err = choose(index); err != nil {
			return Manifest{}, bad.Errorf("manifest %s: %w", m.Manifest, err)
		}
	}
}

// parse reads an index or a manifest. The media type in the text rules, since its digest covers it.
func parse(all []byte, told string) (*v1.IndexManifest, *v1.Manifest, error) {
	var kind struct {
		MediaType     types.MediaType `json:"mediaType"`
		SchemaVersion int             `json:"schemaVersion"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(all, &kind); err != nil {
		return nil, nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if kind.SchemaVersion == 1 {
		return nil, nil, fmt.Errorf("it has Docker's old form of 2015, schema 1: build the image again")
	}
	mediaType := kind.MediaType
	if mediaType == "" {
		mediaType = types.MediaType(told)
	}
	if mediaType == "" && kind.Manifests != nil {
		mediaType = types.OCIImageIndex
	}
	switch mediaType {
	case types.OCIImageIndex, types.DockerManifestList:
		index, err := v1.ParseIndexManifest(bytes.NewReader(all))
		return index, nil, err
	case types.OCIManifestSchema1, types.DockerManifestSchema2, "":
		one, err := v1.ParseManifest(bytes.NewReader(all))
		return nil, one, err
	}
	return nil, nil, fmt.Errorf("its media type %q is unknown", mediaType)
}

// choose finds this machine's image in an index.
func choose(index *v1.IndexManifest) (string, error) {
	there := map[string]bool{}
	var all []string
	for _, variant := range variants() {
		for _, d := range index.Manifests {
			if d.Platform == nil {
				all = append(all, d.Digest.String())
				continue
			}
			if d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH && d.Platform.Variant == variant {
				return d.Digest.String(), nil
			}
			there[d.Platform.String()] = true
		}
	}
	if len(there) == 0 && len(index.Manifests) == 1 {
		return index.Manifests[0].Digest.String(), nil
	}
	if len(there) == 0 {
		slices.Sort(all)
		return "", fmt.Errorf("there are %d images: name one of them with @ and its digest: %s", len(index.Manifests), strings.Join(slices.Compact(all), ", "))
	}
	return "", fmt.Errorf("there is no image for linux/%s, only for %s", runtime.GOARCH, strings.Join(slices.Sorted(maps.Keys(there)), ", "))
}

// variants are those of this architecture that every such machine runs, the best one first.
func variants() []string {
	switch runtime.GOARCH {
	case "amd64":
		return []string{"", "v1"}
	case "arm64":
		return []string{"v8", ""}
	case "arm":
		return []string{"v7", "v6", "v5", ""}
	}
	return []string{""}
}

// complete reads the config, and checks that manifest and config are of one image, and that it is one for this machine.
func (s *Source) complete(ctx context.Context, m *Manifest, one *v1.Manifest) error {
	switch one.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON:
	default:
		return bad.Errorf("manifest %s is of no container image: its config is of the media type %q", m.Manifest, one.Config.MediaType)
	}
	if checkDigest(one.Config.Digest.String()) != nil {
		return bad.Errorf("manifest %s: config %s: %w", m.Manifest, one.Config.Digest, errDigest)
	}
	all, err := s.config(ctx, one.Config)
	if err != nil {
		return err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(all))
	if err != nil {
		return bad.Errorf("config %s is no JSON: %w", one.Config.Digest, err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		return bad.Errorf("config %s: it is for %q/%q, this machine is linux/%s", one.Config.Digest, config.OS, config.Architecture, runtime.GOARCH)
	}
	if len(one.Layers) != len(config.RootFS.DiffIDs) {
		return bad.Errorf("manifest %s has %d layers, its config %d", m.Manifest, len(one.Layers), len(config.RootFS.DiffIDs))
	}
	if len(one.Layers) > layersMax {
		return bad.Errorf("manifest %s has %d layers, %d are possible", m.Manifest, len(one.Layers), layersMax)
	}
	for i, blob := range one.Layers {
		layer := Layer{config.RootFS.DiffIDs[i].String(), blob}
		if err := check(layer); err != nil {
			return bad.Errorf("layer %s (%d of %d): %w", layer, i+1, len(one.Layers), err)
		}
		m.Layers = append(m.Layers, layer)
	}
	m.ConfigDigest, m.Config = one.Config.Digest.String(), *config
	return nil
}

func check(l Layer) error {
	switch l.blob.MediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer, dockerZstd:
	case types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, types.DockerForeignLayer:
		return fmt.Errorf("it may not be in registries and is to be had elsewhere only (media type %q)", l.blob.MediaType)
	default:
		return fmt.Errorf("its media type %q is unknown", l.blob.MediaType)
	}
	if checkDigest(l.blob.Digest.String()) != nil || checkDigest(l.DiffID) != nil {
		return errDigest
	}
	if l.blob.Size < 0 {
		return fmt.Errorf("its size is %d", l.blob.Size)
	}
	return nil
}
