package jobfile

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Setting is one thing that can be said of a job: as a flag --name, as a line "#COINOP --name", as the
// variable COINOP_SUBMIT_NAME, or as an HCL attribute.
type Setting struct {
	Name  string
	Value string // what the help shows in place of the value; empty: it is said or not, without a value
	Help  string
	Many  bool // may be said more than once
	set   func(j *Job, v string, lookup func(string) (string, bool)) error
}

// ErrUnknown says that there is no setting of that name.
var ErrUnknown = errors.New("unknown setting")

// Settings lists all of them, in the order of the help.
func Settings() []Setting {
	return []Setting{
		{"name", "NAME", "what to call the job", false, func(j *Job, v string, _ look) error { return text(&j.Name, v) }},
		{"pool", "NAME", "where to run it", false, func(j *Job, v string, _ look) error { return text(&j.Pool, v) }},
		{"driver", "NAME", "what runs it: process, container, vm (default: process, with an image container)", false, func(j *Job, v string, _ look) error { return text(&j.Driver, v) }},
		{"image", "IMAGE", "what a container is made from: a registry's REPOSITORY:TAG or REPOSITORY@DIGEST", false, func(j *Job, v string, _ look) error { return text(&j.Image, v) }},
		{"vm", "IMAGE", "run in a virtual machine of this image: --driver vm and --image in one", false, setVM},
		{"entrypoint", "PROGRAM", "run this in place of the image's own entrypoint and command; its first arguments each as one more", true, func(j *Job, v string, _ look) error { return j.setEntrypoint(v) }},
		{"workdir", "DIR", "where in the image it starts (default: where the image says, else in the job's folder)", false, func(j *Job, v string, _ look) error { return text(&j.WorkDir, v) }},
		{"chdir", "DIR", "work in DIR, a folder in what the pool's machines share (coinop pools): it starts there, and finds it under that name (default: in the job's folder, where its inputs and outputs are in any case: $HOME)", false, func(j *Job, v string, _ look) error { return text(&j.Chdir, v) }},
		{"read-only", "", "it may write to its folder, /tmp there, what --chdir names and /dev/shm only", false, func(j *Job, v string, _ look) error { return onOff(&j.ReadOnly, v) }},
		{"shm-size", "SIZE", "size of /dev/shm, which counts as memory (default 64MiB)", false, func(j *Job, v string, _ look) error { return positive(&j.ShmBytes, v, ParseSize) }},
		{"cpus", "N", "CPUs of each task, up to three decimals", false, func(j *Job, v string, _ look) error { return positive(&j.CPUMilli, v, ParseCPUs) }},
		{"memory", "SIZE", "memory of each task: 2GiB, or a number of MiB", false, func(j *Job, v string, _ look) error { return positive(&j.Memory, v, ParseSize) }},
		{"disk", "SIZE", "disk of each task", false, func(j *Job, v string, _ look) error { return positive(&j.Disk, v, ParseSize) }},
		{"gpus", "[KIND:]N", "GPUs of each task: 2, a100:2, a slice like 1g.10gb:1 or a100/1g.10gb:1, or share:1", false, func(j *Job, v string, _ look) error { return j.setGPUs(v) }},
		{"gpu-memory", "SIZE", "memory of each GPU, at least", false, func(j *Job, v string, _ look) error { return positive(&j.GPUMemory, v, ParseSize) }},
		{"nvlink", "", "GPUs that each reach each of the others by NVLink", false, func(j *Job, v string, _ look) error { return onOff(&j.NVLink, v) }},
		{"time", "TIME", "time limit: 90, 3600s, 10m, 1h30m, 1-12:00:00", false, func(j *Job, v string, _ look) error { return positive(&j.Time, v, ParseDuration) }},
		{"env", "NAME[=VALUE]", "a variable; without a value, the one it has here", true, setEnv},
		{"input", "FROM[:TO]", "a file for each task", true, func(j *Job, v string, _ look) error { return j.setInput(v) }},
		{"output", "PATTERN", "files to keep from each task", true, func(j *Job, v string, _ look) error { return j.setOutput(v) }},
		{"array", "FIRST-LAST[%N]", "many tasks, at most N of them at once", false, func(j *Job, v string, _ look) error { return j.setArray(v) }},
		{"label", "NAME=VALUE", "a label", true, func(j *Job, v string, _ look) error { return j.setLabel(v) }},
		{"pay", "N", "whole units of money for all tasks", false, func(j *Job, v string, _ look) error { return positive(&j.Pay, v, ParseUnits) }},
		{"pot", "@FILE", "pay from the pot whose secret is in FILE", false, func(j *Job, v string, _ look) error { return j.setPot(v) }},
		{"bid", "N", "the most to pay per billing unit and second, up to six decimals", false, func(j *Job, v string, _ look) error { return positive(&j.Bid, v, ParseBid) }},
		{"mode", "safe|stream", "hold all money at once, or some minutes of it at a time", false, func(j *Job, v string, _ look) error { return j.setMode(v) }},
		{"max-total", "N", "whole units that the job may ever cost, whoever pays", false, func(j *Job, v string, _ look) error { return positive(&j.MaxTotal, v, ParseUnits) }},
	}
}

type look = func(string) (string, bool)

func names() []string {
	var out []string
	for _, s := range Settings() {
		out = append(out, s.Name)
	}
	return out
}

