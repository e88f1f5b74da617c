// Package guide runs the user's guide.
package guide

import (
	"fmt"
	"strings"
)

// A Block is a piece of the guide that a reader can paste.
type Block struct {
	Line int // of its first command
	Text string
}

const (
	opening = "```sh run" // other fences need a set-up of their own and are not run
	fence   = "```"
)

// Blocks lists what is to be run, in the page's order.
func Blocks(page string) ([]Block, error) {
	var (
		blocks []Block
		inside string // the opening line of the fence that is open
		since  int
		text   strings.Builder
	)
	for i, line := range strings.Split(page, "\n") {
		switch {
		case inside == "" && strings.HasPrefix(line, fence):
			inside, since = line, i+1
			text.Reset()
		case inside != "" && line == fence:
			if inside == opening {
				blocks = append(blocks, Block{since + 1, text.String()})
			}
			inside = ""
		case inside != "":
			text.WriteString(line + "\n")
		}
	}
	if inside != "" {
		return nil, fmt.Errorf("line %d: the block that begins here has no end", since)
	}
	return blocks, nil
}

// Script is the blocks as one shell's input, from files in a folder. Each block's output goes to a file of its own;
// the file "now" holds the number of the one that was begun last.
func Script(dir string, blocks []Block) string {
	var b strings.Builder
	for i := range blocks {
		fmt.Fprintf(&b, "echo %d > '%s/now'\nexec > '%s/%d.out' 2>&1\nsource '%s/%d.sh'\n", i, dir, dir, i, dir, i)
	}
	return b.String()
}
