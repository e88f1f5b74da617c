package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Sweep deletes what nothing names and what is older than the grace; it returns how many.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	deleted := 0
	list := s.bucket.List(nil)
	for {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return deleted, nil
		}
		if err != nil {
			return deleted, fmt.Errorf("list the blobs: %w", err)
		}
		gone, err := s.sweepOne(ctx, o)
		if err != nil {
			return deleted, err
		}
		if gone {
			deleted++
		}
	}
}

func (s *Store) sweepOne(ctx context.Context, o *blob.ListObject) (bool, error) {
	d, err := ParseDigest(path.Base(o.Key))
	if err != nil {
		return false, nil // not ours to delete
	}
	if s.cfg.Now().Sub(o.ModTime) < s.cfg.Grace || s.cfg.Referenced(d) {
		return false, nil
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	// Once more under the lock: it may have been put, or named, since it was listed.
	attrs, err := s.bucket.Attributes(ctx, o.Key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at blob %s: %w", d, err)
	}
	if s.cfg.Now().Sub(attrs.ModTime) < s.cfg.Grace || s.cfg.Referenced(d) {
		return false, nil
	}
	if err := s.bucket.Delete(ctx, o.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return false, fmt.Errorf("delete blob %s: %w", d, err)
	}
	return true, nil
}
