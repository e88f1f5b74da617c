package container

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/cdi"
	"github.com/coinop/coinop/drivers/shim"
)

// runtime is a program that makes containers.
type runtime struct {
	command []string // that begins each of its commands
	cgroups bool     // it insists on cgroups of its own
	filter  string   // the profile of system calls as it compiled it once, if it takes that; "": it compiles it for each container
}

// known lists the runtimes, the better one first: crun starts a container in half of runc's time, and can be told to leave
// cgroups alone.
func known() []string { return []string{"crun", "runc"} }

// id is every container's: each has a folder of states for itself.
const id = "task"

func (r runtime) run(box string) []string {
	return slices.Concat(r.command, []string{"--root", filepath.Join(box, "state"), "run", "--detach", "--bundle", box,
		"--pid-file", filepath.Join(box, "first"), "--preserve-fds", "3", id})
}

// cgroupsPath is the runtime's own, which then ends with the task; "" if it wants none.
func (r runtime) cgroupsPath(d *Driver, task string, spec *shim.Spec) string {
	if !r.cgroups {
		return ""
	}
	path, groups := d.Foreign(task)
	spec.Cgroups = append(spec.Cgroups, groups...)
	return path
}

// choose takes the first runtime with which a container really starts here, since too much of a machine can be in the way of
// one to be judged otherwise.
func (d *Driver) choose(only string) {
	if os.Geteuid() != 0 {
		d.useless = "it needs root"
		return
	}
	var said []string
	for _, name := range known() {
		if only != "" && name != only {
			continue
		}
		why := d.probe(name)
		if why == "" {
			if len(said) > 0 {
				d.note = "containers run by " + version(name) + ": " + strings.Join(said, "; ")
			}
			return
		}
		said = append(said, why)
	}
	d.useless = strings.Join(said, "; ")
}

func version(name string) string {
	out, err := exec.Command(name, "--version").Output()
	first, _, _ := bytes.Cut(out, []byte("\n"))
	if err != nil || len(first) == 0 {
		return name
	}
	return strings.Replace(string(first), " version ", " ", 1)
}

// probe runs a container in which there is nothing to run. The answer is why the runtime cannot be used.
func (d *Driver) probe(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return name + " is not installed"
	}
	d.runtime = runtime{command: []string{path}, cgroups: true}
	if name == "crun" {
		// It refuses a machine whose cgroups are of both versions, even where it is to leave them alone. What is not mounted
		// where it looks cannot trouble it.
		d.runtime = runtime{command: []string{path, "--cgroup-manager=disabled"}}
		if unified := hybrid(); unified != "" {
			d.runtime.command = append(shim.Without(d.Shim(), unified), d.runtime.command...)
		}
	}
	said, err := d.tryEmpty()
	if err != nil {
		said = err.Error()
	}
	if strings.HasPrefix(said, "execute ") {
		return ""
	}
	return fmt.Sprintf("%s does not work here: %s", version(name), said)
}

// hybrid is where version 2 of cgroups is mounted beside version 1.
func hybrid() string {
	const beside = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(filepath.Join(beside, "cgroup.procs")); err == nil {
		return beside
	}
	return ""
}

func (d *Driver) tryEmpty() (string, error) {
	dir, err := os.MkdirTemp("", "coinop-container-") // the driver's own folder is closed to a container's users
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	for _, folder := range []string{"layer", "work", "task"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			return "", err
		}
	}
	const anybody = 65534
	t := drivers.Task{ID: filepath.Base(dir), Dir: filepath.Join(dir, "task"), WorkDir: filepath.Join(dir, "work"), UID: anybody, GID: anybody}
	spec := shim.Spec{Record: filepath.Join(dir, "record"), LogDir: t.Dir, WorkDir: WorkDir, Argv: []string{"/nothing"}}
	box, err := d.runtime.makeBox(t, Image{Layers: []string{filepath.Join(dir, "layer")}}, cdi.Edits{}, d.runtime.cgroupsPath(d, t.ID, &spec))
	if err != nil {
		return "", err
	}
	box.Program, box.Runtime = d.Shim(), d.runtime.run(box.Dir)
	spec.Box = box
	said, err := d.Try(spec)
	d.runtime.keepFilter(box.Dir)
	return explain(box.Dir, said), err
}

// filterAnnotation is how crun is given a compiled filter: https://github.com/containers/crun/blob/main/crun.1.md
const filterAnnotation = "run.oci.seccomp_bpf_data"

// keepFilter takes what crun made of the profile for the container in this box. Every container has the same profile, and
// compiling it takes crun longer than all else that it does.
func (r *runtime) keepFilter(box string) {
	if data, err := os.ReadFile(filepath.Join(box, "state", id, "seccomp.bpf")); err == nil { // runc keeps none
		r.filter = base64.StdEncoding.EncodeToString(data)
	}
}

// explain finds what the runtime said where the shim knows only that it failed.
func explain(box, message string) string {
	if !strings.HasPrefix(message, "start container") {
		return message
	}
	said, err := os.ReadFile(filepath.Join(box, "errors"))
	if err != nil {
		return message
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	last := lines[len(lines)-1]
	if _, text, found := strings.Cut(last, " level=error msg="); found {
		last = strings.ReplaceAll(strings.Trim(text, `"`), `\"`, `"`)
	}
	if last == "" {
		return message
	}
	const most = 400
	return "start container: " + strings.ToValidUTF8(last[:min(len(last), most)], "?")
}
