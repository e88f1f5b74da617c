package source

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// An archive of any bytes is refused, or is an image whose parts have the digests that it says.
func FuzzArchive(f *testing.F) {
	config := fmt.Sprintf(`{"os":"linux","architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digestOf([]byte("layer")))
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":%q},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":5,"digest":%q}]}`,
		len(config), digestOf([]byte(config)), digestOf([]byte("layer")))
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%d,"digest":%q}]}`, len(manifest), digestOf([]byte(manifest)))
	f.Add(index, manifest, config, "layer")
	f.Add("", `[{"Config":"config","RepoTags":["a:1"],"Layers":["layer","layer"]}]`, config, "layer")
	f.Add(`{"manifests":[{"digest":"sha256:0","platform":{"os":"linux"}}]}`, `{"schemaVersion":1}`, "{}", "")
	f.Fuzz(func(t *testing.T, index, manifest, config, layer string) {
		var packed bytes.Buffer
		w := tar.NewWriter(&packed)
		files := [][2]string{
			{"manifest.json", manifest}, {"config", config}, {"layer", layer},
			{blobName(digestOf([]byte(manifest))), manifest}, {blobName(digestOf([]byte(config))), config}, {blobName(digestOf([]byte(layer))), layer},
		}
		if index != "" {
			files = append(files, [2]string{"index.json", index})
		}
		for _, file := range files {
			if err := w.WriteHeader(&tar.Header{Name: file[0], Typeflag: tar.TypeReg, Size: int64(len(file[1])), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, file[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		look(t, path)
	})
}

func look(t *testing.T, path string) {
	t.Helper()
	ref, err := Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	from, err := Open(t.Context(), ref, Auth{}, time.Second)
	if err != nil {
		return
	}
	defer from.Close()
	m, err := from.Manifest(t.Context())
	if err != nil {
		return
	}
	if m.Config.OS != "linux" || m.Config.Architecture != runtime.GOARCH || len(m.Layers) != len(m.Config.RootFS.DiffIDs) {
		t.Errorf("it was taken for an image of this machine: %+v", m)
	}
	for _, l := range m.Layers {
		in := from.Layer(t.Context(), l)
		text, err := io.ReadAll(in)
		in.Close()
		if err == nil && (digestOf(text) != l.String() || int64(len(text)) != l.Size()) {
			t.Errorf("layer %s is %q", l, text)
		}
	}
}
