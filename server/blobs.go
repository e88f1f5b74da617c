package server

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/executor/wire"
)

// PutBlob stores what an executor sends: a log or an output.
func (s *session) PutBlob(in grpc.ClientStreamingServer[wire.Chunk, wire.Blob]) error {
	first, err := in.Recv()
	if err != nil {
		return err
	}
	if first.Blob == nil || len(first.Blob.Digest) != 32 {
		return status.Error(codes.InvalidArgument, "the first chunk names the digest")
	}
	digest := blobs.Digest(digestOf(first.Blob.Digest))
	size, err := s.blobs.Put(in.Context(), digest, &chunks{recv: in.Recv, rest: first.Data})
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return in.SendAndClose(&wire.Blob{Digest: digest[:], Size: size})
}

// GetBlob sends an input to an executor.
func (s *session) GetBlob(b *wire.Blob, out grpc.ServerStreamingServer[wire.Chunk]) error {
	r, size, err := s.blobs.Get(out.Context(), digestOf(b.Digest))
	if errors.Is(err, blobs.ErrMissing) {
		return status.Error(codes.NotFound, err.Error())
	}
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer r.Close()
	chunk := &wire.Chunk{Blob: &wire.Blob{Digest: b.Digest, Size: size}}
	buf := make([]byte, wire.ChunkBytes)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 || chunk.Blob != nil {
			chunk.Data = buf[:n]
			if err := out.Send(chunk); err != nil {
				return err
			}
			chunk = &wire.Chunk{}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return status.Error(codes.DataLoss, err.Error())
		}
	}
}

// chunks reads the data of a stream of chunks.
type chunks struct {
	recv func() (*wire.Chunk, error)
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		chunk, err := c.recv()
		if err != nil {
			return 0, err // io.EOF where the sender is done
		}
		c.rest = chunk.Data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// readLog reads a running run's log from its node, which must have dialled this server.
func (x *executors) readLog(ctx context.Context, r api.LogRequest, send func(api.LogPiece) error) error {
	run, ok := x.truth.View().Run(r.Run)
	if !ok {
		return nil
	}
	s, ok := x.session(run.Node())
	if !ok {
		return errNotHere
	}
	ask := &wire.LogRequest{Run: uint64(r.Run), Stream: wire.Stream_STREAM_STDOUT, Offset: r.Offset, Follow: r.Follow}
	if r.Stream == "stderr" {
		ask.Stream = wire.Stream_STREAM_STDERR
	}
	if r.Tail > 0 {
		ask.Tail = &r.Tail
	}
	log, err := s.wire.Node.ReadLog(ctx, ask)
	if err != nil {
		return err
	}
	for {
		chunk, err := log.Recv()
		switch {
		case errors.Is(err, io.EOF), status.Code(err) == codes.NotFound:
			return nil
		case err != nil:
			return err
		}
		if err := send(api.LogPiece{Offset: chunk.Offset, Data: chunk.Data}); err != nil {
			return err
		}
	}
}

// errNotHere says that a run's executor is not connected to this server.
var errNotHere = errors.New("the run's executor is not connected to this server")
