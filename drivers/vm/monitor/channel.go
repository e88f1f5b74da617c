package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// framesMax is how many frames of a channel can wait: as many as the window has room for.
const framesMax = guest.Window/guest.FrameCost + 8

// channelsMax bounds what a monitor keeps of commands that come and go.
const channelsMax = 64

// line is the connection with the first process of the machine, whatever QEMU it is in.
type line struct {
	writing  chan struct{} // holds a token while a frame is being written, and while the machine stands still
	to       atomic.Pointer[qemu]
	from     *qemu      // the reader's
	next     chan *qemu // the machine goes on in another process
	gone     chan struct{}
	channels struct {
		sync.Mutex
		all  map[uint16]*channel
		next uint16
	}
	synced chan struct{}
	early  []byte           // the reader's, as are the next: what an earlier monitor had read of a frame
	part   []byte           // what has come of the present one
	rest   chan chan []byte // asks for that, when all is read that a process said that has ended
}

// channel is one stream of frames among others.
type channel struct {
	number uint16
	line   *line
	frames chan guest.Frame // from the machine; the reader never waits for who takes them
	room   atomic.Uint32    // what the machine has passed on of what was sent
	news   chan struct{}    // room has grown
}

// anyNumber lets open choose.
const anyNumber = 0xffff

func newLine() *line {
	l := &line{writing: make(chan struct{}, 1), synced: make(chan struct{}, 1), next: make(chan *qemu, 1), gone: make(chan struct{}), rest: make(chan chan []byte)}
	l.channels.all, l.channels.next = map[uint16]*channel{}, 16
	return l
}

// open makes a channel.
func (l *line) open(number uint16) (*channel, error) {
	l.channels.Lock()
	defer l.channels.Unlock()
	if len(l.channels.all) >= channelsMax {
		return nil, errors.New("too many commands at once in one machine")
	}
	for number == anyNumber {
		l.channels.next = max(l.channels.next+1, 16) % anyNumber
		if l.channels.all[l.channels.next] == nil {
			number = l.channels.next
		}
	}
	c := &channel{number: number, line: l, frames: make(chan guest.Frame, framesMax), news: make(chan struct{}, 1)}
	l.channels.all[number] = c
	return c, nil
}

func (c *channel) close() {
	c.line.channels.Lock()
	defer c.line.channels.Unlock()
	delete(c.line.channels.all, c.number)
}

// send writes one frame. The machine always takes what comes, unless something is wrong with it.
func (l *line) send(ctx context.Context, f guest.Frame) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return l.write(f)
}

// write is for who has the token.
func (l *line) write(f guest.Frame) error {
	if err := guest.Write(l.to.Load().guest, f); err != nil {
		return fmt.Errorf("speak to the machine: %w", err)
	}
	return nil
}

// Read implements io.Reader: what comes from the machine, from one process of it after the other. What a process had
// not sent of a frame the next one does.
func (l *line) Read(p []byte) (int, error) {
	n := copy(p, l.early)
	l.early = l.early[n:]
	for n == 0 {
		if l.from != nil {
			var err error
			if n, err = l.from.guest.Read(p); n > 0 || err == nil {
				break
			}
			l.from.guest.Close()
			l.from = nil
		}
		select {
		case l.from = <-l.next: // first: there may be more to read
			continue
		default:
		}
		select {
		case l.from = <-l.next:
		case back := <-l.rest:
			back <- bytes.Clone(l.part)
		case <-l.gone:
			return 0, io.EOF
		}
	}
	l.part = append(l.part, p[:n]...)
	return n, nil
}

func (c *channel) send(ctx context.Context, kind guest.Kind, data []byte) error {
	return c.line.send(ctx, guest.Frame{Channel: c.number, Kind: kind, Data: data})
}

// passed says that of what the machine sent so much has been passed on.
func (c *channel) passed(ctx context.Context, bytes int) error {
	return c.send(ctx, guest.AskCredit, binary.LittleEndian.AppendUint32(nil, uint32(bytes+guest.FrameCost)))
}

var errNonsense = errors.New("the machine's first process does not keep to what was agreed")

// take passes on what comes from the machine, until that ends.
func (l *line) take() error {
	for {
		l.part = l.part[:0]
		f, err := guest.Read(l, guest.TellMax)
		if err != nil {
			return err
		}
		if f.Kind == guest.TellSynced {
			select {
			case l.synced <- struct{}{}:
			default:
			}
			continue
		}
		l.channels.Lock()
		c := l.channels.all[f.Channel]
		l.channels.Unlock()
		if c == nil {
			continue // it was left a moment ago
		}
		if f.Kind == guest.TellCredit {
			if len(f.Data) != 4 {
				return errNonsense
			}
			c.room.Add(binary.LittleEndian.Uint32(f.Data))
			select {
			case c.news <- struct{}{}:
			default:
			}
			continue
		}
		if c.number == filesOut { // who unpacks is as quick as it can be, and nothing else is to come
			c.frames <- f
			continue
		}
		select {
		case c.frames <- f:
		default:
			return errNonsense
		}
	}
}

// join lets the line go on with another process.
func (l *line) join(q *qemu) {
	l.to.Store(q)
	l.next <- q
}
