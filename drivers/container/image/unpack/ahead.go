package unpack

import (
	"context"
	"io"
)

// ahead reads from another reader in a goroutine of its own, a few blocks further than it is asked, so that the two
// sides work at once. The goroutine ends with the reader's first error, or after ctx has ended and the reader returned.
type ahead struct {
	ctx    context.Context
	full   chan block
	empty  chan []byte
	done   chan struct{}
	now    block
	behind []byte // of now, not yet read
}

type block struct {
	bytes []byte
	err   error
}

const (
	blockBytes = 256 << 10
	blocks     = 6
)

func readAhead(ctx context.Context, from io.Reader) *ahead {
	a := &ahead{ctx: ctx, full: make(chan block, blocks), empty: make(chan []byte, blocks), done: make(chan struct{})}
	for range blocks {
		a.empty <- nil // made when it is needed: most layers are small
	}
	go a.fill(from)
	return a
}

func (a *ahead) fill(from io.Reader) {
	defer close(a.done)
	for {
		select {
		case <-a.ctx.Done():
			return
		case b := <-a.empty:
			if b == nil {
				b = make([]byte, blockBytes)
			}
			n, err := 0, error(nil)
			for n < len(b) && err == nil {
				var more int
				more, err = from.Read(b[n:])
				n += more
			}
			a.full <- block{b[:n], err} // never blocks: there are no more blocks than places
			if err != nil {
				return
			}
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.behind) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.bytes != nil {
			a.empty <- a.now.bytes[:blockBytes]
			a.now.bytes = nil
		}
		select {
		case <-a.ctx.Done():
			return 0, context.Cause(a.ctx)
		case a.now = <-a.full:
			a.behind = a.now.bytes
		}
	}
	n := copy(p, a.behind)
	a.behind = a.behind[n:]
	return n, nil
}
