package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/cdi"
	"github.com/coinop/coinop/drivers/shim"
)

// boxDir holds all that a container needs and leaves, beside the task's logs.
func boxDir(taskDir string) string { return filepath.Join(taskDir, "box") }

// command is what the shim is to run, the image's say included.
func command(t drivers.Task, image Image, spec *shim.Spec) {
	spec.Argv, spec.Env = image.Command(t.Entrypoint, t.Argv, t.Env)
	if t.Hold {
		spec.Argv = shim.HoldArgv()
	}
}

// environment puts the task's own variables over its image's.
func environment(image, own []string) []string {
	ours := map[string]bool{}
	for _, entry := range own {
		name, _, _ := strings.Cut(entry, "=")
		ours[name] = true
	}
	var all []string
	for _, entry := range image {
		if name, _, _ := strings.Cut(entry, "="); !ours[name] {
			all = append(all, entry)
		}
	}
	return append(all, own...)
}

// makeBox makes the folder as shim.Box wants it, with the runtime's bundle in it.
func (r runtime) makeBox(t drivers.Task, image Image, devices cdi.Edits, cgroupsPath string) (*shim.Box, error) {
	if len(image.Layers) > shim.LayersMax {
		return nil, fmt.Errorf("%w: an image of %d layers, and %d is the most", drivers.ErrInvalid, len(image.Layers), shim.LayersMax)
	}
	who, err := findUser(image)
	if err != nil {
		return nil, err
	}
	dir := boxDir(t.Dir)
	if err := os.RemoveAll(dir); err != nil { // of a start that was cut short
		return nil, err
	}
	for _, folder := range []string{t.Dir, dir} {
		if err := os.MkdirAll(folder, 0o711); err != nil {
			return nil, err
		}
		if err := os.Chmod(folder, 0o711); err != nil { // its users pass through, and may list nothing
			return nil, err
		}
	}
	for i := range image.Layers {
		if err := os.MkdirAll(filepath.Join(dir, "lower", strconv.Itoa(i)), 0o700); err != nil {
			return nil, err
		}
	}
	uids, gids := newIDMap(who.uid, t.UID), newIDMap(who.gid, t.GID)
	if err := makeOwn(dir, uids.outside(0), gids.outside(0)); err != nil {
		return nil, err
	}
	for _, name := range []string{"user", "pid", "init"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1 localhost\n::1 localhost\n"), 0o644); err != nil { //nolint:gosec // for the container's users
		return nil, err
	}
	bundle := newBundle(t, dir, who, uids, gids, cgroupsPath)
	bundle.Mounts = append(bundle.Mounts, deviceMounts(devices)...)
	if bundle.Linux.Seccomp, err = profile(bundle); err != nil {
		return nil, err
	}
	if r.filter != "" {
		bundle.Annotations = map[string]string{filterAnnotation: r.filter}
	}
	data, err := json.Marshal(bundle)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
	}
	if err != nil {
		return nil, err
	}
	box := &shim.Box{Dir: dir, WorkDir: t.WorkDir, UIDMap: uids.text(), GIDMap: gids.text()}
	for i := range image.Layers { // the uppermost first
		box.Layers = append(box.Layers, image.Layers[len(image.Layers)-1-i])
	}
	return box, nil
}

// makeOwn makes the folders of what the container changes in its image. They are closed to everybody else: a program there may
// be set to run as its owner.
func makeOwn(dir string, uid, gid uint32) error {
	upper := filepath.Join(dir, "own", "upper")
	return errors.Join(
		os.MkdirAll(filepath.Join(dir, "own"), 0o700), os.Mkdir(filepath.Join(dir, "own", "work"), 0o700), os.Mkdir(filepath.Join(dir, "rootfs"), 0o711), os.Mkdir(filepath.Join(dir, "work"), 0o711), os.Mkdir(filepath.Join(dir, "share"), 0o711),
		os.Mkdir(upper, 0o755), os.Chmod(upper, 0o755), os.Chown(upper, int(uid), int(gid)), //nolint:gosec // seen through the mount alone
	)
}

func newBundle(t drivers.Task, dir string, who user, uids, gids idMap, cgroupsPath string) *specs.Spec {
	s := &specs.Spec{
		Version: "1.0.2", Hostname: hostName(t.ID), Root: &specs.Root{Path: "rootfs", Readonly: t.ReadOnlyRoot},
		Process: firstProcess(who), Mounts: mounts(t, dir),
		Linux: &specs.Linux{
			UIDMappings: uids.mappings(), GIDMappings: gids.mappings(), CgroupsPath: cgroupsPath,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace, Path: filepath.Join(dir, "user")}, {Type: specs.PIDNamespace, Path: filepath.Join(dir, "pid")},
				{Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			},
			MaskedPaths: masked(), ReadonlyPaths: readOnly(),
		},
	}
	if !t.Network {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	return s
}

func mounts(t drivers.Task, dir string) []specs.Mount {
	shm := t.ShmBytes
	if shm == 0 {
		shm = drivers.ShmBytesDefault
	}
	quiet := []string{"nosuid", "noexec", "nodev"}
	all := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: quiet},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", fmt.Sprintf("size=%d", shm)}, quiet...)},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: quiet},
		{Destination: shim.FirstArgv()[0], Type: "bind", Source: filepath.Join(dir, "init"), Options: []string{"bind", "ro", "nosuid", "nodev"}},
		{Destination: "/etc/hosts", Type: "bind", Source: filepath.Join(dir, "hosts"), Options: append([]string{"bind", "ro"}, quiet...)},
		{Destination: WorkDir, Type: "bind", Source: filepath.Join(dir, "work"), Options: []string{"bind", "nosuid", "nodev"}},
	}
	if t.Share != "" {
		all = append(all, specs.Mount{Destination: t.Chdir, Type: "bind", Source: filepath.Join(dir, "share"), Options: []string{"bind", "nosuid", "nodev"}})
	}
	if t.NoticeDir != "" { // the folder, since its files are replaced by others
		all = append(all, specs.Mount{Destination: NoticeDir, Type: "bind", Source: t.NoticeDir, Options: append([]string{"bind", "ro"}, quiet...)})
	}
	if t.Network {
		// The machine's own network: /sys would show its devices, which are not the container's to see.
		const names = "/etc/resolv.conf"
		if _, err := os.Stat(names); err == nil {
			all = append(all, specs.Mount{Destination: names, Type: "bind", Source: names, Options: append([]string{"bind", "ro"}, quiet...)})
		}
		return all
	}
	return append(all, specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, quiet...)})
}

// hostName makes a name of a task's id, which may be a little long for one.
func hostName(id string) string { return id[:min(len(id), 63)] }
