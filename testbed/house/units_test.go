package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units for systemd are such as it takes, and an executor's leaves its tasks alone when it stops.
func TestUnitsAreTakenBySystemd(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	units, err := filepath.Glob("../../contrib/*.service")
	if err != nil || len(units) != 2 {
		t.Fatalf("units: %v, %v", units, err)
	}
	dir := t.TempDir()
	check := func(name, text string) string {
		file := filepath.Join(dir, name)
		// The program and the user need not be there where this is tested.
		text = strings.NewReplacer("/usr/local/bin/coinop", "/bin/true", "User=coinop", "User=root").Replace(text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), verify, "verify", "--man=no", file).CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if said := check(filepath.Base(unit), string(text)); said != "" {
			t.Errorf("%s: %s", unit, said)
		}
		if strings.Contains(unit, "executor") && !strings.Contains(string(text), "\nKillMode=process\n") {
			t.Errorf("%s ends tasks with the executor", unit)
		}
	}
	if said := check("wrong.service", "[Service]\nExecStart=/nowhere/to/be/found\nKillmode=process\n"); said == "" {
		t.Error("a wrong unit is taken")
	}
}
