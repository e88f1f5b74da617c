package main

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	runFlag = regexp.MustCompile(`go test .*-run '([^']*)'`)
	passed  = regexp.MustCompile(`(?m)^ *--- PASS: (\S+)`)
	skipped = regexp.MustCompile(`(?m)^--- SKIP: (\S+)`)
	partly  = regexp.MustCompile(`(?m)^ +--- SKIP: `)
	exact   = regexp.MustCompile(`^\^(?:\(([\w|]+)\)|(\w+))\$(/\^[\w|()-]+\$)?$`)
)

// Tests are the names that a `go test` command asks for, as its output shows them. Each must be said in full, as
// '^TestA$', '^(TestA|TestB)$' or '^TestA$/^(one|two)$': a pattern may come to match nothing and nobody would see it.
func Tests(command string) ([]string, error) {
	var all []string
	for _, m := range runFlag.FindAllStringSubmatch(command, -1) {
		if m[1] == "^$" { // benchmarks alone
			continue
		}
		parts := exact.FindStringSubmatch(m[1])
		if parts == nil {
			return nil, fmt.Errorf("-run %q does not name its tests in full", m[1])
		}
		tests := strings.Split(parts[1]+parts[2], "|")
		if parts[3] == "" {
			all = append(all, tests...)
			continue
		}
		below := strings.Split(strings.Trim(parts[3], "/^$()"), "|")
		for _, t := range tests {
			for _, b := range below {
				all = append(all, t+"/"+b)
			}
		}
	}
	return all, nil
}

// Judge says what is to be kept of a command's output, and whether that shows what it should: the command has
// succeeded, each test that it names has passed, none was skipped, and what must be printed was.
func Judge(c *Check, output string, failed error) (kept string, err error) {
	lines := meaningful(output)
	last := strings.Join(lines[max(0, len(lines)-3):], " / ")
	if failed != nil {
		return last, failed
	}
	if strings.Contains(output, "no tests to run") || strings.Contains(output, "[no test files]") {
		return last, fmt.Errorf("no tests to run")
	}
	names, err := Tests(c.Command)
	if err != nil {
		return last, err
	}
	if s := skipped.FindStringSubmatch(output); s != nil && len(names) > 0 {
		return last, fmt.Errorf("%s was skipped", s[1])
	}
	did := map[string]bool{}
	for _, p := range passed.FindAllStringSubmatch(output, -1) {
		did[p[1]] = true
	}
	for _, name := range names {
		if !did[name] {
			return last, fmt.Errorf("%s did not run", name)
		}
	}
	if len(c.Prints) > 0 {
		return printed(c, lines)
	}
	if len(lines) == 0 {
		return "(nothing, exit code 0)", nil
	}
	kept = lines[len(lines)-1]
	if len(names) > 0 {
		count := fmt.Sprintf("%d passed", len(did))
		if n := len(partly.FindAllString(output, -1)); n > 0 { // a part that needs what this machine lacks
			count += fmt.Sprintf(", %d parts skipped", n)
		}
		kept = count + "; " + kept
	}
	return kept, nil
}

// printed keeps the last line that each pattern matches.
func printed(c *Check, lines []string) (string, error) {
	var kept []string
	for _, want := range c.Prints {
		found := ""
		for _, line := range lines {
			if want.MatchString(line) {
				found = line
			}
		}
		if found == "" {
			return strings.Join(lines[max(0, len(lines)-3):], " / "), fmt.Errorf("no line printed matches %s", want)
		}
		if len(kept) == 0 || kept[len(kept)-1] != found {
			kept = append(kept, found)
		}
	}
	return strings.Join(kept, " / "), nil
}

var (
	blanks  = regexp.MustCompile(`\s+`)
	colours = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
)

// meaningful are an output's lines on one line each, without colours and without what says nothing by itself.
func meaningful(output string) []string {
	var lines []string
	for _, raw := range strings.Split(colours.ReplaceAllString(output, ""), "\n") {
		line := strings.TrimSpace(blanks.ReplaceAllString(raw, " "))
		switch line {
		case "", "PASS", "FAIL":
		default:
			lines = append(lines, strings.ReplaceAll(line, "github.com/coinop/coinop/", ""))
		}
	}
	return lines
}
