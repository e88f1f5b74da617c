package guide

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// writeBlocks puts blocks and their script into a folder and returns the script's name.
func writeBlocks(t *testing.T, dir string, blocks []Block) string {
	t.Helper()
	for i, b := range blocks {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".sh"), []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "all.sh")
	if err := os.WriteFile(name, []byte(Script(dir, blocks)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// begun is the block that was begun last, and what it printed.
func begun(t *testing.T, dir string) (int, string) {
	t.Helper()
	now, err := os.ReadFile(filepath.Join(dir, "now"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := strconv.Atoi(strings.TrimSpace(string(now)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)+".out"))
	if err != nil {
		t.Fatal(err)
	}
	return i, string(out)
}

func TestOnlyMarkedBlocksAreRun(t *testing.T) {
	page := "# Page\n```sh run\necho 1\necho 2\n```\ntext\n```sh\nrm -r /\n```\n```\nplain\n```\n```sh run\necho 3\n```\n"
	blocks, err := Blocks(page)
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{{3, "echo 1\necho 2\n"}, {14, "echo 3\n"}}
	if len(blocks) != len(want) || blocks[0] != want[0] || blocks[1] != want[1] {
		t.Fatalf("got %+v, want %+v", blocks, want)
	}
	if _, err := Blocks("```sh run\necho 1\n"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Fatal("a block without an end passes: ", err)
	}
}

func TestABlockThatFailsIsNamed(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	for text, fails := range map[string]int{
		"```sh run\na=1\n```\n```sh run\necho $a\n[ $a = 1 ]\n```\n":                              -1, // one shell
		"```sh run\necho fine\n```\n```sh run\necho broken; false\n```\n```sh run\nexit 0\n```\n": 1,
		"```sh run\necho broken; false | cat\n```\n":                                              0,
		"```sh run\necho broken; echo $unset\n```\n":                                              0,
	} {
		blocks, err := Blocks(text)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		err = exec.CommandContext(t.Context(), bash, "-euo", "pipefail", writeBlocks(t, dir, blocks)).Run()
		if (err != nil) != (fails >= 0) {
			t.Errorf("%q: %v", text, err)
		}
		if i, out := begun(t, dir); fails >= 0 && (i != fails || !strings.Contains(out, "broken")) {
			t.Errorf("%q: block %d is named, with %q", text, i, out)
		}
	}
}

// TestTheGuideIsRun keeps the guide from losing its marks, which would make its test pass.
func TestTheGuideIsRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := Blocks(string(page))
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 15 {
		t.Errorf("%d blocks are run, there were twenty", len(blocks))
	}
}
