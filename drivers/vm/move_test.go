package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/vm/export"
	"github.com/coinop/coinop/drivers/vm/monitor"
)

// here is a driver as far as boxes need one, of no machine that could run.
func here(t *testing.T, config Config) *Driver {
	t.Helper()
	config.Dir = t.TempDir()
	for _, name := range []string{monitorFile, monitor.Kernel, initrdName(false), initrdName(true)} {
		if err := os.WriteFile(filepath.Join(config.Dir, name), []byte(name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return &Driver{config: config, qemu: "/usr/bin/qemu", accel: "tcg", firmware: "rom", moves: "word"}
}

func moveTask(t *testing.T) drivers.Task {
	t.Helper()
	return drivers.Task{ID: "a", Dir: filepath.Join(t.TempDir(), "driver"), From: filepath.Join(t.TempDir(), "export"), CPUMilli: 1500, MemoryBytes: 64 << 20, DiskBytes: 1 << 20, NoticeDir: "/notices", FilesMax: 7}
}

// was is what such a task's machine was elsewhere.
func was() moving {
	return moving{monitor.Order{
		Accel: "tcg", CPUs: 2, Memory: 160, TaskBytes: 64 << 20, Format: "raw", Partition: 3, Host: "a", ShmBytes: 9, UID: 5, WorkDir: "/w", Argv: [][]byte{[]byte("\xff")}, Env: [][]byte{[]byte("A=b")},
	}, monitor.Written{Part: []byte("part"), Open: []uint16{17}, Next: 20}}
}

// pack makes an export of a head and three files.
func pack(t *testing.T, path string, head []byte, files ...[]byte) {
	t.Helper()
	var all []*os.File
	for _, data := range files {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	var b bytes.Buffer
	if err := export.Write(&b, head, all...); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func headOf(t *testing.T, m moving) []byte {
	t.Helper()
	head, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func TestABoxIsMadeOfAnExport(t *testing.T) {
	d, task := here(t, Config{}), moveTask(t)
	pack(t, task.From, headOf(t, was()), []byte("state"), emptyOverlay(1<<30), []byte("base"))
	order, err := d.takeIn(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	box := boxDir(task.Dir)
	for path, want := range map[string]string{
		monitor.State(box): "state", monitor.Overlay(box): string(emptyOverlay(1 << 30)), filepath.Join(box, monitor.Base): "base", filepath.Join(box, monitor.Kernel): monitor.Kernel,
		filepath.Join(ownDir(task.Dir), monitor.Base): "base", filepath.Join(box, monitor.Initrd): initrdName(false),
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is %.20q, %v", path, got, err)
		}
	}
	for _, dir := range []string{box, ownDir(task.Dir)} {
		read, err := monitor.ReadOrder(dir)
		if err != nil || read.QEMU != "/usr/bin/qemu" || read.Firmware != "rom" || read.CPUs != 2 || read.Partition != 3 || read.NoticeDir != "/notices" || read.FilesMax != 7 || read.DiskBytes != 1<<20 ||
			string(read.Argv[0]) != "\xff" || read.WorkDir != "/w" || read.UID != 5 || read.GoesOn == nil || string(read.GoesOn.Part) != "part" || read.GoesOn.Next != 20 || order.Memory != 160 {
			t.Errorf("the order is %+v, %v", read, err)
		}
	}
	if monitor.Suspended(box) {
		t.Error("a machine that goes on is said to be suspended")
	}
}

// What is exported says what it was made of, and goes on in nothing else; and none of its files is believed.
func TestABoxIsMadeOfNothingElse(t *testing.T) {
	overlay := emptyOverlay(1 << 30)
	named := bytes.Clone(overlay)
	named[15] = 104 // where the name of another file would stand
	data := bytes.Clone(overlay)
	data[79] |= 4 // its contents are in another file
	full := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for what, c := range map[string]struct {
		change func(*moving)
		task   func(*drivers.Task)
		files  [][]byte
		head   []byte
		config Config
	}{
		"more processors than are paid for": {change: func(m *moving) { m.Order.CPUs = 3 }},
		"no processor":                      {change: func(m *moving) { m.Order.CPUs = 0 }},
		"other memory":                      {task: func(t *drivers.Task) { t.MemoryBytes++ }},
		"memory without a limit":            {task: func(t *drivers.Task) { t.MemoryBytes = 0 }},
		"a network":                         {task: func(t *drivers.Task) { t.Network = true }},
		"another processor":                 {change: func(m *moving) { m.Order.Accel = "kvm" }},
		"a form of disk that opens others":  {change: func(m *moving) { m.Order.Format = "vmdk" }},
		"a machine that has moved halfway":  {change: func(m *moving) { m.Order.GoesOn = &monitor.Written{} }},
		"half a frame of a megabyte":        {change: func(m *moving) { m.Written.Part = full(1 << 20) }},
		"a head of something else":          {head: []byte(`{"Order":{},"Written":{},"Path":"/etc"}`)},
		"a head that is none":               {head: []byte("[]")},
		"state that no such machine has":    {task: func(t *drivers.Task) { t.MemoryBytes = 1 }, change: func(m *moving) { m.Order.TaskBytes, m.Order.Memory = 1, 97 }, files: [][]byte{full(170 << 20), overlay, full(1)}},
		"more on its disk than it may":      {files: [][]byte{full(1), append(bytes.Clone(overlay), full(70<<20)...), full(1)}},
		"a disk that is too large":          {config: Config{DiskBytes: 1 << 20}, files: [][]byte{full(1), overlay, full(2 << 20)}},
		"changes that name another file":    {files: [][]byte{full(1), named, full(1)}},
		"changes that lie in another file":  {files: [][]byte{full(1), data, full(1)}},
		"changes that are no disk":          {files: [][]byte{full(1), full(1000), full(1)}},
		"a disk that names another file":    {change: func(m *moving) { m.Order.Format = "qcow2" }, files: [][]byte{full(1), overlay, named}},
		"a file that is not there":          {files: [][]byte{full(1), overlay}},
		"a file too many":                   {files: [][]byte{full(1), overlay, full(1), full(1)}},
	} {
		t.Run(what, func(t *testing.T) {
			d, task, m := here(t, c.config), moveTask(t), was()
			if c.task != nil {
				c.task(&task)
			}
			if c.change != nil {
				c.change(&m)
			}
			head, files := c.head, c.files
			if head == nil {
				head = headOf(t, m)
			}
			if files == nil {
				files = [][]byte{full(1), overlay, full(1)}
			}
			pack(t, task.From, head, files...)
			order, err := d.takeIn(t.Context(), task)
			if !errors.Is(err, drivers.ErrInvalid) {
				t.Errorf("%v, order %+v", err, order)
			}
		})
	}
}

// A machine with other files, another QEMU or another way of running is another machine.
func TestTheWordIsOfAllThatMatters(t *testing.T) {
	word := func(version string, spoil func(*Driver)) string {
		d := here(t, Config{})
		d.firmware = ""
		spoil(d)
		word, err := d.same(version)
		if err != nil {
			t.Fatal(err)
		}
		return word
	}
	first := word("7", func(*Driver) {})
	if again := word("7", func(*Driver) {}); again != first || len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Errorf("%q and %q", first, again)
	}
	others := map[string]string{"another QEMU": word("8", func(*Driver) {}), "KVM": word("7", func(d *Driver) { d.accel = "kvm" })}
	for _, name := range []string{monitor.Kernel, initrdName(false), initrdName(true)} {
		others[name] = word("7", func(d *Driver) {
			path := filepath.Join(d.config.Dir, name)
			if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("other"), 0o444)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for what, word := range others {
		if word == first {
			t.Errorf("%s does not matter", what)
		}
	}
}
