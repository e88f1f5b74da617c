package drivertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/cdi"
)

func deviceChecks() []Check {
	nodes := func(h Harness, d drivers.Description) bool {
		return h.Programs && slices.Contains(d.Devices, drivers.DevicesCDI) && os.Geteuid() == 0
	}
	none := func(_ Harness, d drivers.Description) bool { return !slices.Contains(d.Devices, drivers.DevicesCDI) }
	return []Check{
		{Name: "a task opens the devices that it was given, and no others", Needs: nodes, Run: opensItsDevices},
		{Name: "a device that is not there is refused", Needs: nodes, Run: noDevice},
		{Name: "a driver without devices refuses them", Needs: none, Run: refusesDevices},
	}
}

// zeroes makes a device node of which anybody can read zeroes: what stands for a GPU's.
func zeroes(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|5); err != nil {
		return err
	}
	return os.Chmod(path, 0o666)
}

// devices makes three nodes, of which a spec gives the first two by the name coinop/test=two.
func devices(dir string) (specs string, err error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"one", "caps/two", "three"} {
		if err := zeroes(filepath.Join(dir, "dev", name)); err != nil {
			return "", err
		}
	}
	specs = filepath.Join(dir, "specs")
	if err := os.Mkdir(specs, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "library")
	if err := os.WriteFile(file, []byte("a library\n"), 0o644); err != nil { //nolint:gosec // for the task's user
		return "", err
	}
	data, err := json.Marshal(cdi.Spec{Version: cdi.Version, Kind: "coinop/test", Devices: []cdi.Device{{Name: "two", Edits: cdi.Edits{
		Env:    []string{"GIVEN=one,two"},
		Nodes:  []cdi.Node{{Path: "/dev/test-one", HostPath: filepath.Join(dir, "dev", "one")}, {Path: "/dev/test-caps/two", HostPath: filepath.Join(dir, "dev", "caps", "two")}},
		Mounts: []cdi.Mount{{HostPath: file, ContainerPath: "/usr/lib/test/library", Options: []string{"ro", "nosuid", "nodev"}}},
	}}}})
	if err != nil {
		return "", err
	}
	return specs, os.WriteFile(filepath.Join(specs, "test.json"), data, 0o600)
}

// tries reads each node that it finds or can make. One that lies in its work folder or anywhere else is none for it.
const tries = `for n in /dev/test-one /dev/test-caps/two /dev/three ./node "$THREE"; do
	[ -e "$n" ] && echo "$n $(head -c 3 "$n" 2>/dev/null | wc -c)"
done
for n in ./made /tmp/made /dev/made /dev/shm/made; do
	mknod "$n" c 1 5 2>/dev/null && echo "made $n $(head -c 3 "$n" 2>/dev/null | wc -c)"
done
find /dev -type b
[ -e /usr/lib/test/library ] && cat /usr/lib/test/library
(echo x >/usr/lib/test/library) 2>/dev/null && echo changed
echo "$GIVEN"`

func opensItsDevices(s *Session) error {
	dir, err := s.Folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	specs, err := devices(dir)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		given []string
		want  string
	}{
		{[]string{"coinop/test=two"}, "/dev/test-one 3\n/dev/test-caps/two 3\n./node 0\na library\none,two\n"},
		{nil, "./node 0\nnothing\n"},
	} {
		var failed error
		_, got, err := s.says(tries, func(t *drivers.Task) {
			t.Devices, t.DeviceSpecs = c.given, specs
			t.Env = append(t.Env, "GIVEN=nothing", "THREE="+filepath.Join(dir, "dev", "three"))
			failed = zeroes(filepath.Join(t.WorkDir, "node"))
		})
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("what a task with the devices %q finds", c.given), got, c.want); err != nil {
			return err
		}
	}
	return nil
}

func noDevice(s *Session) error {
	dir, err := s.Folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	specs, err := devices(dir)
	if err != nil {
		return err
	}
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	task.DeviceSpecs = specs
	for _, name := range []string{"coinop/test=three", "two"} {
		task.Devices = []string{name}
		if _, err := s.start(task); err == nil {
			return fmt.Errorf("device %q is none, and a task with it was started", name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "dev", "one")); err != nil {
		return err
	}
	task.Devices = []string{"coinop/test=two"}
	if _, err := s.start(task); err == nil {
		return errors.New("a device's node is gone, and a task with it was started")
	}
	return nil
}

func refusesDevices(s *Session) error {
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	task.Devices, task.DeviceSpecs = []string{"coinop/test=two"}, "/nowhere"
	if _, err := s.start(task); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("it takes no devices, and says %v of one: want %v", err, drivers.ErrInvalid)
	}
	return nil
}
