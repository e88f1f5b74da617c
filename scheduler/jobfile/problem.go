package jobfile

import (
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
)

// Problem is one thing that is wrong in a job file.
type Problem struct {
	File   string
	Line   int    // from 1
	Quoted string // the line
	What   string
	Hint   string // what to do; may be empty
}

// Problems is all that is wrong, in the order of the lines.
type Problems []Problem

// Error quotes each line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", p.File, p.Line, p.What)
		if p.Quoted != "" {
			fmt.Fprintf(&b, "\n%6d | %s", p.Line, p.Quoted)
		}
		if p.Hint != "" {
			b.WriteString("\n         " + p.Hint)
		}
	}
	return b.String()
}

// source is a file that can be quoted.
type source struct {
	name  string
	lines []string
}

func newSource(name string, src []byte) source {
	return source{name, strings.Split(string(src), "\n")}
}

func (s source) problem(line int, what, hint string) Problem {
	p := Problem{File: s.name, Line: line, What: what, Hint: hint}
	if line >= 1 && line <= len(s.lines) {
		p.Quoted = strings.TrimRight(strings.ToValidUTF8(s.lines[line-1], "�"), " \t\r")
	}
	return p
}

// nearest is the known name that a wrong one was probably meant to be, or nothing.
func nearest(wrong string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := levenshtein.Distance(wrong, k, nil); d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

func didYouMean(prefix, wrong string, known []string) string {
	if n := nearest(wrong, known); n != "" {
		return "Did you mean " + prefix + n + "?"
	}
	return "Known are: " + prefix + strings.Join(known, ", "+prefix) + "."
}
