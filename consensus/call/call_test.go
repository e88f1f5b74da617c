package call

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

func pair(t *testing.T, limit int, h Handler) (*Client, context.CancelFunc) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { Serve(ctx, far, limit, h) })
	c := NewClient(near)
	t.Cleanup(func() {
		c.Close()
		cancel()
		wait.Wait()
	})
	return c, cancel
}

func TestManyQuestionsAtOnceGetTheirOwnAnswers(t *testing.T) {
	c, _ := pair(t, 8, func(_ context.Context, kind byte, body []byte) ([]byte, error) {
		if binary.BigEndian.Uint32(body)%7 == 0 {
			return nil, fmt.Errorf("seven: %d", binary.BigEndian.Uint32(body))
		}
		return append([]byte{kind}, body...), nil
	})
	var wait sync.WaitGroup
	for i := range uint32(500) {
		wait.Go(func() {
			body := binary.BigEndian.AppendUint32(nil, i)
			got, err := c.Call(t.Context(), byte(i), body)
			var told Told
			switch {
			case i%7 == 0:
				if !errors.As(err, &told) || string(told) != fmt.Sprintf("seven: %d", i) {
					t.Errorf("%d: %v", i, err)
				}
			case err != nil || got[0] != byte(i) || binary.BigEndian.Uint32(got[1:]) != i:
				t.Errorf("%d: %v, %v", i, got, err)
			}
		})
	}
	wait.Wait()
}

func TestAConnectionThatBreaksLeavesTheOutcomeUnknown(t *testing.T) {
	asked := make(chan struct{})
	c, cancel := pair(t, 8, func(ctx context.Context, _ byte, _ []byte) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("in flight: %v", err)
	}
	<-c.Broken()
	if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, ErrNotAsked) {
		t.Fatalf("after the break: %v", err)
	}
}

func TestAnAskerWhoGivesUpIsNotConfusedByTheLateAnswer(t *testing.T) {
	first, second := make(chan struct{}), make(chan struct{})
	c, _ := pair(t, 8, func(_ context.Context, kind byte, _ []byte) ([]byte, error) {
		if kind == 1 {
			close(first)
			<-second
		}
		return []byte{kind}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-first
		cancel()
	}()
	if _, err := c.Call(ctx, 1, nil); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Fatalf("gave up: %v", err)
	}
	close(second)
	if got, err := c.Call(t.Context(), 2, nil); err != nil || got[0] != 2 {
		t.Fatalf("the next one: %v, %v", got, err)
	}
}

func TestAFrameThatIsTooLongEndsTheConnection(t *testing.T) {
	c, _ := pair(t, 1, func(context.Context, byte, []byte) ([]byte, error) { return nil, nil })
	if _, err := c.Call(t.Context(), 1, make([]byte, BodyMax+1)); err == nil {
		t.Fatal("sent")
	}
	if _, err := c.conn.Write([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	<-c.Broken()
}

func BenchmarkCall(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	near, _ := net.Dial("tcp", ln.Addr().String())
	far, _ := ln.Accept()
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		Serve(ctx, far, 256, func(_ context.Context, _ byte, b []byte) ([]byte, error) { return b, nil })
	})
	c := NewClient(near)
	body := make([]byte, 500)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Call(ctx, 1, body); err != nil {
				b.Error(err)
			}
		}
	})
	c.Close()
	cancel()
	wait.Wait()
}
