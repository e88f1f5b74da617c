// Package house knows how the code itself is laid out, so that a test can say when it is not.
package house

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Module is the module's path, the prefix of every import of ours.
const Module = "github.com/coinop/coinop"

// A Room is a folder with what it may import of ours, and why no more.
type Room struct {
	Path string   // below the module, with everything under it unless a longer Path matches
	May  []string // prefixes below the module; a room may always import itself
	Why  string
}

// Rooms is the table of DESIGN.md section 1. The longest matching path rules.
func Rooms() []Room {
	return []Room{
		{"funding", nil, "money knows nothing of jobs: a ledger that knows its users bends to them"},
		{"scheduler", []string{"funding"}, "what should run is decided from prices alone, with no cluster in sight"},
		{"consensus", []string{"scheduler", "funding"}, "the replicated truth must not know who asks or who runs"},
		{"server", []string{"consensus", "scheduler", "funding", "api", "web", "executor/wire"}, "a server speaks the executors' protocol and never runs anything"},
		{"executor", []string{"drivers"}, "an executor does what it is told and needs to know nothing of money or queues"},
		{"drivers", nil, "drivers are a contract for strangers, so they can lean on nothing of ours"},
		{"api", []string{"consensus", "scheduler", "funding"}, "handlers translate; what is decided is decided below them"},
		{"api/client", []string{"funding"}, "a stranger's program may import the client without the cluster"},
		{"cli", []string{"api/client", "funding", "scheduler/jobfile", "server", "executor", "drivers"}, "the command line sees the cluster as its users do: through the API"},
		{"web", []string{"consensus/machine"}, "the page reads views and changes nothing"},
		{"testbed", []string{""}, "the test bed may break everything; nobody imports it"},
		{"", []string{"cli", "drivers"}, "main only starts the command line or a plugin"},
	}
}

// Imports lists the imports of ours of every Go file below root: file path to import paths below the module.
// Test files are left out where tests is false: a test may reach for a fake of another room.
func Imports(root string, tests bool) (map[string][]string, error) {
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "tools" || name == "demo-out" || name == "docs") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || (!tests && strings.HasSuffix(path, "_test.go")) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("read imports: %w", err)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("read imports of %s: %w", rel, err)
			}
			if below, ok := strings.CutPrefix(imported, Module+"/"); ok {
				found[rel] = append(found[rel], below)
			}
		}
		return nil
	})
	return found, err
}

// Forbidden returns one line for each import that the table forbids, with the table's reason.
func Forbidden(rooms []Room, imports map[string][]string) []string {
	var wrong []string
	for file, list := range imports {
		room := roomOf(rooms, filepath.ToSlash(filepath.Dir(file)))
		for _, imported := range list {
			if !room.allows(imported) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which %q may not: %s", file, imported, room.Path, room.Why))
			}
		}
	}
	sort.Strings(wrong)
	return wrong
}

func roomOf(rooms []Room, dir string) Room {
	best := Room{Why: "the folder stands in no row of the table"}
	for _, r := range rooms {
		root := r.Path == "" && dir == "."
		if (root || r.Path != "" && within(dir, r.Path)) && len(r.Path) >= len(best.Path) {
			best = r
		}
	}
	return best
}

func (r Room) allows(imported string) bool {
	if r.Path != "" && within(imported, r.Path) {
		return true
	}
	for _, may := range r.May {
		if may == "" || within(imported, may) {
			return true
		}
	}
	return false
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
