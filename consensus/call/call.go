// Package call carries many questions and answers at once over one connection between two servers.
package call

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// BodyMax bounds a question and an answer: above the largest log entry.
const BodyMax = 8 << 20

const headBytes = 4 + 8 + 1 // length of the body, number of the question, kind or status

const (
	statusAnswer = 0
	statusError  = 1
)

// frame is a question or an answer on its way.
type frame struct {
	id   uint64
	kind byte
	body []byte
}

func readFrame(r *bufio.Reader) (frame, error) {
	var head [headBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > BodyMax {
		return frame{}, fmt.Errorf("a frame of %d bytes, the limit is %d", n, BodyMax)
	}
	f := frame{id: binary.BigEndian.Uint64(head[4:]), kind: head[12], body: make([]byte, n)}
	_, err := io.ReadFull(r, f.body)
	return f, err
}

func writeFrame(w *bufio.Writer, f frame) error {
	var head [headBytes]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(f.body)))
	binary.BigEndian.PutUint64(head[4:], f.id)
	head[12] = f.kind
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(f.body)
	return err
}

// writeAll sends frames until done is closed or the connection breaks; it flushes when nothing
// waits, so that many small frames share a packet.
func writeAll(conn net.Conn, out <-chan frame, done <-chan struct{}) error {
	w := bufio.NewWriterSize(conn, 64<<10)
	for {
		select {
		case f := <-out:
			if err := writeFrame(w, f); err != nil {
				return err
			}
		case <-done:
			return nil
		}
		for more := true; more; {
			select {
			case f := <-out:
				if err := writeFrame(w, f); err != nil {
					return err
				}
			default:
				more = false
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// Handler answers a question; what it returns as an error is told to the asker as its text.
type Handler func(ctx context.Context, kind byte, body []byte) ([]byte, error)

// Serve answers the questions of one connection, up to limit at once; more of them wait on the
// wire. It returns when the connection ends, after the last handler has.
func Serve(ctx context.Context, conn net.Conn, limit int, h Handler) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	out, done := make(chan frame, limit), make(chan struct{})
	var writer, handlers sync.WaitGroup
	writer.Go(func() {
		if err := writeAll(conn, out, done); err != nil {
			conn.Close()
			<-done
		}
	})
	defer writer.Wait()
	defer close(done)
	defer handlers.Wait()
	defer cancel()
	room := make(chan struct{}, limit)
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		room <- struct{}{}
		handlers.Go(func() {
			defer func() { <-room }()
			answer := frame{id: f.id, kind: statusAnswer}
			if answer.body, err = h(ctx, f.kind, f.body); err != nil {
				answer.kind, answer.body = statusError, []byte(err.Error())
			}
			select {
			case out <- answer:
			case <-ctx.Done():
			}
		})
	}
}

// Told is an error that the other side answered with: it was asked, and it refused.
type Told string

func (t Told) Error() string { return string(t) }

// ErrNotAsked means that the question surely never left.
var ErrNotAsked = errors.New("the connection is broken, nothing was asked")

// ErrNoAnswer means that the question may have arrived, or not.
var ErrNoAnswer = errors.New("asked, but no answer came")

// Client asks over one connection. It is safe for many goroutines.
type Client struct {
	conn   net.Conn
	out    chan frame
	broken chan struct{}
	wait   sync.WaitGroup

	mu   sync.Mutex
	last uint64
	open map[uint64]chan frame // nil once broken
}

// NewClient owns conn.
func NewClient(conn net.Conn) *Client {
	c := &Client{conn: conn, out: make(chan frame, 256), broken: make(chan struct{}), open: map[uint64]chan frame{}}
	c.wait.Go(func() {
		if err := writeAll(conn, c.out, c.broken); err != nil {
			conn.Close()
		}
	})
	c.wait.Go(c.read)
	return c
}

// Broken is closed when the connection is of no more use.
func (c *Client) Broken() <-chan struct{} { return c.broken }

// Close breaks the connection and waits for its goroutines.
func (c *Client) Close() {
	c.conn.Close()
	c.wait.Wait()
}

func (c *Client) read() {
	in := bufio.NewReaderSize(c.conn, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			break
		}
		c.mu.Lock()
		answer := c.open[f.id]
		delete(c.open, f.id)
		c.mu.Unlock()
		if answer != nil {
			answer <- f
		}
	}
	c.conn.Close()
	c.mu.Lock()
	c.open = nil
	c.mu.Unlock()
	close(c.broken)
}

// Call asks and waits for the answer.
func (c *Client) Call(ctx context.Context, kind byte, body []byte) ([]byte, error) {
	if len(body) > BodyMax {
		return nil, fmt.Errorf("ask: %d bytes, the limit is %d", len(body), BodyMax)
	}
	answer := make(chan frame, 1)
	c.mu.Lock()
	if c.open == nil {
		c.mu.Unlock()
		return nil, ErrNotAsked
	}
	c.last++
	id := c.last
	c.open[id] = answer
	c.mu.Unlock()
	select {
	case c.out <- frame{id: id, kind: kind, body: body}:
	case <-c.broken:
		return nil, ErrNotAsked
	case <-ctx.Done():
		c.forget(id)
		return nil, fmt.Errorf("%w: %w", ErrNotAsked, ctx.Err())
	}
	select {
	case f := <-answer:
		return told(f)
	case <-c.broken:
		select {
		case f := <-answer: // it came just before the end
			return told(f)
		default:
			return nil, ErrNoAnswer
		}
	case <-ctx.Done():
		c.forget(id)
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
}

func told(f frame) ([]byte, error) {
	if f.kind == statusError {
		return nil, Told(f.body)
	}
	return f.body, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
}
