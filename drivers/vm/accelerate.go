package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers/vm/monitor"
)

const (
	versionPatience = 10 * time.Second
	probePatience   = 3 * time.Second // a processor's own machines take a fifth of a second
)

// version asks QEMU for its own, and so whether it works at all.
func version(qemu string) (short, full string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, qemu, "--version").Output()
	first, _, _ := bytes.Cut(out, []byte("\n"))
	_, number, found := strings.Cut(string(first), "version ")
	if err != nil || !found {
		return "", "", fmt.Errorf("%s does not work here: asked for its version it says %.100q (%v)", qemu, first, err) //nolint:errorlint // nobody asks for it
	}
	return "QEMU " + strings.Fields(number)[0], string(first), nil
}

// firmware does only what a kernel needs that is started by its program, and that at once. It comes with QEMU.
const firmware = "qboot.rom"

func findFirmware(qemu string) (path string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionPatience)
	defer cancel()
	folders, err := exec.CommandContext(ctx, qemu, "-L", "help").Output()
	if err != nil {
		return "", err
	}
	for _, folder := range strings.Fields(string(folders)) {
		path := filepath.Join(folder, firmware)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s has no %s", qemu, firmware)
}

// accelerate finds out whether the processor itself can run machines. The device may be there, and open, and a machine never get
// anywhere; so one is tried. note says why not.
func (d *Driver) accelerate() (accel, note string) {
	const slow = "machines are run by emulation, several times slower: "
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "tcg", slow + err.Error()
	}
	if !bytes.Contains(info, []byte(" vmx ")) && !bytes.Contains(info, []byte(" svm ")) {
		return "tcg", slow + "the processor shows neither vmx nor svm"
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg", slow + err.Error()
	}
	device.Close()
	if info, err := os.Stat("/dev/kvm"); err != nil || os.Geteuid() == 0 && info.Mode()&0o006 != 0o006 {
		return "tcg", slow + "/dev/kvm is not open to the users of tasks, as whom QEMU runs: chmod 666 /dev/kvm, for good by a rule of udev"
	}
	if err := d.probe("kvm", probePatience); err != nil {
		return "tcg", slow + "with KVM a machine does not come up: " + err.Error()
	}
	return "kvm", ""
}

// probe starts a machine that has nothing to do but to say that it is up.
func (d *Driver) probe(accel string, patience time.Duration) error {
	box, err := os.MkdirTemp(d.config.Dir, "probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(box)
	if err := os.Mkdir(filepath.Join(box, monitor.Disk), 0o700); err != nil {
		return err
	}
	for _, name := range []string{monitor.Kernel, monitor.Initrd} {
		if err := put(filepath.Join(d.config.Dir, name), filepath.Join(box, name)); err != nil {
			return err
		}
	}
	const size = 1 << 20
	if err := os.WriteFile(monitor.Overlay(box), emptyOverlay(size), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(box, monitor.Base), make([]byte, size), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return monitor.Probe(ctx, box, monitor.Order{QEMU: d.qemu, Accel: accel, Firmware: d.firmware, CPUs: 1, Memory: reserveMiB + 32, Format: "raw"})
}
