package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/coinop/coinop/drivers/container/image/bad"
	"github.com/coinop/coinop/drivers/container/image/source"
	"github.com/coinop/coinop/drivers/container/image/unpack"
)

// drainMax is how much of a layer is read on after it was refused, to find out whether it is the layer at all.
const drainMax = 16 << 20

// unpack makes a layer of what a source gives.
func (s *Store) unpack(ctx context.Context, dir string, from *source.Source, l source.Layer, told *told, grow func(int64) error) error {
	if l.Size() > s.config.LimitBytes {
		return bad.Errorf("its %d MiB are more than the %d MiB that the image store may hold", l.Size()>>20, s.config.LimitBytes>>20)
	}
	fs := filepath.Join(dir, "fs")
	if err := os.Mkdir(fs, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(fs, 0o755); err != nil { // whatever the umask
		return err
	}
	blob := from.Layer(ctx, l)
	defer blob.Close()
	made, err := unpack.Unpack(ctx, fs, told.count(blob), unpack.DefaultLimits(s.config.LimitBytes), grow)
	if errors.Is(err, bad.Image) { // a torn or a wrong layer is often refused before its end tells what it is
		if _, drained := io.CopyN(io.Discard, blob, drainMax); drained != nil && !errors.Is(drained, io.EOF) {
			err = drained
		}
	}
	switch {
	case err != nil:
		return err
	case made.DiffID != l.DiffID:
		return bad.Errorf("it unpacks to %s, the config says %s", made.DiffID, l.DiffID)
	}
	return writeJSON(filepath.Join(dir, "layer.json"), made)
}

// visible are an image's layers as overlayfs is to see them, lowest first: of a layer that is there twice only the upper
// one, which says all that the lower one says and later; and nothing below a layer that hides everything.
func (s *Store) visible(layers []source.Layer) ([]unpack.Layer, error) {
	var seen []unpack.Layer
	once := map[string]bool{}
	for _, l := range slices.Backward(layers) {
		if once[l.DiffID] {
			continue
		}
		once[l.DiffID] = true
		var r unpack.Layer
		if err := readJSON(s.path(layerKey(l.DiffID), "layer.json"), &r); err != nil {
			return nil, fmt.Errorf("layer %s: %w", l, err)
		}
		seen = append(seen, r)
		if r.Opaque {
			break
		}
	}
	slices.Reverse(seen)
	return seen, nil
}
