package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/executor/wire"
)

// linkRetry is how long a call waits that failed though the connection is still there.
const linkRetry = 200 * time.Millisecond

// withServers calls do with a connection to the leader, again over the next one if it breaks, until ctx ends.
func (e *Executor) withServers(ctx context.Context, do func(context.Context, wire.ServersClient) error) error {
	for {
		e.mu.Lock()
		link, changed := e.link, e.linked
		e.mu.Unlock()
		if link != nil {
			err := do(ctx, link.Servers)
			if err == nil || ctx.Err() != nil || !passing(err) {
				return err
			}
		}
		again := time.NewTimer(linkRetry)
		if link == nil {
			again.Stop()
		}
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// passing says whether an error is the connection's or the moment's, not the call's.
func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.Aborted, codes.DeadlineExceeded:
		return true
	case codes.Unknown:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	return false
}

// fetch reads a blob from the servers. A connection that breaks on the way is taken up again where it broke.
func (e *Executor) fetch(ctx context.Context, d digest, size int64, w io.Writer) error {
	var have int64
	return e.withServers(ctx, func(ctx context.Context, servers wire.ServersClient) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := servers.GetBlob(ctx, &wire.Blob{Digest: d[:], Size: size})
		if err != nil {
			return err
		}
		for at := int64(0); ; {
			chunk, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			data := chunk.GetData()
			at += int64(len(data))
			fresh := data[max(0, int64(len(data))-max(0, at-have)):]
			if _, err := w.Write(fresh); err != nil {
				return fmt.Errorf("keep what was fetched: %w", err)
			}
			have = max(have, at)
		}
	})
}

// put stores bytes with the servers. read is called for each attempt.
func (e *Executor) put(ctx context.Context, d digest, size int64, read func() (io.Reader, error)) error {
	return e.withServers(ctx, func(ctx context.Context, servers wire.ServersClient) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		from, err := read()
		if err != nil {
			return err
		}
		stream, err := servers.PutBlob(ctx)
		if err != nil {
			return err
		}
		chunk := &wire.Chunk{Blob: &wire.Blob{Digest: d[:], Size: size}}
		buffer := make([]byte, min(size, wire.ChunkBytes))
		for left := size; ; {
			n, err := io.ReadFull(from, buffer[:min(left, int64(len(buffer)))])
			if err != nil {
				return fmt.Errorf("read what is to be stored: %w", err)
			}
			chunk.Data = buffer[:n]
			if err := stream.Send(chunk); errors.Is(err, io.EOF) {
				break // answered before the end: they have it, or refuse
			} else if err != nil {
				return err
			}
			if left -= int64(n); left == 0 {
				break
			}
			chunk = &wire.Chunk{}
		}
		_, err = stream.CloseAndRecv()
		return err
	})
}
