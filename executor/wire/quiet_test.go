package wire_test

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/coinop/coinop/executor/wire"
)

// counted counts what is written to a connection.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.Conn.Write(p)
}

// A heartbeat and its answer are one frame each, and nothing goes beside them: a leader hears a thousand a second.
func TestAHeartbeatIsOneFrameEachWay(t *testing.T) {
	var bytes atomic.Int64
	_, link := pair(t, func() (*wire.Session, *wire.Link, error) {
		a, b := net.Pipe()
		session, err := wire.Accept(counted{a, &bytes}, echo{})
		if err != nil {
			return nil, nil, err
		}
		link, err := wire.Connect(counted{b, &bytes}, logNode{})
		return session, link, err
	})
	stream, err := link.Servers.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(seq uint64) {
		if err := stream.Send(&wire.Report{Seq: seq, SentBootNs: 1 << 50}); err != nil {
			t.Fatal(err)
		}
		if d, err := stream.Recv(); err != nil || d.GetAnswers() != seq {
			t.Fatalf("answer %v, %v", d, err)
		}
	}
	const settle, beats, most = 10, 100, 80
	for seq := range uint64(settle) {
		exchange(seq)
	}
	before := bytes.Load()
	for seq := range uint64(beats) {
		exchange(settle + seq)
	}
	if size := float64(bytes.Load()-before) / beats; size > most {
		t.Errorf("%.0f bytes for a heartbeat and its answer, want at most %d", size, most)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
