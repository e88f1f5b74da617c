package wire_test

import (
	"errors"
	"io"
	"net"
	"testing"

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

// kinds are the ways to connect the two sides.
var kinds = map[string]func() (*wire.Session, *wire.Link, error){
	"connection": func() (*wire.Session, *wire.Link, error) {
		a, b := net.Pipe()
		session, err := wire.Accept(a, echo{})
		if err != nil {
			return nil, nil, err
		}
		link, err := wire.Connect(b, logNode{})
		return session, link, err
	},
	"pipe": func() (*wire.Session, *wire.Link, error) { return wire.Pipe(echo{}, logNode{}) },
}

func onEachKind(t *testing.T, test func(*testing.T, *wire.Session, *wire.Link)) {
	for name, connect := range kinds {
		t.Run(name, func(t *testing.T) {
			session, link := pair(t, connect)
			test(t, session, link)
		})
	}
}

func pair(t *testing.T, connect func() (*wire.Session, *wire.Link, error)) (*wire.Session, *wire.Link) {
	t.Helper()
	session, link, err := connect()
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

func TestBothSidesCallEachOtherOnOneConnection(t *testing.T) { onEachKind(t, bothSidesCallEachOther) }

func bothSidesCallEachOther(t *testing.T, session *wire.Session, link *wire.Link) {
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
			onEachKind(t, func(t *testing.T, session *wire.Session, link *wire.Link) {
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
		})
	}
}
