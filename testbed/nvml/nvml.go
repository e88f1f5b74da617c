// Package nvml builds a libnvidia-ml.so.1 that shows a machine of text, so that what talks to GPUs can be tested without one.
package nvml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is one library with the GPUs that it shows. Its state is a file beside the library, so all processes that load the
// library see the same machine, and the test's changes at once.
type Machine struct{ dir string }

// New builds the library into the folder, without the functions named, for a machine of eight GPUs.
func New(dir string, without ...string) (*Machine, error) {
	header, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml/pkg/nvml").Output()
	if err != nil {
		return nil, fmt.Errorf("build the GPU library: find go-nvml: %w", err)
	}
	_, self, _, _ := runtime.Caller(0)
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(self), "lib", "*.c"))
	if err != nil || len(sources) == 0 {
		return nil, fmt.Errorf("build the GPU library: no sources: %w", err)
	}
	m := &Machine{dir: dir}
	exports := "{ global: nvml*; local: *; };"
	if len(without) > 0 {
		exports = "{ global: nvml*; local: " + strings.Join(without, "; ") + "; *; };"
	}
	script := filepath.Join(dir, "exports")
	if err := os.WriteFile(script, []byte(exports), 0o600); err != nil {
		return nil, fmt.Errorf("build the GPU library: %w", err)
	}
	arguments := []string{"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations", "-DNVML_NO_UNVERSIONED_FUNC_DEFS=1",
		"-I" + strings.TrimSpace(string(header)), "-Wl,--version-script=" + script, "-o", m.Library()}
	if out, err := exec.Command("gcc", append(append(arguments, sources...), "-ldl")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the GPU library: %w: %s", err, out)
	}
	if err := m.writeRoot(); err != nil {
		return nil, err
	}
	return m, m.Reset()
}

// Reset makes the machine new.
func (m *Machine) Reset() error {
	if err := os.WriteFile(m.file(), []byte(facts()), 0o600); err != nil {
		return fmt.Errorf("make the GPU machine: %w", err)
	}
	return nil
}

// Library is the path to load.
func (m *Machine) Library() string { return filepath.Join(m.dir, "libnvidia-ml.so.1") }

// Root is where this machine's /dev and /proc are.
func (m *Machine) Root() string { return filepath.Join(m.dir, "root") }

func (m *Machine) file() string { return filepath.Join(m.dir, "machine") }

// writeRoot writes what the kernel module shows: the minor numbers of MIG's capabilities, in NVIDIA's order.
func (m *Machine) writeRoot() error {
	caps := filepath.Join(m.Root(), "proc", "driver", "nvidia-caps")
	if err := os.MkdirAll(caps, 0o755); err != nil {
		return fmt.Errorf("make the GPU machine: %w", err)
	}
	text, minor := "config 1\nmonitor 2\n", 3
	for gpu := range 8 {
		for instance := range 15 {
			text += fmt.Sprintf("gpu%d/gi%d/access %d\n", gpu, instance, minor)
			minor++
			for compute := range 8 {
				text += fmt.Sprintf("gpu%d/gi%d/ci%d/access %d\n", gpu, instance, compute, minor)
				minor++
			}
		}
	}
	if err := os.WriteFile(filepath.Join(caps, "mig-minors"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("make the GPU machine: %w", err)
	}
	return nil
}

// Nodes makes what stands for the GPUs' device nodes, of which zeroes can be read. It needs root.
func (m *Machine) Nodes() error {
	caps, err := os.ReadFile(filepath.Join(m.Root(), "proc", "driver", "nvidia-caps", "mig-minors"))
	if err != nil {
		return fmt.Errorf("make device nodes: %w", err)
	}
	names := []string{"nvidiactl", "nvidia-uvm"}
	for gpu := range 8 {
		names = append(names, fmt.Sprintf("nvidia%d", gpu))
	}
	for line := range strings.Lines(string(caps)) {
		_, minor, _ := strings.Cut(strings.TrimSpace(line), " ")
		names = append(names, "nvidia-caps/nvidia-cap"+minor)
	}
	if err := os.MkdirAll(filepath.Join(m.Root(), "dev", "nvidia-caps"), 0o755); err != nil {
		return fmt.Errorf("make device nodes: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(m.Root(), "dev", name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
			return fmt.Errorf("make device node %s: %w", path, err)
		}
		if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // as NVIDIA's are
			return fmt.Errorf("make device node %s: %w", path, err)
		}
	}
	return nil
}

// edit changes the machine's facts under the lock that the library takes too.
func (m *Machine) edit(change func(facts map[string]string)) error {
	file, err := os.OpenFile(m.file(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("turn the GPU machine: %w", err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("turn the GPU machine: %w", err)
	}
	data, err := os.ReadFile(m.file())
	if err != nil {
		return fmt.Errorf("turn the GPU machine: %w", err)
	}
	facts := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		facts[key] = value
	}
	change(facts)
	var text strings.Builder
	for key, value := range facts {
		fmt.Fprintf(&text, "%s %s\n", key, value)
	}
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("turn the GPU machine: %w", err)
	}
	if _, err := file.WriteAt([]byte(text.String()), 0); err != nil {
		return fmt.Errorf("turn the GPU machine: %w", err)
	}
	return nil
}
