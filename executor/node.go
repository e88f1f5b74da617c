package executor

import (
	"errors"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/executor/wire"
)

// followEvery is how often a log that somebody follows is looked at. Nobody follows most logs, so nothing is looked at
// for most tasks.
const followEvery = 100 * time.Millisecond

// node answers what a server asks of this machine.
type node struct {
	wire.UnimplementedNodeServer
	executor *Executor
}

// ReadLog implements wire.NodeServer.
func (n *node) ReadLog(request *wire.LogRequest, stream grpc.ServerStreamingServer[wire.LogChunk]) error {
	name := map[wire.Stream]string{wire.Stream_STREAM_STDOUT: "stdout", wire.Stream_STREAM_STDERR: "stderr"}[request.GetStream()]
	if name == "" {
		return status.Error(codes.InvalidArgument, "which stream is not said")
	}
	if request.GetOffset() < 0 || request.GetTail() < 0 {
		return status.Error(codes.InvalidArgument, "offset and tail cannot be negative")
	}
	n.executor.mu.Lock()
	r := n.executor.runs[request.GetRun()]
	n.executor.mu.Unlock()
	if r == nil {
		return status.Errorf(codes.NotFound, "run %d is not on this machine", request.GetRun())
	}
	err := r.sendLog(filepath.Join(n.executor.layout.run(r.id), driverDir, name), request, stream)
	if err != nil && errors.Is(err, logs.ErrCorrupt) {
		return status.Error(codes.DataLoss, err.Error())
	}
	return err
}

func (r *run) sendLog(path string, request *wire.LogRequest, stream grpc.ServerStreamingServer[wire.LogChunk]) error {
	at := request.GetOffset()
	if request.Tail != nil {
		size, err := logs.Size(path)
		if err != nil {
			return err
		}
		at = max(0, size-request.GetTail())
	}
	for {
		over := r.isEnded() || r.isDropped() // asked first: what was printed before the end is read after
		for {
			chunk, err := logs.Read(path, at, wire.ChunkBytes)
			if err != nil {
				return err
			}
			if len(chunk.Data) == 0 {
				break
			}
			if err := stream.Send(&wire.LogChunk{Offset: chunk.Offset, Data: chunk.Data}); err != nil {
				return err
			}
			at = chunk.Next
		}
		if over || !request.GetFollow() {
			return nil
		}
		if err := pause(stream.Context(), followEvery); err != nil {
			return err
		}
	}
}
