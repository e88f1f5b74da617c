package nvml

import (
	"errors"
	"os"
	"path/filepath"
)

// Installed says whether there is a driver to be asked for GPUs, and else what to do. It costs nothing, so that a machine without GPUs
// keeps no process for them.
func Installed(root string) error {
	for _, path := range []string{"dev/nvidiactl", "proc/driver/nvidia/version"} {
		if _, err := os.Stat(filepath.Join("/", root, path)); err == nil {
			return nil
		}
	}
	for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib", "usr/local/lib", "usr/lib/wsl/lib"} {
		if _, err := os.Stat(filepath.Join("/", root, dir, "libnvidia-ml.so.1")); err == nil {
			return nil
		}
	}
	return errors.New("NVIDIA's driver is not installed here: no device /dev/nvidiactl and no library libnvidia-ml.so.1; where the library lies elsewhere, name it with --gpu-library")
}
