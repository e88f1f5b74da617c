package plugin_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A socket lies in a folder that nobody else can enter; where the plugin's folder has too long a name, that is elsewhere. Neither
// stays.
func TestSocketsLieInClosedFoldersAndAreTidiedAway(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, name := range []string{"s", strings.Repeat("long", 20)} {
		dir, err := os.MkdirTemp("/tmp", "t")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what stays is seen below
		config := pluginConfig(t, "fake", filepath.Join(dir, name))
		client := run(t, config)
		if _, err := client.Describe(t.Context()); err != nil {
			t.Fatal(err)
		}
		var note struct{ Socket string }
		text, err := os.ReadFile(filepath.Join(config.Dir, "plugin.json"))
		if err == nil {
			err = json.Unmarshal(text, &note)
		}
		if err != nil {
			t.Fatal(err)
		}
		closed := filepath.Dir(note.Socket)
		info, err := os.Stat(closed)
		if err != nil || info.Mode().Perm() != 0o700 || (filepath.Dir(closed) == config.Dir) != (name == "s") {
			t.Errorf("the socket %s lies in a folder with %v, %v", note.Socket, info.Mode(), err)
		}
		client.end()
		if filepath.Dir(closed) != config.Dir {
			closed = filepath.Dir(closed)
		}
		if _, err := os.Stat(closed); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", closed, err)
		}
	}
}
