package tasks

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
)

// cgroups is what this machine's control groups allow this user: version 2, version 1, or both side by side.
type cgroups struct {
	unified     string                     // parent folder in version 2, "" if not usable
	controllers map[string]bool            // of unified: cpu, memory, pids
	v1          map[shim.CgroupKind]string // parent folders of usable version 1 controllers
	parents     []string                   // in every hierarchy, those included that are good for nothing here
	why         string                     // why something is missing
	prefix      string                     // of the folders of this driver's tasks
}

var v1Kinds = map[string]shim.CgroupKind{
	"cpu": shim.CPU, "cpuacct": shim.CPUAcct, "memory": shim.Memory, "pids": shim.Pids, "freezer": shim.Freezer,
}

// findCgroups tries every hierarchy by making and removing a folder in it: rights, read-only mounts and delegation have too
// many forms to be judged in any other way.
func findCgroups(parent, prefix string) (cgroups, error) {
	c := cgroups{controllers: map[string]bool{}, v1: map[shim.CgroupKind]string{}, prefix: prefix}
	mounts, err := cgroupMounts()
	if err != nil {
		return c, err
	}
	for _, m := range mounts {
		dir := filepath.Join(m.dir, parent)
		if err := c.try(dir); err != nil {
			if c.why == "" {
				c.why = reason(err)
			}
			continue
		}
		c.parents = append(c.parents, dir)
		if m.unified {
			c.unified = dir
			c.enable(m.dir, parent)
			continue
		}
		for _, name := range m.controllers {
			if kind, ok := v1Kinds[name]; ok {
				c.v1[kind] = dir
			}
		}
	}
	if c.why == "" {
		c.why = "this kernel's cgroups lack the controller"
	}
	return c, nil
}

func reason(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "needs root or a delegated cgroup"
	}
	return "no usable cgroup: " + err.Error()
}

func (c *cgroups) try(parent string) error {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	probe := filepath.Join(parent, c.prefix+"probe")
	if err := os.Mkdir(probe, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Remove(probe)
}

// enable hands the controllers down from the root of version 2 to the parent of the tasks, as far as that is allowed.
func (c *cgroups) enable(mount, parent string) {
	dir := mount
	steps := []string{""}
	for _, step := range strings.Split(strings.Trim(parent, "/"), "/") {
		if step != "" {
			steps = append(steps, step)
		}
	}
	for _, step := range steps {
		dir = filepath.Join(dir, step)
		for _, name := range []string{"cpu", "memory", "pids"} {
			// What fails here shows in the file read below.
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
		}
	}
	enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return
	}
	for _, name := range strings.Fields(string(enabled)) {
		c.controllers[name] = true
	}
}

func (c *cgroups) supports(limit drivers.Limit) bool {
	switch limit {
	case drivers.LimitCPU:
		return c.controllers["cpu"] || c.v1[shim.CPU] != ""
	case drivers.LimitMemory:
		return c.controllers["memory"] || c.v1[shim.Memory] != ""
	case drivers.LimitPids:
		return c.controllers["pids"] || c.v1[shim.Pids] != ""
	}
	return false
}

func (c *cgroups) freezes() bool { return c.unified != "" || c.v1[shim.Freezer] != "" }

// plan says which folders the shim is to make for a task. A hierarchy costs about 0.1 ms a task, so only those are used that a
// limit or the freezer needs.
func (c *cgroups) plan(task drivers.Task) []shim.Cgroup {
	var unified []shim.CgroupWrite
	var plan []shim.Cgroup
	place := func(controller string, kind shim.CgroupKind, v2, v1 []shim.CgroupWrite) {
		if c.v1[kind] != "" {
			plan = append(plan, shim.Cgroup{Kind: kind, Dir: c.dir(c.v1[kind], task.ID), Writes: v1})
		} else if c.controllers[controller] {
			unified = append(unified, v2...)
		}
	}
	if n := task.MemoryBytes; n > 0 {
		v := strconv.FormatInt(n, 10)
		place("memory", shim.Memory,
			[]shim.CgroupWrite{{File: "memory.max", Value: v}, {File: "memory.swap.max", Value: "0", Optional: true},
				{File: "memory.oom.group", Value: "1", Optional: true}},
			[]shim.CgroupWrite{{File: "memory.limit_in_bytes", Value: v}, {File: "memory.memsw.limit_in_bytes", Value: v, Optional: true}})
	}
	if n := task.CPUMilli; n > 0 {
		quota := strconv.FormatInt(max(n*100, 1000), 10) // the kernel takes no less than 1 ms in 100
		place("cpu", shim.CPU, []shim.CgroupWrite{{File: "cpu.max", Value: quota + " 100000"}},
			[]shim.CgroupWrite{{File: "cpu.cfs_quota_us", Value: quota}})
	}
	if n := task.PidsMax; n > 0 {
		w := []shim.CgroupWrite{{File: "pids.max", Value: strconv.FormatInt(n, 10)}}
		place("pids", shim.Pids, w, w)
	}
	switch {
	case c.unified != "":
		plan = append(plan, shim.Cgroup{Kind: shim.Unified, Dir: c.dir(c.unified, task.ID), Writes: unified})
	default:
		for _, kind := range []shim.CgroupKind{shim.Freezer, shim.CPUAcct} {
			if c.v1[kind] != "" {
				plan = append(plan, shim.Cgroup{Kind: kind, Dir: c.dir(c.v1[kind], task.ID)})
			}
		}
	}
	return plan
}

func (c *cgroups) dir(parent, id string) string { return filepath.Join(parent, c.prefix+id) }

// all lists the folders that a task may have, whatever its limits.
func (c *cgroups) all(id string) map[shim.CgroupKind]string {
	dirs := map[shim.CgroupKind]string{}
	if c.unified != "" {
		dirs[shim.Unified] = c.dir(c.unified, id)
	}
	for kind, parent := range c.v1 {
		dirs[kind] = c.dir(parent, id)
	}
	return dirs
}

// foreign lists the folders that somebody else may use for a task, by a name that no task has.
func (c *cgroups) foreign(id string) []string {
	var dirs []string
	for _, parent := range c.parents {
		dirs = append(dirs, c.dir(parent, id+"~"))
	}
	return dirs
}

// Foreign is for a program that insists on cgroups of its own for a task: a path that it may use in every hierarchy, and what a
// shim is told so that they end with the task.
func (d *Set) Foreign(id string) (path string, groups []shim.Cgroup) {
	for _, dir := range d.cgroups.foreign(id) {
		groups = append(groups, shim.Cgroup{Kind: shim.Foreign, Dir: dir})
	}
	return filepath.Join("/", d.config.CgroupParent, d.cgroups.prefix+id+"~"), groups
}

// Join puts one more process into a running task, limits and lease included.
func (d *Set) Join(id string, pid int) error {
	for kind, dir := range d.cgroups.all(id) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("join cgroup %c of task %s: %w", kind, id, err)
		}
	}
	return nil
}

type cgroupMount struct {
	dir         string
	unified     bool
	controllers []string
}

func cgroupMounts() ([]cgroupMount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer file.Close()
	var mounts []cgroupMount
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 5 || len(right) < 3 {
			continue
		}
		switch right[0] {
		case "cgroup2":
			mounts = append(mounts, cgroupMount{dir: left[4], unified: true})
		case "cgroup":
			mounts = append(mounts, cgroupMount{dir: left[4], controllers: strings.Split(right[2], ",")})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	return mounts, nil
}
