package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/drivers/vm/export"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// same is one word for all that a machine finds again where it goes on: whoever says the same word can take it in. With KVM that is
// the processor itself, too; emulated ones are QEMU's alone.
func (d *Driver) same(qemu string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n%s\n%s\n%s\n", export.Version, qemu, d.accel, kernelOrder())
	if d.accel == "kvm" {
		sum.Write(processor())
	}
	paths := []string{filepath.Join(d.config.Dir, monitor.Kernel), filepath.Join(d.config.Dir, initrdName(false)), filepath.Join(d.config.Dir, initrdName(true))}
	if d.firmware != "" {
		path, err := findFirmware(d.qemu)
		if err != nil {
			return "", err
		}
		paths = append(paths, path)
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		one := sha256.New()
		_, err = io.Copy(one, file)
		file.Close()
		if err != nil {
			return "", err
		}
		sum.Write(one.Sum(nil))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// kernelOrder is how machines are called for, but for what is each one's own.
func kernelOrder() string { return fmt.Sprintf("%q", monitor.Command("", monitor.Order{}, false)) }

// processor is what the kernel says of one.
func processor() []byte {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil // where that cannot be read there is no KVM either
	}
	var all []byte
	for line := range bytes.Lines(info) {
		key, _, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.TrimSpace(key)) {
		case "vendor_id", "cpu family", "model", "model name", "stepping", "flags":
			all = append(all, line...)
		case "": // the next one
			return all
		}
	}
	return all
}
