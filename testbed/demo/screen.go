package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// style is how a line looks, on the terminal and in the picture.
type style int

const (
	plain   style = iota
	heading       // an act
	command       // what can be pasted
	passed        // a check
	failed
	aside // what the demo says between
)

// ansi is a style's escape code.
var ansi = map[style]string{heading: "\x1b[1;33m", command: "\x1b[1;36m", passed: "\x1b[32m", failed: "\x1b[1;31m", aside: "\x1b[2m"}

type line struct {
	style style
	text  string
}

// screen prints the demo and remembers it for the picture.
type screen struct {
	out   io.Writer
	color bool

	mu    sync.Mutex
	lines []line // guarded by mu
}

func newScreen(out *os.File) *screen {
	return &screen{out: out, color: term.IsTerminal(int(out.Fd()))}
}

func (s *screen) say(as style, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	for _, t := range strings.Split(text, "\n") {
		s.lines = append(s.lines, line{as, t})
		if s.color && ansi[as] != "" {
			t = ansi[as] + t + "\x1b[0m"
		}
		fmt.Fprintln(s.out, t)
	}
}

// all is what was printed so far.
func (s *screen) all() []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]line(nil), s.lines...)
}

// feed prints whole lines as a command writes them, and shows each to a watcher first.
type feed struct {
	screen *screen
	seen   func(line string)

	mu   sync.Mutex
	rest string   // guarded by mu
	got  []string // guarded by mu
}

func (f *feed) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest += string(p)
	for {
		whole, rest, ok := strings.Cut(f.rest, "\n")
		if !ok {
			return len(p), nil
		}
		f.rest = rest
		f.got = append(f.got, whole)
		f.screen.say(plain, "%s", whole)
		if f.seen != nil {
			f.seen(whole)
		}
	}
}

func (f *feed) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}
