// Package initrd makes the first file system of a virtual machine: our own first process, and the modules that its kernel needs.
package initrd

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// need lists the drivers of what our machines are made of. Loading one takes time, so that of a network is there for those that have it.
func need(network bool) []string {
	list := []string{"virtio_pci", "virtio_console", "virtio_blk"}
	if network {
		list = append(list, "virtio_net")
	}
	return list
}

// Version is the kernel's, by the name of its file as all distributions give it.
func Version(kernel string) string {
	_, version, _ := strings.Cut(filepath.Base(kernel), "-")
	return version
}

// Modules finds the folder of a kernel's modules: beside the folder that the kernel is in, or the machine's own.
func Modules(kernel string) (string, error) {
	version := Version(kernel)
	for _, root := range []string{filepath.Dir(filepath.Dir(kernel)), "/"} {
		dir := filepath.Join(root, "lib", "modules", version)
		if _, err := os.Stat(filepath.Join(dir, "kernel")); err == nil && version != "" {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the modules of kernel %s are neither in %s nor in /lib/modules/%s: its package brings both",
		kernel, filepath.Join(filepath.Dir(filepath.Dir(kernel)), "lib", "modules", version), version)
}

// BuiltIn says whether a kernel has a part of it without a module being loaded.
func BuiltIn(kernel, name string) bool {
	dir, err := Modules(kernel)
	if err != nil {
		return false
	}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	return err == nil && bytes.Contains(list, []byte("/"+name+".ko"))
}

// Make returns the file system as an archive.
func Make(kernel, init string, network bool) ([]byte, error) {
	program, err := os.ReadFile(init)
	if err != nil {
		return nil, err
	}
	a := &archive{}
	for _, folder := range []string{"dev", "proc", "root", "modules"} {
		a.add(folder, 0o40755, nil, [2]uint32{})
	}
	a.add("dev/console", 0o20600, nil, [2]uint32{5, 1})
	a.add("init", 0o100755, program, [2]uint32{})
	dir, err := Modules(kernel)
	if err != nil {
		return nil, err
	}
	modules, err := load(dir, need(network))
	if err != nil {
		return nil, err
	}
	for i, data := range modules {
		a.add(fmt.Sprintf("modules/%02d", i), 0o100644, data, [2]uint32{})
	}
	a.add("TRAILER!!!", 0, nil, [2]uint32{})
	return a.data.Bytes(), nil
}

// archive is a cpio archive of the form that kernels unpack.
type archive struct {
	data  bytes.Buffer
	count uint32
}

func (a *archive) add(name string, mode uint32, data []byte, device [2]uint32) {
	a.count++
	a.data.WriteString("070701")
	for _, n := range []uint32{a.count, mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, device[0], device[1], uint32(len(name) + 1), 0} {
		fmt.Fprintf(&a.data, "%08X", n)
	}
	a.data.WriteString(name + "\x00")
	a.pad()
	a.data.Write(data)
	a.pad()
}

func (a *archive) pad() { a.data.Write(make([]byte, -a.data.Len()&3)) }

// load reads the modules that are needed, each behind those that it needs itself. What is built in needs none.
func load(dir string, names []string) ([][]byte, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); err == nil && ok && !d.IsDir() {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find modules: %w", err)
	}
	builtIn, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find modules: %w", err)
	}
	var all [][]byte
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if done[name] || bytes.Contains(builtIn, []byte("/"+name+".ko")) {
			return nil
		}
		done[name] = true
		data, err := os.ReadFile(files[name])
		if err != nil {
			return fmt.Errorf("the kernel has no module %s in %s, not compressed at least", name, dir)
		}
		needs, err := depends(data)
		if err != nil {
			return fmt.Errorf("read %s: %w", files[name], err)
		}
		for _, other := range needs {
			if err := add(other); err != nil {
				return err
			}
		}
		all = append(all, data)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func depends(module []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it is no module")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(data), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
