package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDiagramsAreFresh: go generate ./scheduler mends it.
func TestTheDiagramsAreFresh(t *testing.T) {
	if err := run("../../lifecycle.md", true); err != nil {
		t.Fatal(err)
	}
}

func TestAStalePageIsNoticedAndMended(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# Page\n\n"+begin+"\nold\n"+end+"\n\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(page, true); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Fatal("a stale page passes: ", err)
	}
	if err := run(page, false); err != nil {
		t.Fatal(err)
	}
	if err := run(page, true); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Page\n", "[*] --> queued: submit", "stopping --> ended: end", "\nmore\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in the page:\n%s", want, got)
		}
	}
}

func TestAPageWithoutMarkersIsLeftAlone(t *testing.T) {
	for _, page := range []string{"", begin, end + begin, begin + end + begin} {
		if _, err := rewrite([]byte(page)); err == nil {
			t.Errorf("%q is rewritten", page)
		}
	}
}
