package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func TestArrowsPointDown(t *testing.T) {
	imports, err := Imports(root, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) == 0 {
		t.Fatal("no imports of ours found: the walk is broken")
	}
	for _, line := range Forbidden(Rooms(), imports) {
		t.Error(line)
	}
}

func TestArrowsBite(t *testing.T) {
	planted := map[string][]string{
		"funding/ledger.go":        {"scheduler"},
		"executor/agent.go":        {"consensus/machine"},
		"executor/wire/wire.go":    {"funding"},
		"api/client/client.go":     {"scheduler"},
		"cli/run.go":               {"consensus"},
		"server/server.go":         {"executor"},
		"drivers/process/start.go": {"executor"},
		"scheduler/place.go":       {"testbed/sim"},
		"stray/stray.go":           {"funding"},
	}
	if got := Forbidden(Rooms(), planted); len(got) != len(planted) {
		t.Errorf("planted %d forbidden imports, %d were named:\n%s", len(planted), len(got), strings.Join(got, "\n"))
	}
	allowed := map[string][]string{
		"funding/wallet/wallet.go": {"funding", "funding/cashu"},
		"scheduler/place.go":       {"funding"},
		"server/server.go":         {"executor/wire", "api", "consensus/machine"},
		"cli/run.go":               {"api/client", "funding/wallet", "scheduler/jobfile"},
		"testbed/sim/sim.go":       {"consensus/machine", "scheduler"},
	}
	for _, line := range Forbidden(Rooms(), allowed) {
		t.Errorf("a good arrow was forbidden: %s", line)
	}
}

var impure = regexp.MustCompile(`^(time|math/rand(/v2)?|crypto/rand|os|net|net/.*|sync|io/ioutil|log|log/slog)$`)

// The core is told the time: no clock, no randomness, no I/O, no goroutine (STYLE.md rule 3).
func TestTheCoreIsPure(t *testing.T) {
	for _, dir := range []string{"funding", "scheduler", "consensus/machine"} {
		for path, imports := range goFiles(t, filepath.Join(root, dir)) {
			for _, imported := range imports {
				if impure.MatchString(imported) && !(dir == "consensus/machine" && imported == "sync") {
					t.Errorf("%s imports %s: the core is told the time, and touches nothing", path, imported)
				}
			}
		}
	}
}

// Every package is one sentence.
func TestEveryPackageHasItsSentence(t *testing.T) {
	sentences := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "tools" || d.Name() == "docs" || d.Name() == "demo-out" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if _, ok := sentences[dir]; !ok {
			sentences[dir] = ""
		}
		if text := file.Doc.Text(); text != "" {
			sentences[dir] = text
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, text := range sentences {
		if !strings.HasPrefix(text, "Package ") && !strings.HasPrefix(text, "Command ") {
			t.Errorf("%s: no package comment that begins with \"Package\" or \"Command\"", dir)
		}
	}
}

func goFiles(t *testing.T, dir string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	matches, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range matches {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			found[path] = append(found[path], strings.Trim(spec.Path.Value, `"`))
		}
	}
	return found
}
