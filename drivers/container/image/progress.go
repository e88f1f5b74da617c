package image

import (
	"io"
	"sync"

	"github.com/coinop/coinop/drivers/container/image/source"
)

// told tells how far an Ensure has come.
type told struct {
	tell func(Progress)

	mu     sync.Mutex
	now    Progress
	silent int64 // bytes since it was told
}

// tellEvery is how many bytes are read until it is told again.
const tellEvery = 4 << 20

func newTold(tell func(Progress)) *told {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &told{tell: tell}
}

func (t *told) expect(l source.Layer, missing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Layers++
	if missing {
		t.now.BytesTotal += l.Size()
	}
}

func (t *told) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.LayersDone++
	t.tell(t.now)
}

func (t *told) count(from io.Reader) io.Reader { return &counting{from, t} }

type counting struct {
	from io.Reader
	told *told
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	t := c.told
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Bytes += int64(n)
	if t.silent += int64(n); t.silent >= tellEvery {
		t.silent = 0
		t.tell(t.now)
	}
	return n, err
}
