package unpack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// zstdWindow is what zstd asks for at its level 20; a frame may ask for gigabytes of our memory.
const zstdWindow = 32 << 20

// plain is a layer's bytes as they were before compression, counted, hashed, and bounded. It is read by one goroutine.
type plain struct {
	in     *counter
	from   io.Reader
	sum    hash.Hash
	count  int64
	limits Limits
}

// decompress finds out by the first bytes how a layer is compressed: media types are often wrong about it.
func decompress(compressed io.Reader, limits Limits) (*plain, func(), error) {
	p := &plain{in: &counter{from: compressed}, sum: sha256.New(), limits: limits}
	buffered := bufio.NewReaderSize(p.in, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		unzip, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, corrupt(err)
		}
		p.from = unzip
		return p, func() {}, nil
	case string(magic) == "\x28\xb5\x2f\xfd":
		unzip, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, nil, corrupt(err)
		}
		p.from = unzip
		return p, unzip.Close, nil
	}
	p.from = buffered
	return p, func() {}, nil
}

func (p *plain) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.sum.Write(b[:n])
	p.count += int64(n)
	if err != nil && err != io.EOF {
		return n, corrupt(err)
	}
	if most := 2*p.limits.Bytes + 64<<20; p.count > most { // headers and padding are not on disk later
		return n, bad.Errorf("more than %d MiB come out of the layer: the store's limit leaves no room for it", most>>20)
	}
	if p.count > p.limits.RatioFrom && p.count/p.limits.Ratio > p.in.count {
		return n, bad.Errorf("%d MiB come out of %d KiB: a layer that grows more than %d times is taken for a bomb", p.count>>20, p.in.count>>10, p.limits.Ratio)
	}
	return n, err
}

func (p *plain) digest() string { return "sha256:" + hex.EncodeToString(p.sum.Sum(nil)) }

// counter counts what is read, and keeps the error that reading itself had, which is not the layer's fault.
type counter struct {
	from  io.Reader
	count int64
	err   error
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.count += int64(n)
	if err != nil && err != io.EOF {
		c.err = readError{err}
		return n, c.err
	}
	return n, err
}

// readError is an error of whoever provides the bytes.
type readError struct{ error }

func (r readError) Unwrap() error { return r.error }

// corrupt says of an error of decompression or of tar that the layer is to blame, unless reading it was.
func corrupt(err error) error {
	var reading readError
	switch {
	case errors.As(err, &reading):
		return reading.error
	case errors.Is(err, bad.Image), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return bad.Errorf("unpacking the layer takes more than %d MiB of memory: compress it with a zstd level of 20 or less", zstdWindow>>20)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return bad.Errorf("the layer ends in its midst")
	}
	return bad.Errorf("the layer is corrupt: %w", err)
}
