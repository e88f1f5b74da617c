package cli

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	pushTitle, popTitle = "\x1b[22;2t", "\x1b[23;2t" // xterm's stack of titles; others leave the last one
	beginTitle          = "\x1b]2;"
	endTitle            = "\a"
)

// screen is a terminal on which a program of somebody else's writes, and now and then a word of ours stands between: never within
// one of the program's sequences or characters, which would break both.
type screen struct {
	mu   sync.Mutex
	to   io.Writer
	at   sequence // guarded by mu; where the program is
	wait string   // guarded by mu; ours that waits for a place
}

// Write is what the program writes.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range p {
		s.at.next(b)
	}
	n, err := s.to.Write(p)
	if err == nil {
		err = s.flush()
	}
	return n, err
}

// put writes a word of ours as soon as there is a place.
func (s *screen) put(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait += text
	_ = s.flush() // the program's own next word tells that nobody reads
}

// flush writes what waits. The caller holds mu.
func (s *screen) flush() error {
	if s.wait == "" || s.at != (sequence{}) {
		return nil
	}
	_, err := io.WriteString(s.to, s.wait)
	s.wait = ""
	return err
}

func (s *screen) keepTitle()        { s.put(pushTitle) }
func (s *screen) title(text string) { s.put(beginTitle + plain(text) + endTitle) }
func (s *screen) line(text string)  { s.put("\r\n[coinop: " + plain(text) + "]\r\n") }

// restoreTitle is the last word, wherever the program has left off.
func (s *screen) restoreTitle() {
	s.mu.Lock()
	s.at = sequence{}
	s.mu.Unlock()
	s.put(popTitle)
}

// plain keeps words that came from elsewhere from being more than words.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// sequence is where in a stream for a terminal one is: zero between characters.
type sequence struct {
	in   byte // 0: plain; ESC: behind one; '[': in a control sequence; ']': in a string, '\\': behind an ESC in one
	more int  // bytes of this character to come
}

const escape = 0x1b

func (s *sequence) next(b byte) {
	switch {
	case s.in == 0 && s.more > 0 && !utf8.RuneStart(b):
		s.more--
		return
	case b == escape && s.in == ']':
		s.in = '\\'
		return
	case b == escape:
		*s = sequence{in: escape}
		return
	}
	switch s.in {
	case 0:
		s.more = 0
		switch {
		case b >= 0xf0:
			s.more = 3
		case b >= 0xe0:
			s.more = 2
		case b >= 0xc0:
			s.more = 1
		}
	case escape:
		switch {
		case b == '[':
			s.in = '['
		case strings.IndexByte("]PX^_", b) >= 0:
			s.in = ']'
		case b < ' ' || b > '/': // else more of it comes
			s.in = 0
		}
	case '[':
		if b >= '@' && b <= '~' {
			s.in = 0
		}
	case ']':
		if b == '\a' {
			s.in = 0
		}
	case '\\':
		s.in = ']'
		if b == '\\' {
			s.in = 0
		}
	}
}
