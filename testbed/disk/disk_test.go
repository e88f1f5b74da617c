package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestADiskFailsAndHealsWhenItIsTold(t *testing.T) {
	from, at := t.TempDir(), t.TempDir()
	d, err := Mount(from, at)
	if errors.Is(err, ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(at, "file")
	write := func() error {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = f.WriteString("text")
		return errors.Join(err, f.Sync(), f.Close())
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	d.FailFlush(syscall.EIO)
	if err := write(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a flush that should fail: %v", err)
	}
	d.FailFlush(0)
	d.FailWrite(syscall.EROFS)
	if err := write(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a write that should fail: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "text" {
		t.Errorf("what can be read: %q, %v", b, err)
	}
	d.FailWrite(0)
	d.Slow(50 * time.Millisecond)
	begun := time.Now()
	if err := write(); err != nil || time.Since(begun) < 50*time.Millisecond {
		t.Errorf("a slow flush: %v after %v", err, time.Since(begun))
	}
}
