package main

import (
	"fmt"
	"strings"
)

// A Result is what a row's command came to when it ran last.
type Result struct {
	OK   bool
	Kept string // of the output; with the reason before it where it failed
	When string // the date, the commit and the load
}

const (
	intro = `# What the main path shows

One row for each line of what the main path is to do, with the command that shows it and the end of what that printed.
` + "`make accept`" + ` runs them all and writes this page; ` + "`make accept ROWS=regexp`" + ` runs those whose heading, line or command
matches, and keeps what the others printed. A row that fails says so here and fails ` + "`make accept`" + `. Commands run in
the repository's folder, as root; a test that was skipped or not found has failed.

`
	failing = "**fails**: "
	notRun  = "**not run**"
	columns = "| line | command | last output | when |\n|---|---|---|---|\n"
)

// Page is the document: every row with its command's result, if it has one.
func Page(rows []Row, results map[string]Result, machine string) string {
	var body strings.Builder
	shown, fails := 0, 0
	section := ""
	for _, r := range rows {
		if r.Section != section {
			section = r.Section
			fmt.Fprintf(&body, "\n## %s\n\n%s", section, columns)
		}
		output, when := notRun, ""
		if got, ok := results[r.Check.Command]; ok {
			output, when = code(got.Kept), got.When
			if got.OK {
				shown++
			} else {
				output = failing + output
				fails++
			}
		}
		fmt.Fprintf(&body, "| %s | %s | %s | %s |\n", cell(r.Line), code(r.Check.Command), output, cell(when))
	}
	head := fmt.Sprintf("%d lines: %d shown, %d fail, %d not run. Written on %s.\n", len(rows), shown, fails, len(rows)-shown-fails, machine)
	return intro + head + body.String()
}

// Read finds what an earlier page holds of each command.
func Read(page string) map[string]Result {
	results := map[string]Result{}
	for _, line := range strings.Split(page, "\n") {
		c := split(line)
		if len(c) != 4 || c[2] == notRun || !strings.HasPrefix(c[1], "`") {
			continue
		}
		kept, bad := strings.CutPrefix(c[2], failing)
		results[strings.Trim(c[1], "`")] = Result{OK: !bad, Kept: strings.Trim(kept, "`"), When: c[3]}
	}
	return results
}

// keptMost is how much of an output a row has room for.
const keptMost = 240

// clip keeps an output within its cell.
func clip(text string) string {
	r := []rune(text)
	if len(r) <= keptMost {
		return text
	}
	return string(r[:keptMost-1]) + "…"
}

// code is text as a table shows it verbatim. Backticks would end it.
func code(text string) string { return "`" + cell(strings.ReplaceAll(text, "`", "'")) + "`" }

// cell is text that may stand in a table: bars are escaped, which also code needs there.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// split is the inverse of a table's line; nothing for a line that is none.
func split(line string) []string {
	line, ok := strings.CutPrefix(line, "| ")
	line, ended := strings.CutSuffix(line, " |")
	if !ok || !ended {
		return nil
	}
	const bar = "\x01" // in no output: lines were cleaned
	parts := strings.Split(strings.ReplaceAll(line, `\|`, bar), " | ")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], bar, "|")
	}
	return parts
}
