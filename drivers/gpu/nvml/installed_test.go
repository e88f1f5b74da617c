package nvml

import (
	"os"
	"path/filepath"
	"testing"
)

func TestADriverIsFoundByWhatItInstalls(t *testing.T) {
	if err := Installed(t.TempDir()); err == nil {
		t.Error("an empty machine has a driver")
	}
	for _, path := range []string{"dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib64/libnvidia-ml.so.1"} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Installed(root); err != nil {
			t.Errorf("with %s: %v", path, err)
		}
	}
}
