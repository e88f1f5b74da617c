package cli

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// counter counts the bytes of files on their way, and shows them on a terminal when that takes long.
type counter struct {
	done atomic.Int64
	all  atomic.Int64 // 0: not known
	stop chan struct{}
	show sync.WaitGroup
}

// countBytes shows bytes until end.
func (a *app) countBytes() *counter {
	c := &counter{stop: make(chan struct{})}
	if !a.live() {
		return c
	}
	c.show.Go(func() {
		line := newStatusLine(a)
		defer line.clear()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-tick.C:
				text := size(c.done.Load())
				if all := c.all.Load(); all > 0 {
					text += fmt.Sprintf(" of %s", size(all))
				}
				line.set("", text)
			}
		}
	})
	return c
}

func (c *counter) end() {
	close(c.stop)
	c.show.Wait()
}

func (c *counter) total() int64 { return c.done.Load() }

// Write is part of [io.Writer].
func (c *counter) Write(p []byte) (int, error) {
	c.done.Add(int64(len(p)))
	return len(p), nil
}

// expect adds up what is to come.
func (c *counter) expect(from string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			c.all.Add(info.Size())
		}
		return nil
	})
}
