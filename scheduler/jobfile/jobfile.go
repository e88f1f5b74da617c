// Package jobfile reads job files.
package jobfile

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// FileMax bounds a job file, script or HCL. Larger scripts travel as inputs.
const FileMax = scheduler.ScriptMax

// Job is what a user said of a job, in a file, in the environment or with flags. Zero means not said.
type Job struct {
	Name     string
	Pool     string
	Driver   string
	Image    string
	CPUMilli int64
	Memory   int64 // bytes
	Disk     int64 // bytes
	GPUs     int64
	Time     funding.Millis
	Env      map[string]string
	Inputs   []Input
	Outputs  []string // patterns
	Array    *Array
	Labels   map[string]string
	Pay      funding.Amount // whole units
	Pot      string         // "@FILE", where the pot's secret is
	Bid      funding.Rate
	Mode     funding.Mode
	MaxTotal funding.Amount // whole units
	Command  []string       // with a script: its arguments
	Script   []byte
	Hold     bool // it runs nothing, and keeps its place: said by what makes the job, not by settings

	Entrypoint []string // these four are of what is made from an image
	WorkDir    string
	ReadOnly   bool
	ShmBytes   int64

	Chdir string // where it starts, in what its pool shares

	GPUKind   string // as scheduler.GPURequest.Name writes it
	GPUMemory int64  // bytes of each
	NVLink    bool
}

// Input is a file or folder here that the task finds there.
type Input struct {
	From string
	To   string
}

// Array is a range of tasks, of which AtOnce may run at once (zero: all).
type Array struct {
	First  int32
	Last   int32
	AtOnce int32
}

// Parse reads a job file: a script if it begins with "#!", else HCL. The name is for error messages;
// lookup gives the values of variables that the file passes on by name. Errors are [Problems], which
// quote the line.
func Parse(name string, src []byte, lookup func(string) (string, bool)) (Job, error) {
	if len(src) > FileMax {
		return Job{}, &scheduler.LimitError{What: "job file " + name, Max: FileMax, Got: int64(len(src)), Unit: "bytes"}
	}
	if bytes.HasPrefix(src, []byte("#!")) {
		return parseScript(name, src, lookup)
	}
	return parseHCL(name, src, lookup)
}

// Over is what j says, and where it says nothing what under says. Variables and labels are merged by
// name, inputs by where they go, outputs are added.
func (j Job) Over(under Job) Job {
	j.Name = or(j.Name, under.Name)
	j.Pool = or(j.Pool, under.Pool)
	j.Driver = or(j.Driver, under.Driver)
	j.Image = or(j.Image, under.Image)
	if j.Entrypoint == nil {
		j.Entrypoint = under.Entrypoint
	}
	j.WorkDir = or(j.WorkDir, under.WorkDir)
	j.ReadOnly = or(j.ReadOnly, under.ReadOnly)
	j.ShmBytes = or(j.ShmBytes, under.ShmBytes)
	j.Chdir = or(j.Chdir, under.Chdir)
	j.CPUMilli = or(j.CPUMilli, under.CPUMilli)
	j.Memory = or(j.Memory, under.Memory)
	j.Disk = or(j.Disk, under.Disk)
	if j.GPUs == 0 {
		j.GPUs, j.GPUKind = under.GPUs, under.GPUKind
	}
	j.GPUMemory = or(j.GPUMemory, under.GPUMemory)
	j.NVLink = or(j.NVLink, under.NVLink)
	j.Time = or(j.Time, under.Time)
	j.Array = or(j.Array, under.Array)
	j.Pay = or(j.Pay, under.Pay)
	j.Pot = or(j.Pot, under.Pot)
	j.Bid = or(j.Bid, under.Bid)
	j.Mode = or(j.Mode, under.Mode)
	j.MaxTotal = or(j.MaxTotal, under.MaxTotal)
	j.Env = overMap(j.Env, under.Env)
	j.Labels = overMap(j.Labels, under.Labels)
	j.Inputs = overInputs(j.Inputs, under.Inputs)
	j.Outputs = overOutputs(j.Outputs, under.Outputs)
	if j.Command == nil {
		j.Command = under.Command
	}
	if j.Script == nil {
		j.Script = under.Script
	}
	return j
}

func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func overMap(a, b map[string]string) map[string]string {
	if len(a) == 0 {
		return b
	}
	out := maps.Clone(a)
	for k, v := range b {
		if _, said := out[k]; !said {
			out[k] = v
		}
	}
	return out
}

func overInputs(a, b []Input) []Input {
	out := slices.Clone(a)
	for _, in := range b {
		if !slices.ContainsFunc(a, func(o Input) bool { return o.To == in.To }) {
			out = append(out, in)
		}
	}
	return out
}

func overOutputs(a, b []string) []string {
	out := slices.Clone(a)
	for _, o := range b {
		if !slices.Contains(a, o) {
			out = append(out, o)
		}
	}
	return out
}

// Argv is what the task runs: the command as given, or the script with its arguments.
func (j Job) Argv() []string {
	if j.Script != nil {
		return append([]string{"./script"}, j.Command...)
	}
	return slices.Clone(j.Command)
}

// Environ is the variables as NAME=value, sorted.
func (j Job) Environ() []string {
	var out []string
	for name, value := range j.Env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// Check refuses what every server would refuse, before a coin is touched.
func (j Job) Check() error {
	need := scheduler.Resources{CPUMilli: j.CPUMilli, Memory: j.Memory, Disk: j.Disk, GPUs: j.GPUs}
	gpu, err := scheduler.ParseGPU(j.GPUKind)
	if err != nil {
		return err
	}
	if gpu.Memory, gpu.NVLink = j.GPUMemory, j.NVLink; gpu.Kind != scheduler.GPUWhole && need.GPUs == 1 {
		need.GPUs = 0
	}
	if err := errors.Join(need.Validate(), gpu.Validate(need)); err != nil {
		return err
	}
	if j.Array != nil {
		tasks := scheduler.TaskRange{First: j.Array.First, Last: j.Array.Last}
		if err := scheduler.ValidateTasks(tasks, j.Array.AtOnce, 0); err != nil {
			return err
		}
	}
	w := scheduler.Work{Name: j.Name, Argv: j.Argv(), Env: j.Environ(), Outputs: j.Outputs, Labels: j.Labels, Script: j.Script, Image: j.Image, Box: scheduler.NewBox(j.Entrypoint, j.WorkDir, j.ReadOnly, j.ShmBytes), Chdir: j.Chdir}
	for _, in := range j.Inputs {
		w.Inputs = append(w.Inputs, scheduler.Input{To: in.To})
	}
	return w.Validate()
}
