package vm_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm"
	"github.com/coinop/coinop/drivers/vm/initrd"
	"github.com/coinop/coinop/drivers/vm/vmtest"
)

// plain starts a machine as one would by hand: the kernel's file as its package brings it, an initramfs, a disk, a serial port, no
// other devices, the firmware and all else as QEMU and kernel have them. It has our first process, and is there when that speaks.
func plain(b *testing.B, kernel string, d *vm.Driver, used *time.Duration) func() error {
	dir := b.TempDir()
	first, err := initrd.Make(kernel, d.Shim(), false)
	if err != nil {
		b.Fatal(err)
	}
	file, disk, word := filepath.Join(dir, "initrd"), filepath.Join(dir, "disk"), filepath.Join(dir, "word")
	if err := errors.Join(os.WriteFile(file, first, 0o600), os.WriteFile(disk, make([]byte, 1<<20), 0o600)); err != nil {
		b.Fatal(err)
	}
	return func() error {
		if err := os.WriteFile(word, nil, 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(b.Context(), vm.QEMU, "-machine", "q35", "-accel", d.Accel(), "-cpu", "max", "-m", "352", "-nodefaults", "-display", "none", "-no-reboot",
			"-kernel", kernel, "-initrd", file, "-append", "console=ttyS0 quiet", "-serial", "null", "-drive", "if=virtio,format=raw,file="+disk,
			"-device", "virtio-serial", "-chardev", "file,id=word,path="+word, "-device", "virtserialport,chardev=word")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for {
			if info, err := os.Stat(word); err != nil || info.Size() > 0 {
				b.StopTimer()
				defer b.StartTimer()
				err = errors.Join(err, cmd.Process.Kill())
				<-ended
				*used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				return err
			}
			select {
			case err := <-ended:
				return fmt.Errorf("QEMU ended: %w", err)
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// BenchmarkStart takes a machine of an image that is there from Start to the first word of its command, beside it QEMU alone until
// the first process has spoken.
func BenchmarkStart(b *testing.B) {
	kernel := vmtest.Need(b)
	h := newHarness(b, vm.Config{})
	d, ok := h.Driver().(*vm.Driver)
	if !ok {
		b.Fatal("it is another driver")
	}
	n, used := 0, time.Duration(0) // on processors, which says more on a busy machine
	once := func() error {
		n++
		folder, err := h.Folder()
		if err != nil {
			return err
		}
		task := drivers.Task{
			ID: fmt.Sprintf("bench-%d", n), Dir: filepath.Join(folder, "driver"), WorkDir: filepath.Join(folder, "work"), UID: h.UID, GID: h.GID, Image: h.Image,
			Argv: []string{"/bin/sh", "-c", "echo word; sleep 1000"}, Env: []string{"PATH=/bin"}, CPUMilli: 1000, MemoryBytes: 256 << 20, PidsMax: 100,
		}
		if err := os.Mkdir(task.WorkDir, 0o755); err != nil {
			return err
		}
		if _, err := d.Start(b.Context(), task); err != nil {
			return err
		}
		for {
			if info, err := os.Stat(filepath.Join(task.Dir, "stdout")); err == nil && info.Size() > 0 {
				b.StopTimer()
				defer b.StartTimer()
				u, err := d.Usage(b.Context(), task.ID)
				used += time.Duration(u.CPUMillis) * time.Millisecond
				return errors.Join(err, d.Remove(b.Context(), task.ID))
			}
			if s, _, err := d.Status(task.ID); err != nil || s.State.Final() {
				return fmt.Errorf("it ended as %+v: %w", s, err)
			}
			time.Sleep(time.Millisecond) // what the figure is too large by, at most
		}
	}
	if err := once(); err != nil { // its disk is made
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{{"qemu", plain(b, kernel, d, &used)}, {"ours", once}} {
		b.Run(c.name, func(b *testing.B) {
			used = 0
			for range b.N {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms")
			b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms")
		})
	}
}
