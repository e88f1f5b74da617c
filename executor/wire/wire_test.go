package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coinop/coinop/executor/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each report with its number.
type echo struct {
	wire.UnimplementedServersServer
}

func (echo) Sync(stream grpc.BidiStreamingServer[wire.Report, wire.Desired]) error {
	for {
		report, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&wire.Desired{Answers: report.GetSeq()}); err != nil {
			return err
		}
	}
}

type logNode struct {
	wire.UnimplementedNodeServer
}

func (logNode) ReadLog(r *wire.LogRequest, stream grpc.ServerStreamingServer[wire.LogChunk]) error {
	if r.GetRun() != 7 {
		return status.Error(codes.NotFound, "no such run here")
	}
	return stream.Send(&wire.LogChunk{Data: []byte("hello")})
}

func pair(t *testing.T) (*wire.Session, *wire.Link) {
	t.Helper()
	a, b := net.Pipe()
	session, err := wire.Accept(a, echo{})
	if err != nil {
		t.Fatal(err)
	}
	link, err := wire.Connect(b, logNode{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(link.Close(), session.Close()); err != nil {
			t.Error(err)
		}
	})
	return session, link
}

func TestBothSidesCallEachOtherOnOneConnection(t *testing.T) {
	session, link := pair(t)
	stream, err := link.Servers.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 3; seq++ {
		if err := stream.Send(&wire.Report{Seq: seq}); err != nil {
			t.Fatal(err)
		}
		desired, err := stream.Recv()
		if err != nil || desired.GetAnswers() != seq {
			t.Fatalf("report %d was answered by %v, %v", seq, desired, err)
		}
	}
	logs, err := session.Node.ReadLog(t.Context(), &wire.LogRequest{Run: 7})
	if err != nil {
		t.Fatal(err)
	}
	if chunk, err := logs.Recv(); err != nil || string(chunk.GetData()) != "hello" {
		t.Fatalf("log is %q, %v", chunk.GetData(), err)
	}
	logs, err = session.Node.ReadLog(t.Context(), &wire.LogRequest{Run: 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logs.Recv(); status.Code(err) != codes.NotFound {
		t.Fatalf("reading an unknown run gives %v", err)
	}
}

func TestClosingEitherSideEndsTheOther(t *testing.T) {
	for name, closer := range map[string]func(*wire.Session, *wire.Link) error{
		"server":   func(s *wire.Session, _ *wire.Link) error { return s.Close() },
		"executor": func(_ *wire.Session, l *wire.Link) error { return l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			session, link := pair(t)
			stream, err := link.Servers.Sync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&wire.Report{Seq: 1}); err != nil {
				t.Fatal(err)
			}
			if err := closer(session, link); err != nil {
				t.Fatal(err)
			}
			<-session.Done()
			<-link.Done()
			for err == nil {
				_, err = stream.Recv()
			}
		})
	}
}

// silent swallows what is written and never answers: a machine that lost its power.
type silent struct{ net.Conn }

func (silent) Write(p []byte) (int, error) { return len(p), nil }

func TestSilentPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		link, err := wire.Connect(silent{a}, logNode{})
		if err != nil {
			t.Fatal(err)
		}
		defer link.Close()
		began := time.Now()
		<-link.Done()
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("a silent peer was noticed after %s only", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := link.Servers.Sync(ctx); err == nil {
			t.Error("a dead connection takes calls")
		}
	})
}
