package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A Check is a command, and how what it does is judged.
type Check struct {
	Command string
	Prints  []*regexp.Regexp // each matches a line of the output; the last such lines are what is kept
	Within  time.Duration
}

// A Row is one line of what coinop is to show.
type Row struct {
	Section, Line string
	Check         *Check // rows may share one
}

// withinMost is how long a command may take that says nothing else.
const withinMost = 5 * time.Minute

// Rows reads the table. A heading begins with "# "; lines at the margin are shown by the command below them, which is
// indented and begins with "$ ". Below a command, "~ REGEXP" is what a line of its output must match, and "within D"
// how long it may take. Lines that begin with "//" are ours.
func Rows(text string) ([]Row, error) {
	var (
		rows    []Row
		section string
		check   *Check
		open    int // rows that still lack a command
	)
	for i, raw := range strings.Split(text, "\n") {
		line := strings.TrimSpace(raw)
		indented := raw != line && strings.HasPrefix(raw, " ")
		var err error
		switch {
		case line == "" || strings.HasPrefix(line, "//"):
		case strings.HasPrefix(line, "# ") && !indented:
			section = line[2:]
			err = named(rows, open)
		case !indented:
			if section == "" {
				err = fmt.Errorf("it stands below no heading")
			}
			rows = append(rows, Row{Section: section, Line: line})
			open++
		case strings.HasPrefix(line, "$ ") && open == 0:
			err = fmt.Errorf("a second command for the same line")
		case strings.HasPrefix(line, "$ "):
			check = &Check{Command: line[2:], Within: withinMost}
			for j := len(rows) - open; j < len(rows); j++ {
				rows[j].Check = check
			}
			open = 0
		case open > 0 || check == nil:
			err = fmt.Errorf("it stands below no command")
		default:
			err = check.add(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", i+1, line, err)
		}
	}
	return rows, named(rows, open)
}

func named(rows []Row, open int) error {
	if open > 0 {
		return fmt.Errorf("%q has no command", rows[len(rows)-1].Line)
	}
	return nil
}

func (c *Check) add(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "~":
		var want *regexp.Regexp
		want, err = regexp.Compile(rest)
		c.Prints = append(c.Prints, want)
	case "within":
		c.Within, err = time.ParseDuration(rest)
	default:
		err = fmt.Errorf("neither $ nor ~ nor within")
	}
	return err
}

// Chosen are the rows that are meant by a pattern, with those that share a command with one of them.
func Chosen(rows []Row, want *regexp.Regexp) map[string]bool {
	commands := map[string]bool{}
	for _, r := range rows {
		if want.MatchString(r.Section) || want.MatchString(r.Line) || want.MatchString(r.Check.Command) {
			commands[r.Check.Command] = true
		}
	}
	return commands
}
