// Package unpack makes a folder for overlayfs of a layer's bytes, which a stranger made.
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// Limits are what a layer may not exceed.
type Limits struct {
	Bytes     int64 // on disk
	Entries   int
	Ratio     int64 // of what comes out to what goes in
	RatioFrom int64 // no ratio is too large before so much has come out
}

// DefaultLimits are for layers of which only their size on disk is known to matter. Deflate makes 1032 of one at most, and
// the largest layers that people use have a few hundred thousand files.
func DefaultLimits(bytes int64) Limits {
	return Limits{Bytes: bytes, Entries: 1 << 20, Ratio: 250, RatioFrom: 256 << 20}
}

// Layer is what was made.
type Layer struct {
	DiffID   string   // of the bytes before compression
	Bytes    int64    // on disk, more or less
	Opaque   bool     // it hides all layers below it, by a mark in its root that overlayfs does not look for there
	Implicit []string // folders that it names only in the paths of others: their attributes are those of lower layers
}

// Unpack makes what a layer holds in dir, which is empty. grow is asked for room before it is used. What is there after an
// error is the caller's to remove.
func Unpack(ctx context.Context, dir string, compressed io.Reader, limits Limits, grow func(int64) error) (Layer, error) {
	ctx, cancel := context.WithCancel(ctx)
	raw := readAhead(ctx, compressed)
	defer func() { cancel(); <-raw.done }()
	bytes, closeIt, err := decompress(raw, limits)
	if err != nil {
		return Layer{}, corrupt(err)
	}
	defer closeIt()
	stream := readAhead(ctx, bytes)
	defer func() { cancel(); <-stream.done }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Layer{}, fmt.Errorf("unpack a layer: %w", err)
	}
	m := &maker{ctx: ctx, top: root, limits: limits, grow: grow, root: os.Geteuid() == 0, implicit: map[string]bool{}, buffer: make([]byte, blockBytes)}
	defer func() { _ = m.leave(0) }() // after an error there is a better one to tell
	m.enter("", root)
	if err := m.entries(tar.NewReader(stream)); err != nil {
		return Layer{}, err
	}
	if err := m.leave(0); err != nil {
		return Layer{}, err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil { // what comes after the tar counts for the digest
		return Layer{}, corrupt(err)
	}
	made := Layer{DiffID: bytes.digest(), Bytes: m.used, Opaque: m.opaque}
	for path := range m.implicit {
		made.Implicit = append(made.Implicit, path)
	}
	slices.Sort(made.Implicit)
	return made, nil
}

func (m *maker) entries(from *tar.Reader) error {
	for count := 0; ; count++ {
		h, err := from.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return corrupt(err)
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if count >= m.limits.Entries {
			return bad.Errorf("the layer has more than %d entries", m.limits.Entries)
		}
		if err := m.entry(h, from); err != nil {
			if errors.Is(err, bad.Image) {
				return bad.Errorf("%s: %w", short(h.Name), err)
			}
			return fmt.Errorf("%s: %w", short(h.Name), err)
		}
	}
}

// short quotes a name for people, who do not want to read four thousand characters.
func short(name string) string {
	if len(name) > 100 {
		name = name[:50] + "..." + name[len(name)-50:]
	}
	return fmt.Sprintf("%q", name)
}

// clean takes a name apart. A leading slash means the layer's root, as it does everywhere in an image.
func clean(name string) ([]string, error) {
	if len(name) >= unix.PathMax {
		return nil, bad.Errorf("the name has %d bytes, %d are possible", len(name), unix.PathMax-1)
	}
	if strings.ContainsRune(name, 0) {
		return nil, bad.Errorf("the name contains a zero byte")
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, bad.Errorf("the name leads out of the layer")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > depthMax {
		return nil, bad.Errorf("it is nested more than %d deep", depthMax)
	}
	return parts, nil
}

// depthMax is far more than file trees need, and few enough that each folder can be held open on the way down.
const depthMax = 255
