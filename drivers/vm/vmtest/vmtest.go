// Package vmtest makes what tests of virtual machines need.
package vmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/vm"
)

// KernelEnv names a kernel for tests, where they are not to find one.
const KernelEnv = "COINOP_VM_KERNEL"

// Need skips a test on a machine that lacks what virtual machines need, and finds a kernel: make e2e unpacks one into bin.
func Need(t testing.TB) (kernel string) {
	t.Helper()
	containertest.Need(t)
	kernel = os.Getenv(KernelEnv)
	if kernel == "" {
		root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
		if err != nil {
			t.Skipf("where this module lies is not known: %v", err)
		}
		for _, pattern := range []string{filepath.Join(string(root[:len(root)-1]), "bin", "kernel", "boot", "vmlinuz-*"), "/boot/vmlinuz-*cloud*"} {
			if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
				kernel = found[len(found)-1]
				break
			}
		}
	}
	if err := vm.Installed(kernel); err != nil {
		t.Skipf("%v (tests: scripts/kernel)", err)
	}
	return kernel
}
