//go:build e2e

package guide

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// said is one command of the README with what it is shown to print.
type said struct {
	command string
	prints  []string
}

// dialogue is what stands behind dollar signs in a page's plain blocks, and what follows.
func dialogue(page string) []said {
	var (
		all  []said
		open string // the fence that is open
	)
	for _, line := range strings.Split(page, "\n") {
		switch {
		case open == "" && strings.HasPrefix(line, fence):
			open = line
		case line == fence:
			open = ""
		case open != fence:
		case strings.HasPrefix(line, "$ "):
			all = append(all, said{command: line[2:]})
		case len(all) > 0 && strings.TrimSpace(line) != "":
			all[len(all)-1].prints = append(all[len(all)-1].prints, line)
		}
	}
	return all
}

var (
	names  = regexp.MustCompile(`[0-9a-f]{64}`)
	number = regexp.MustCompile(`\d+([.:]\d+)*`)
	blank  = regexp.MustCompile(`\s+`)
	units  = regexp.MustCompile(`N ([KMG]i)?B\b`)
)

// shape is a line without what differs from run to run: numbers, names, widths.
func shape(line string) string {
	line = number.ReplaceAllString(names.ReplaceAllString(line, "F"), "N")
	return units.ReplaceAllString(strings.TrimSpace(blank.ReplaceAllString(line, " ")), "N B")
}

// missing are the lines that are shown in the page and were not printed. What a job's line said while it ran hangs on
// when it was looked at.
func missing(shown []string, printed string) []string {
	had := map[string]bool{}
	for _, line := range strings.Split(printed, "\n") {
		had[shape(line)] = true
	}
	var lack []string
	for _, line := range shown {
		if !strings.Contains(line, ", spent ") && !had[shape(line)] {
			lack = append(lack, line)
		}
	}
	return lack
}

func TestAPageThatPromisesTooMuchIsNoticed(t *testing.T) {
	page := "# P\n```sh\n$ no\n```\n```\n$ echo 5\n5\n$ echo a  b; false\na b\nc\n```\n"
	all := dialogue(page)
	if len(all) != 2 || all[1].command != "echo a  b; false" || len(all[1].prints) != 2 {
		t.Fatalf("%+v", all)
	}
	if lack := missing(all[0].prints, "7\n"); len(lack) != 0 {
		t.Errorf("a number is not a number: %v", lack)
	}
	if lack := missing(all[1].prints, "a   b\n"); len(lack) != 1 || lack[0] != "c" {
		t.Errorf("what is not printed is missed: %v", lack)
	}
}

// TestTheREADMEIsTrue types what the README shows below "Five minutes of real use", and looks for what it shows then.
func TestTheREADMEIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, page, ok := strings.Cut(string(text), "## Five minutes of real use")
	all := dialogue(page)
	if !ok || len(all) < 10 {
		t.Fatalf("only %d commands", len(all))
	}
	_, file, ok := strings.Cut(before, "```hcl\n")
	if !ok {
		t.Fatal("no job file is shown")
	}
	file, _, _ = strings.Cut(file, fence)
	bin, home, work := folder(t), folder(t), folder(t)
	if err := os.WriteFile(filepath.Join(work, "render.hcl"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "coinop"), "github.com/coinop/coinop")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build coinop: %v\n%s", err, out)
	}
	env := append(environment(bin, home), "TZ=UTC")
	addr, devLog := startDev(t, filepath.Join(bin, "coinop"), env)
	ctx, cancel := context.WithTimeout(t.Context(), guideMax)
	defer cancel()
	for _, s := range all {
		if strings.HasSuffix(s.command, "&") { // dev itself
			continue
		}
		shell := exec.CommandContext(ctx, "bash", "-uc", s.command)
		shell.Dir, shell.Env = work, append(env, "COINOP_ADDR="+addr)
		out, _ := shell.CombinedOutput() // a mistake that is shown exits with its code
		if lack := missing(s.prints, string(out)); len(lack) > 0 {
			t.Errorf("$ %s\nlacks %q:\n%s", s.command, lack, out)
		}
	}
	if t.Failed() {
		t.Logf("dev said:\n%s", devLog())
	}
}
