package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// verified reads a blob, goes on where a place ended in its midst, and checks size and digest before it tells the end.
type verified struct {
	ctx    context.Context
	place  place
	want   v1.Descriptor
	from   io.ReadCloser // nil: to be opened
	at     int64
	sum    hash.Hash
	pauses pauses
	broken error
}

func (s *Source) open(ctx context.Context, want v1.Descriptor) io.ReadCloser {
	return &verified{ctx: ctx, place: s.place, want: want, sum: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	if v.broken != nil {
		return 0, v.broken
	}
	n, err := v.read(p)
	v.broken = err
	return n, err
}

func (v *verified) read(p []byte) (int, error) {
	for {
		if v.from == nil {
			from, err := v.place.blob(v.ctx, v.want, v.at)
			if err != nil {
				if err := v.pauses.wait(v.ctx, err, v.place.again); err != nil {
					return 0, err
				}
				continue
			}
			v.from = from
		}
		n, err := v.from.Read(p)
		if n > 0 {
			v.pauses.tries = 0
			v.sum.Write(p[:n])
			if v.at += int64(n); v.at > v.want.Size {
				return 0, fmt.Errorf("more than the %d bytes come that the manifest says", v.want.Size)
			}
		}
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, io.EOF) && v.at == v.want.Size:
			return n, v.end()
		case errors.Is(err, io.EOF):
			err = fmt.Errorf("it ends after %d of %d bytes", v.at, v.want.Size)
		}
		v.from.Close()
		v.from = nil
		if n > 0 { // what came is good so far; the rest is asked for with the next call
			return n, nil
		}
		if err := v.pauses.wait(v.ctx, err, v.place.again); err != nil {
			return 0, err
		}
	}
}

func (v *verified) end() error {
	if got := "sha256:" + hex.EncodeToString(v.sum.Sum(nil)); got != v.want.Digest.String() {
		return fmt.Errorf("what came has the digest %s", got)
	}
	return io.EOF
}

func (v *verified) Close() error {
	if v.broken == nil {
		v.broken = errors.New("closed")
	}
	if v.from == nil {
		return nil
	}
	return v.from.Close()
}
