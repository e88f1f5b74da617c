package monitor

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/coinop/coinop/drivers/vm/guest"
)

const (
	newsPoll  = time.Second // for tasks that look by themselves; who is signalled, or asked, is told before
	newsFiles = 16
	newsBytes = 16 << 10
)

// news is the folder of what the task is told. Its files are replaced by others; none of them goes.
type news struct {
	dir  string
	turn chan struct{} // holds a token while told is in use
	told map[string]os.FileInfo
}

func newNews(dir string) news {
	return news{dir, make(chan struct{}, 1), map[string]os.FileInfo{}}
}

// keep tells the machine until the monitor ends.
func (n *news) keep(ctx context.Context, l *line) {
	if n.dir == "" {
		return
	}
	for range time.Tick(newsPoll) {
		n.tell(ctx, l)
	}
}

// tell passes on what is new. Nothing of a task hangs on whether that can be read: it has been told of what it may have to read.
func (n *news) tell(ctx context.Context, l *line) {
	if n.dir == "" {
		return
	}
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	root, err := os.OpenRoot(n.dir)
	if err != nil {
		return
	}
	defer root.Close()
	folder, err := root.Open(".")
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(newsFiles) //nolint:errcheck // no name is one that is not there yet
	for _, name := range names {
		n.one(ctx, l, root, name)
	}
}

func (n *news) one(ctx context.Context, l *line, root *os.Root, name string) {
	file, err := root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	if was := n.told[name]; was != nil && os.SameFile(was, info) && was.ModTime().Equal(info.ModTime()) && was.Size() == info.Size() {
		return
	}
	text, err := io.ReadAll(io.LimitReader(file, newsBytes))
	if err != nil {
		return
	}
	if l.send(ctx, guest.Frame{Kind: guest.AskNotice, Data: append([]byte(name+"\x00"), text...)}) == nil {
		n.told[name] = info
	}
}
