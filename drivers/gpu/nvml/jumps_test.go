package nvml

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every function that go-nvml may call has its jump, so a library that lacks it, or a linker that binds at once, ends no process.
func TestEveryFunctionHasItsJump(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml/pkg/nvml").Output()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	collect := func(pattern string, files ...string) []string {
		var names []string
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
				names = append(names, string(found[1]))
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	called, ours := collect(`C\.(nvml\w+)\(`, sources...), collect(`NVML\((\w+)\)`, "names.h")
	if len(called) < 400 || !slices.Equal(called, ours) {
		t.Errorf("go-nvml calls %d functions, names.h has %d: make it anew", len(called), len(ours))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := elf.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	imported, err := binary.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range imported {
		if strings.HasPrefix(symbol.Name, "nvml") {
			t.Errorf("%s is left to the dynamic linker", symbol.Name)
		}
	}
}
