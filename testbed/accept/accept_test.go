package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const small = `
# First

a line
// a note of ours
another line
    $ echo one | cat; echo two 'a|b'

a third
    $ echo "spent 5" && echo left
    ~ ^spent \d
    within 1m

# Second
the last
    $ exit 3
`

func table1(t *testing.T, text string) []Row {
	t.Helper()
	rows, err := Rows(text)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestATableIsRead(t *testing.T) {
	rows := table1(t, small)
	if len(rows) != 4 || rows[0].Check != rows[1].Check || rows[2].Section != "First" || rows[3].Section != "Second" {
		t.Fatalf("%+v", rows)
	}
	if c := rows[2].Check; len(c.Prints) != 1 || c.Within != time.Minute || rows[3].Check.Within != withinMost {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{
		"a\n  $ true\n":                   "below no heading",
		"# x\na\n":                        "has no command",
		"# x\na\n# y\nb\n  $ true\n":      "has no command",
		"# x\na\n  $ true\n  $ false\n":   "second command",
		"# x\na\n  ~ b\n":                 "below no command",
		"# x\na\n  $ true\n  ~ (\n":       "missing closing",
		"# x\na\n  $ true\n  within now":  "duration",
		"# x\na\n  $ true\n  expects yes": "neither",
	} {
		if _, err := Rows(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTheNamesOfTests(t *testing.T) {
	for command, want := range map[string]string{
		"make demo":                                    "",
		"go test -v -run '^TestA$' ./a":                "TestA",
		"go test -v -run '^(TestA|TestB)$' ./a":        "TestA TestB",
		"go test -run '^TestA$/^(one|two-b)$' ./a":     "TestA/one TestA/two-b",
		"go test -run '^(TestA|TestB)$/^c$' ./a":       "TestA/c TestB/c",
		"cd x && go test -tags e2e -run '^TestA$' ./a": "TestA",
		"go test -run '^$' -bench B ./a":               "",
	} {
		got, err := Tests(command)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", command, got, err)
		}
	}
	for _, loose := range []string{"TestA", "^TestA", "Test.*", "^(TestA|TestB.*)$", "^TestA$/one"} {
		if _, err := Tests("go test -run '" + loose + "' ./a"); err == nil {
			t.Errorf("%s names no test in full", loose)
		}
	}
}

// A command's end alone proves little: each of these has been seen to exit with 0.
func TestJudgingBites(t *testing.T) {
	good := "=== RUN   TestA\n--- PASS: TestA (0.01s)\n    --- PASS: TestA/one (0.00s)\nPASS\nok  \tgithub.com/coinop/coinop/cli\t0.5s\n"
	for _, c := range []struct {
		name, command, output string
		failed                error
		prints, want          string
	}{
		{"passes", "go test -v -run '^TestA$' ./cli", good, nil, "", ""},
		{"its part passes", "go test -v -run '^TestA$/^one$' ./cli", good, nil, "", ""},
		{"says what it must", "x", "a\nspent 5\nb\n", nil, `^spent \d$`, ""},
		{"prints nothing", "x", "", nil, "", ""},
		{"a benchmark", "go test -run '^$' -bench . ./a", "PASS\nok a 1s\n", nil, "", ""},
		{"exits with 1", "x", good, errors.New("exit status 1"), "", "exit status 1"},
		{"finds no test", "go test -v -run '^TestA$' ./cli", "testing: warning: no tests to run\nPASS\nok  \tcli\t0.5s [no tests to run]\n", nil, "", "no tests to run"},
		{"finds no file", "go test ./cli", "?   \tcli\t[no test files]\n", nil, "", "no tests to run"},
		{"finds one of two", "go test -v -run '^(TestA|TestB)$' ./cli", good, nil, "", "TestB did not run"},
		{"does not find the part", "go test -v -run '^TestA$/^two$' ./cli", good, nil, "", "TestA/two did not run"},
		{"skips", "go test -v -run '^TestA$' ./cli", "--- SKIP: TestA (0.00s)\n    a_test.go:1: needs root\nok  \tcli\t0.5s\n", nil, "", "TestA was skipped"},
		{"skips a part that is asked for", "go test -v -run '^TestA$/^two$' ./cli", good + "    --- SKIP: TestA/two (0.00s)\n", nil, "", "TestA/two did not run"},
		{"skips another part", "go test -v -run '^TestA$' ./cli", "    --- SKIP: TestA/two (0.00s)\n" + good, nil, "", ""},
		{"says nothing of it", "x", "a\nb\n", nil, `^spent \d$`, "no line printed matches"},
	} {
		check := &Check{Command: c.command}
		if c.prints != "" {
			check.Prints = []*regexp.Regexp{regexp.MustCompile(c.prints)}
		}
		kept, err := Judge(check, c.output, c.failed)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("a command that %s: %v, want %q", c.name, err, c.want)
		}
		if c.name == "skips another part" && kept != "2 passed, 1 parts skipped; ok cli 0.5s" || c.name == "passes" && kept != "2 passed; ok cli 0.5s" || c.prints != "" && err == nil && kept != "spent 5" {
			t.Errorf("a command that %s keeps %q", c.name, kept)
		}
	}
}

// run is a round with a table of its own; it returns the page.
func run(t *testing.T, dir, text, want string) (string, error) {
	t.Helper()
	out := filepath.Join(dir, "page.md")
	err := Config{Table: text, Want: regexp.MustCompile(want), Out: out, Dir: dir, Commit: "abc", Tell: io.Discard}.Run(t.Context())
	page, readErr := os.ReadFile(out)
	if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
		t.Fatal(readErr)
	}
	return string(page), err
}

func TestAFailureIsWrittenDown(t *testing.T) {
	page, err := run(t, t.TempDir(), small, ".")
	if err == nil || !strings.Contains(err.Error(), "1 of 3 commands fail") {
		t.Errorf("a table with a command that fails ends with %v", err)
	}
	for _, want := range []string{
		"4 lines: 3 shown, 1 fail, 0 not run.",
		"| the last | `exit 3` | **fails**: `exit status 3: ` |",
		"| another line | `echo one \\| cat; echo two 'a\\|b'` | `two a\\|b` |",
		"| `spent 5` |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestSomeRowsAreRunAndTheOthersKept(t *testing.T) {
	dir := t.TempDir()
	first, err := run(t, dir, small, "^a (line|third)$")
	if err != nil || !strings.Contains(first, "3 shown, 0 fail, 1 not run") {
		t.Fatalf("%v\n%s", err, first)
	}
	if _, err := run(t, dir, small, "exit 3"); err == nil {
		t.Error("a row that fails passes when it is the only one")
	}
	second, err := run(t, dir, small, "third")
	if err != nil || !strings.Contains(second, "3 shown, 1 fail, 0 not run") {
		t.Fatalf("what was not run is not kept: %v\n%s", err, second)
	}
	// A row whose command is another one has shown nothing yet.
	third, err := run(t, dir, strings.Replace(small, "echo two", "echo three", 1), "third")
	if err != nil || !strings.Contains(third, "1 shown, 1 fail, 2 not run") {
		t.Errorf("%v\n%s", err, third)
	}
	if _, err := run(t, dir, small, "nothing is called so"); err == nil {
		t.Error("a pattern that matches nothing passes")
	}
}

func TestACommandThatHangsIsEnded(t *testing.T) {
	page, err := run(t, t.TempDir(), "# x\nhangs\n    $ echo begun; sleep 100 | cat\n    within 300ms\n", ".")
	if err == nil || !strings.Contains(page, "not done after 300ms: begun") {
		t.Errorf("%v\n%s", err, page)
	}
}

// The table itself: each test and each script that it names is there.
func TestTheTableNamesWhatThereIs(t *testing.T) {
	rows := table1(t, table)
	if len(rows) < 100 {
		t.Errorf("only %d rows", len(rows))
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.Section+r.Line] {
			t.Errorf("twice: %s", r.Line)
		}
		seen[r.Section+r.Line] = true
		names, err := Tests(r.Check.Command)
		if err != nil {
			t.Errorf("%s: %v", r.Line, err)
		}
		if len(names) > 0 && !strings.Contains(r.Check.Command, "go test -v") && !strings.Contains(r.Check.Command, " -v ") {
			t.Errorf("%s: without -v nobody sees which tests ran", r.Line)
		}
		for _, name := range names {
			if err := exists(r.Check.Command, name); err != nil {
				t.Errorf("%s: %v", r.Line, err)
			}
		}
	}
	if err := exists("go test ./testbed/accept", "TestThatIsNot"); err == nil {
		t.Error("a test that is not there is found")
	}
	if err := exists("go test ./testbed/cmdline", "TestScripts/no_such"); err == nil {
		t.Error("a script that is not there is found")
	}
}

// exists looks for a test in the folders that a command names.
func exists(command, name string) error {
	test, part, _ := strings.Cut(name, "/")
	for _, word := range strings.Fields(command) {
		if !strings.HasPrefix(word, "./") {
			continue
		}
		dir := filepath.Join("../..", word)
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if !strings.Contains(string(text), "func "+test+"(") {
				continue
			}
			if test == "TestScripts" {
				_, err = os.Stat(filepath.Join(dir, "testdata", part+".txtar"))
			}
			return err
		}
	}
	return fmt.Errorf("no %s where %q looks", name, command)
}
