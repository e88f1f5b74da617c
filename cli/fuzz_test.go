package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

// FuzzConfigFile: settings are taken, or refused as a fault of who wrote them.
func FuzzConfigFile(f *testing.F) {
	f.Add([]byte("count = 3\nname = \"a\"\n"))
	f.Add([]byte("count = \"x\""))
	f.Add([]byte("block {}"))
	f.Add([]byte("name = [1]"))
	f.Add([]byte("name = null\ncount = 1 + 2"))
	path := filepath.Join(f.TempDir(), "settings")
	f.Fuzz(func(t *testing.T, src []byte) {
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := &cobra.Command{Use: "server"}
		cmd.Flags().Int("count", 0, "")
		cmd.Flags().String("name", "", "")
		cmd.Flags().Duration("wait-long", 0, "")
		err := applyConfigFile(cmd, path)
		var usage usageError
		if err != nil && (!errors.As(err, &usage) || err.Error() == "") {
			t.Fatalf("refused with %#v", err)
		}
	})
}

// FuzzPotFile: a pot's file is read, or refused; what is read is the secret that is in it.
func FuzzPotFile(f *testing.F) {
	f.Add(potPrefix + client.Secret{1}.Hex() + "\n")
	f.Add(potPrefix)
	f.Add("")
	path := filepath.Join(f.TempDir(), "pot")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &app{}
		secret, err := a.potSecret("@" + path)
		if err != nil {
			return
		}
		if err := os.WriteFile(path, []byte(potPrefix+secret.Hex()), 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := a.potSecret("@" + path); err != nil || again != secret {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