// Set says one thing of the job. Lookup gives the value of a variable that is passed on by name.
func (j *Job) Set(name, value string, lookup func(string) (string, bool)) error {
	all := Settings()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return fmt.Errorf("%w %q", ErrUnknown, name)
	}
	if err := all[i].set(j, value, lookup); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// EnvPrefix begins the names of the variables that say something of every job.
const EnvPrefix = "COINOP_SUBMIT_"

// FromEnv reads the COINOP_SUBMIT_ variables of an environment (NAME=value): between flags and file.
// A setting that may be given many times takes one value a line.
func FromEnv(environ []string, lookup func(string) (string, bool)) (Job, error) {
	var j Job
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, e := range environ {
		variable, value, _ := strings.Cut(e, "=")
		rest, ok := strings.CutPrefix(variable, EnvPrefix)
		if !ok || value == "" { // an empty one is how scripts unset it
			continue
		}
		name := strings.ReplaceAll(strings.ToLower(rest), "_", "-")
		values := []string{value}
		if i := slices.IndexFunc(Settings(), func(s Setting) bool { return s.Name == name }); i >= 0 && Settings()[i].Many {
			values = strings.Split(value, "\n")
		}
		for _, v := range values {
			err := j.Set(name, v, lookup)
			if errors.Is(err, ErrUnknown) {
				return Job{}, fmt.Errorf("variable %s: %w; %s", variable, err, didYouMean("", name, names()))
			}
			if err != nil {
				return Job{}, fmt.Errorf("variable %s: %w", variable, err)
			}
		}
	}
	return j, nil
}

func text(to *string, v string) error {
	if v == "" {
		return errors.New("is empty")
	}
	*to = v
	return nil
}

func positive[T ~int64](to *T, v string, parse func(string) (T, error)) error {
	n, err := parse(v)
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("must be more than zero")
	}
	*to = n
	return nil
}

func onOff(to *bool, v string) (err error) {
	if *to, err = strconv.ParseBool(v); err != nil {
		return bad(v, "true or false")
	}
	return nil
}

// setGPUs takes a number, or a kind and a number, as Slurm has it.
func (j *Job) setGPUs(v string) error {
	kind, count := "", v
	if i := strings.LastIndexByte(v, ':'); i >= 0 {
		kind, count = v[:i], v[i+1:]
	}
	g, err := scheduler.ParseGPU(kind)
	if err != nil {
		return err
	}
	n, ok := digits(count)
	if !ok || n > scheduler.GPUsMax || kind == "" && count != v {
		return bad(v, fmt.Sprintf("a number, at most %d, or KIND:N like a100:2, 1g.10gb:1 or share:1", scheduler.GPUsMax))
	}
	if n == 0 {
		return errors.New("must be more than zero")
	}
	j.GPUs, j.GPUKind = n, g.Name()
	return nil
}

func setEnv(j *Job, v string, lookup look) error {
	name, value, given := strings.Cut(v, "=")
	if name == "" {
		return fmt.Errorf("%q is not NAME or NAME=VALUE", v)
	}
	if !given {
		found := false
		if lookup != nil {
			value, found = lookup(name)
		}
		if !found {
			return fmt.Errorf("%s has no value here: write %s=VALUE", name, name)
		}
	}
	if j.Env == nil {
		j.Env = map[string]string{}
	}
	j.Env[name] = value
	return nil
}

func (j *Job) setLabel(v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", v)
	}
	if j.Labels == nil {
		j.Labels = map[string]string{}
	}
	j.Labels[name] = value
	return nil
}

// setInput takes FROM or FROM:TO; what comes from elsewhere in the file system needs a TO of its own.
func (j *Job) setInput(v string) error {
	from, to, given := strings.Cut(v, ":")
	return j.addInput(from, to, given)
}

func (j *Job) addInput(from, to string, given bool) error {
	if from == "" {
		return errors.New("no file is named")
	}
	if !given {
		to = path.Clean(from)
		if path.IsAbs(to) || to == ".." || strings.HasPrefix(to, "../") {
			to = path.Base(to)
		}
	}
	if to == "" {
		return fmt.Errorf("%q: where to is missing", from)
	}
	j.Inputs = append(j.Inputs, Input{from, to})
	return nil
}

func (j *Job) setEntrypoint(v string) error {
	if v == "" && len(j.Entrypoint) == 0 {
		return errors.New("names no program; to run without the image's own, name yours: --entrypoint sh -- -c '...'")
	}
	j.Entrypoint = append(j.Entrypoint, v)
	return nil
}

func (j *Job) setOutput(v string) error {
	if v == "" {
		return errors.New("no pattern is given")
	}
	if _, err := path.Match(v, ""); err != nil {
		return fmt.Errorf("%q: %w", v, err)
	}
	j.Outputs = append(j.Outputs, v)
	return nil
}

func (j *Job) setArray(v string) error {
	a, err := ParseArray(v)
	if err != nil {
		return err
	}
	j.Array = &a
	return nil
}

// setPot wants the name of a file: a secret has no place in a file of settings or on a command line.
func (j *Job) setPot(v string) error {
	if v != "-" && (len(v) < 2 || v[0] != '@') {
		return errors.New("name a file that holds the pot's secret: @FILE")
	}
	j.Pot = v
	return nil
}

func (j *Job) setMode(v string) error {
	switch v {
	case "safe":
		j.Mode = funding.Safe
	case "stream":
		j.Mode = funding.Stream
	default:
		return fmt.Errorf("%q is neither safe nor stream", v)
	}
	return nil
}

func setVM(j *Job, v string, _ look) error {
	j.Driver = "vm"
	return text(&j.Image, v)
}
