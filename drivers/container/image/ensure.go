package image

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// record is what is known of an image that was checked.
type record struct {
	Digest       string
	Manifest     string
	ConfigDigest string
	Architecture string
	Run          Run
	DiffIDs      []string // lowest first, of the layers that can be seen
	Top          bool     // there is a folder above the layers
	Public       bool     // a registry gave it without credentials, so whoever knows the digest may have it
	Bytes        int64    // of the record itself
}

func (r record) keys() []string {
	keys := []string{imageKey(r.Digest)}
	for _, diffID := range r.DiffIDs {
		keys = append(keys, layerKey(diffID))
	}
	return keys
}

// atOnce is how many layers of one image are fetched at a time.
const atOnce = 3

// Ensure has an image's layers present and unpacked, and holds it. progress may be nil; it is called by one goroutine at a
// time and must return soon. A reference by digest that is there asks no registry, unless it took credentials to get it.
func (s *Store) Ensure(ctx context.Context, ref source.Ref, auth source.Auth, progress func(Progress)) (*Image, error) {
	if known, ok := s.known(ref); ok {
		return s.image(ref, known), nil
	}
	r, err := s.fetch(ctx, ref, auth, progress)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	return s.image(ref, r), nil
}

// known finds and holds an image that is there and that anybody may have who knows its digest.
func (s *Store) known(ref source.Ref) (record, bool) {
	key := imageKey(ref.Digest())
	if ref.Registry() == "" || ref.Digest() == "" || !s.take([]string{key}) {
		return record{}, false
	}
	defer s.give(key)
	var r record
	if err := readJSON(s.path(key, "image.json"), &r); err != nil || !r.Public || !s.take(r.keys()) {
		return record{}, false
	}
	s.touch(r.keys()...)
	return r, true
}

// fetch makes what is missing of an image and holds all of it.
func (s *Store) fetch(ctx context.Context, ref source.Ref, auth source.Auth, progress func(Progress)) (r record, err error) {
	from, err := source.Open(ctx, ref, auth, s.config.Stall)
	if err != nil {
		return record{}, err
	}
	defer from.Close()
	m, err := from.Manifest(ctx)
	if err != nil {
		return record{}, err
	}
	var held []string
	defer func() {
		if err != nil {
			s.give(held...)
		}
	}()
	if held, err = s.layers(ctx, from, m.Layers, progress); err != nil {
		return record{}, err
	}
	r = record{Digest: m.Digest, Manifest: m.Manifest, ConfigDigest: m.ConfigDigest, Architecture: m.Config.Architecture, Run: run(m.Config.Config), Public: from.Public()}
	seen, err := s.visible(m.Layers)
	if err != nil {
		return record{}, err
	}
	for _, l := range seen {
		r.DiffIDs = append(r.DiffIDs, l.DiffID)
	}
	err = s.make(ctx, imageKey(r.Digest), "", func(dir string, grow func(int64) error) error { return s.describe(ctx, dir, &r, seen, grow) })
	if err != nil {
		return record{}, err
	}
	held = append(held, imageKey(r.Digest))
	var there record // which somebody else may have made
	if err = readJSON(s.path(imageKey(r.Digest), "image.json"), &there); err != nil {
		return record{}, err
	}
	r = there
	for _, key := range held { // below a layer that hides all others there may be some
		if !slices.Contains(r.keys(), key) {
			s.give(key)
		}
	}
	return r, nil
}

// layers makes all layers, each once, some at a time, and says which it holds, also with an error.
func (s *Store) layers(ctx context.Context, from *source.Source, layers []source.Layer, progress func(Progress)) (held []string, err error) {
	var mu sync.Mutex // guards held
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(atOnce)
	told := newTold(progress)
	where := from.Where()
	places := map[string]int{}
	for i, l := range layers {
		key := layerKey(l.DiffID)
		if _, again := places[key]; !again {
			places[key] = i
			told.expect(l, !s.has(key))
		}
	}
	for i, l := range layers {
		key := layerKey(l.DiffID)
		if places[key] != i {
			continue
		}
		all.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err := s.make(ctx, key, where, func(dir string, grow func(int64) error) error { return s.unpack(ctx, dir, from, l, told, grow) })
			if err != nil {
				return fmt.Errorf("layer %s (%d of %d): %w", l, i+1, len(layers), err)
			}
			mu.Lock()
			held = append(held, key)
			mu.Unlock()
			told.done()
			return nil
		})
	}
	err = all.Wait()
	return held, err
}

func (s *Store) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[key] != nil
}

// image hands out what is held.
func (s *Store) image(ref source.Ref, r record) *Image {
	keys := r.keys()
	i := &Image{Ref: ref, Digest: r.Digest, Manifest: r.Manifest, ConfigDigest: r.ConfigDigest, Architecture: r.Architecture, Run: r.Run, UserXattr: os.Geteuid() != 0}
	for _, diffID := range r.DiffIDs {
		i.Layers = append(i.Layers, s.path(layerKey(diffID), "fs"))
	}
	if r.Top {
		i.Layers = append(i.Layers, s.path(imageKey(r.Digest), "top"))
	}
	s.mu.Lock()
	for _, key := range keys {
		i.SizeBytes += s.items[key].bytes
	}
	s.mu.Unlock()
	var once sync.Once
	i.release = func() { once.Do(func() { s.give(keys...) }) }
	i.hold = func(task string) error { return s.holdFor(task, keys) }
	return i
}

func run(c v1.Config) Run {
	return Run{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal, Labels: c.Labels}
}
