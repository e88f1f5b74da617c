//go:build e2e

package vm_test

import (
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm"
)

// lift takes the limit off, and then all the memory that there is: what is on a file system in memory cannot be written away.
const lift = `
echo max >/sys/fs/cgroup/task/memory.max && echo lifted
mount -t tmpfs -o size=4G all /mnt && echo mounted
(dd if=/dev/zero of=/mnt/all bs=1M count=2000 2>/dev/null && echo GOT 2000) || echo stopped
`

// Who lifts the limit in a machine has the machine's memory, and none of anybody else's.
func TestALiftedLimit(t *testing.T) {
	h := suite(newHarness(t, vm.Config{}))
	task := newTask(t, h, "lifter", "mkdir -p /mnt; "+lift)
	task.MemoryBytes = 128 << 20
	st, said := run(t, h.Driver(), task)
	used, err := h.Driver().Usage(t.Context(), task.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "lifted") || !strings.Contains(said, "mounted") || strings.Contains(said, "GOT") {
		t.Errorf("it said %q and ended as %+v", said, st)
	}
	if st.Exit.Cause == drivers.CauseStartFailed || st.State != drivers.StateExited {
		t.Errorf("it ended as %+v", st)
	}
	if outside := int64(128+96+256) << 20; used.MemoryPeakBytes > outside {
		t.Errorf("%d bytes were used, and the machine may have %d", used.MemoryPeakBytes, outside)
	}
	if err := h.Driver().Remove(t.Context(), task.ID); err != nil {
		t.Error(err)
	}
}
