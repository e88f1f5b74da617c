package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every form of a planted secret is found, wherever it stands; what only looks like it is not.
func TestPlantedSecretsAreFound(t *testing.T) {
	secret := []byte("\x00\xff0123456789abcdefghij\xfe")
	var s Secrets
	if err := s.Add("plant", secret); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("plant", secret[:5]); err == nil {
		t.Error("five bytes were taken for a secret")
	}
	for before := range 5 {
		whole := append(bytes.Repeat([]byte{0x5a}, before), append(bytes.Clone(secret), "behind"...)...)
		for name, text := range map[string]string{
			"raw": string(whole), "hex": hex.EncodeToString(whole), "HEX": strings.ToUpper(hex.EncodeToString(whole)),
			"base64": base64.StdEncoding.EncodeToString(whole), "url": base64.RawURLEncoding.EncodeToString(whole),
		} {
			if len(s.In([]byte("before "+text+" after"))) == 0 {
				t.Errorf("%s, %d bytes in, is not found in %q", name, before, text)
			}
			if found := s.In([]byte(text[:len(text)/2])); len(found) > 0 {
				t.Errorf("half of %s is taken for all of it", name)
			}
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"a/log": "nothing", "b/log": "key=" + hex.EncodeToString(secret), "c/own": string(secret)} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, files, err := s.Below(dir, func(name string) bool { return name == "c/own" })
	if err != nil || files != 2 || len(found) != 1 || !strings.Contains(found[0], "b/log holds plant in hex") {
		t.Errorf("in %d files: %q, %v", files, found, err)
	}
}

// What stands on a command line or in an environment is seen.
func TestSecretsOnCommandLinesAreFound(t *testing.T) {
	var s Secrets
	if err := s.AddText("word", "a-secret-on-a-command-line"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddText("variable", "a-secret-in-the-environment"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo up; read line", "a-secret-on-a-command-line")
	cmd.Env = []string{"SECRET=a-secret-in-the-environment"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	Said(said)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its code says nothing here
	found := map[string]bool{}
	for text := range said {
		for _, what := range s.In([]byte(text)) {
			found[what] = true
		}
	}
	if !found["word"] || !found["variable"] {
		t.Errorf("only %v were found in %d texts", found, len(said))
	}
}
