package scheduler

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coinop/coinop/funding"
)

// The limits on what users and operators may ask for, all in this one place. They bound what one
// entry costs every replica, in memory for as long as a job is kept.
const (
	ImageMax      = 512      // bytes of an image's name
	ScriptMax     = 64 << 10 // bytes of a script; longer ones travel as inputs
	NameMax       = 64       // bytes of a job's, pool's or node's name
	ArgvMax       = 1024     // arguments of a command, itself included
	ArgvBytesMax  = 32 << 10
	EnvMax        = 256 // variables
	EnvBytesMax   = 32 << 10
	LabelsMax     = 32
	LabelBytesMax = 128 // a label's name, and its value
	InputsMax     = 1000
	OutputsMax    = 100
	PathMax       = 512 // bytes of a path or pattern
	TasksMax      = 100_000
	TaskNumberMax = 1 << 30 // an array may begin anywhere below
	DriversMax    = 16
	ItemsMax      = 1024      // of any list or map in an encoded work
	SpecMax       = 256 << 10 // bytes of an encoded work

	InputBytesMax = int64(1) << 40 // one input
	CPUMilliMax   = int64(100_000_000)
	BytesMax      = int64(1) << 50 // memory or disk of one task
	GPUsMax       = int64(1024)
	WeightSetMax  = int64(1_000_000_000) // a pool's weight, thousandths of a billing unit

	TimeMin = funding.Millis(1000) // a run is billed for a second at least
)

// LimitError says which limit a request passes, and by what.
type LimitError struct {
	What string // as the user knows it
	Max  int64
	Got  int64 // negative: too large to be counted
	Unit string
}

// Error names the limit.
func (e *LimitError) Error() string {
	if e.Got < 0 {
		return fmt.Sprintf("%s: the limit is %d %s", e.What, e.Max, e.Unit)
	}
	return fmt.Sprintf("%s: %d %s, the limit is %d", e.What, e.Got, e.Unit, e.Max)
}

// FieldError says which part of a request is not as it must be.
type FieldError struct {
	What string // as the user knows it
	Why  string
}

// Error names the part.
func (e *FieldError) Error() string { return e.What + ": " + e.Why }

func atMost(what string, got, limit int, unit string) error {
	if got > limit {
		return &LimitError{What: what, Max: int64(limit), Got: int64(got), Unit: unit}
	}
	return nil
}

// Validate checks the work against the limits and for what could not be run.
func (w Work) Validate() error {
	for _, err := range []error{
		w.validateText(), w.validateImage(), w.validateBox(), w.validateChdir(), w.validateArgv(), w.validateEnv(), w.validateInputs(), w.validateOutputs(), w.validateLabels(),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w Work) validateText() error {
	if w.Name != "" {
		if err := ValidateName("name", w.Name); err != nil {
			return err
		}
	}
	return atMost("script", len(w.Script), ScriptMax, "bytes")
}

// validateImage refuses what cannot be the name of an image. The rest of its grammar is a registry's matter, and told in
// the reason of the task that could not start.
func (w Work) validateImage() error {
	if strings.HasSuffix(w.Image, ".sif") {
		return &FieldError{"image", "a .sif file is Singularity's; name an image in a registry, which `singularity build` took it from or `apptainer push` puts it into"}
	}
	if i := strings.IndexFunc(w.Image, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return &FieldError{"image", fmt.Sprintf("%q is no name of an image", w.Image)}
	}
	return atMost("image", len(w.Image), ImageMax, "bytes")
}

// NewBox is nil where nothing is said.
func NewBox(entrypoint []string, workDir string, readOnly bool, shmBytes int64) *Box {
	if len(entrypoint) == 0 && workDir == "" && !readOnly && shmBytes == 0 {
		return nil
	}
	return &Box{Entrypoint: entrypoint, WorkDir: workDir, ReadOnly: readOnly, ShmBytes: shmBytes}
}

// validateBox refuses what no image's container could be.
func (w Work) validateBox() error {
	b := w.Box
	if b == nil {
		return nil
	}
	said := ""
	for _, field := range []struct {
		name string
		said bool
	}{{"entrypoint", b.Entrypoint != nil}, {"workdir", b.WorkDir != ""}, {"read-only", b.ReadOnly}, {"shm-size", b.ShmBytes != 0}} {
		if field.said {
			said = field.name
			break
		}
	}
	switch {
	case said == "":
		return &FieldError{"image", "nothing is said beside it, and that is said"}
	case w.Image == "":
		return &FieldError{said, "is of what is made from an image, and this job names none"}
	case w.Hold && b.Entrypoint != nil:
		return &FieldError{"entrypoint", "is of a job that runs something, and this one only keeps its place"}
	case b.Entrypoint != nil && (len(b.Entrypoint) == 0 || b.Entrypoint[0] == ""):
		return &FieldError{"entrypoint", "names no program"}
	case slices.ContainsFunc(b.Entrypoint, func(s string) bool { return strings.ContainsRune(s, 0) }):
		return &FieldError{"entrypoint", "holds a NUL byte"}
	case strings.ContainsRune(b.WorkDir, 0):
		return &FieldError{"workdir", "holds a NUL byte"}
	case b.WorkDir != "" && !path.IsAbs(b.WorkDir):
		return &FieldError{"workdir", fmt.Sprintf("%q is no absolute path", b.WorkDir)}
	case b.ShmBytes < 0 || b.ShmBytes > BytesMax:
		return &LimitError{What: "shm-size", Max: BytesMax, Got: max(-1, b.ShmBytes), Unit: "bytes"}
	}
	size := 0
	for _, word := range b.Entrypoint {
		size += len(word)
	}
	return errors.Join(atMost("entrypoint", len(b.Entrypoint), ArgvMax, "arguments"), atMost("entrypoint", size, ArgvBytesMax, "bytes"),
		atMost("workdir", len(b.WorkDir), PathMax, "bytes"))
}

func (w Work) validateArgv() error {
	if w.Hold {
		if len(w.Argv) > 0 || len(w.Script) > 0 {
			return &FieldError{"hold", "is of a job that runs nothing, and this one has a command"}
		}
		return nil
	}
	if len(w.Argv) == 0 && len(w.Script) == 0 && w.Image == "" { // an image may have a command of its own
		return &FieldError{"command", "is missing, and there is no script"}
	}
	if len(w.Argv) > 0 && w.Argv[0] == "" {
		return &FieldError{"command", "its first word is empty"}
	}
	if err := atMost("command", len(w.Argv), ArgvMax, "arguments"); err != nil {
		return err
	}
	size := 0
	for _, a := range w.Argv {
		if strings.ContainsRune(a, 0) {
			return &FieldError{"command", "holds a NUL byte"}
		}
		size += len(a)
	}
	return atMost("command", size, ArgvBytesMax, "bytes")
}

func (w Work) validateEnv() error {
	if err := atMost("env", len(w.Env), EnvMax, "variables"); err != nil {
		return err
	}
	size, last := 0, ""
	for i, e := range w.Env {
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "":
			return &FieldError{"env", fmt.Sprintf("%q is not NAME=value", e)}
		case strings.ContainsRune(e, 0):
			return &FieldError{"env", fmt.Sprintf("%q holds a NUL byte", name)}
		case strings.HasPrefix(name, "COINOP_"):
			return &FieldError{"env", fmt.Sprintf("%q: names that begin with COINOP_ are set by the cluster", name)}
		case i > 0 && name == last:
			return &FieldError{"env", fmt.Sprintf("%q is given twice", name)}
		case i > 0 && e < w.Env[i-1]:
			return &FieldError{"env", "is not sorted"}
		}
		size, last = size+len(e), name
	}
	return atMost("env", size, EnvBytesMax, "bytes")
}

func (w Work) validateInputs() error {
	if err := atMost("input", len(w.Inputs), InputsMax, "files"); err != nil {
		return err
	}
	seen := make([]string, 0, len(w.Inputs))
	for _, in := range w.Inputs {
		if err := ValidatePath("input", in.To); err != nil {
			return err
		}
		if in.Size < 0 {
			return &FieldError{"input " + in.To, "its size is negative"}
		}
		if in.Size > InputBytesMax {
			return &LimitError{What: "input " + in.To, Max: InputBytesMax, Got: in.Size, Unit: "bytes"}
		}
		if in.Mode&^0o777 != 0 {
			return &FieldError{"input " + in.To, fmt.Sprintf("mode %o is more than permissions", in.Mode)}
		}
		seen = append(seen, in.To)
	}
	slices.Sort(seen)
	for i := 1; i < len(seen); i++ {
		if seen[i] == seen[i-1] {
			return &FieldError{"input " + seen[i], "is given twice"}
		}
	}
	return nil
}

func (w Work) validateOutputs() error {
	if err := atMost("output", len(w.Outputs), OutputsMax, "patterns"); err != nil {
		return err
	}
	for _, o := range w.Outputs {
		if err := ValidatePath("output", o); err != nil {
			return err
		}
	}
	return nil
}

func (w Work) validateLabels() error {
	if err := atMost("label", len(w.Labels), LabelsMax, "labels"); err != nil {
		return err
	}
	names := make([]string, 0, len(w.Labels))
	for name := range w.Labels {
		names = append(names, name)
	}
	slices.Sort(names) // which of two errors is told must not depend on a map
	for _, name := range names {
		if name == "" {
			return &FieldError{"label", "its name is empty"}
		}
		if err := atMost("label "+name, max(len(name), len(w.Labels[name])), LabelBytesMax, "bytes"); err != nil {
			return err
		}
		if !printable(name) || !printable(w.Labels[name]) {
			return &FieldError{"label " + name, "holds what cannot be printed"}
		}
	}
	return nil
}

// ValidateName checks a name that people read in tables: printable, without blanks at its ends.
func ValidateName(what, name string) error {
	switch {
	case name == "":
		return &FieldError{what, "is empty"}
	case !printable(name):
		return &FieldError{what, "holds what cannot be printed"}
	case strings.TrimSpace(name) != name:
		return &FieldError{what, "begins or ends with a blank"}
	}
	return atMost(what, len(name), NameMax, "bytes")
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// ValidatePath checks a path or pattern that must stay inside the task's folder.
func ValidatePath(what, p string) error {
	switch {
	case p == "":
		return &FieldError{what, "the path is empty"}
	case strings.ContainsRune(p, 0) || !utf8.ValidString(p):
		return &FieldError{what, fmt.Sprintf("%q is not text", p)}
	case strings.HasPrefix(p, "/"):
		return &FieldError{what, fmt.Sprintf("%q must be relative to the task's folder", p)}
	case slices.Contains(strings.Split(p, "/"), ".."):
		return &FieldError{what, fmt.Sprintf("%q leaves the task's folder", p)}
	}
	return atMost(what, len(p), PathMax, "bytes")
}

// Validate checks a request for resources.
func (r Resources) Validate() error {
	for _, c := range []struct {
		what     string
		got, top int64
		unit     string
	}{
		{"cpus", r.CPUMilli, CPUMilliMax, "thousandths"},
		{"memory", r.Memory, BytesMax, "bytes"},
		{"disk", r.Disk, BytesMax, "bytes"},
		{"gpus", r.GPUs, GPUsMax, "devices"},
	} {
		if c.got < 0 {
			return &FieldError{c.what, "is negative"}
		}
		if c.got > c.top {
			return &LimitError{What: c.what, Max: c.top, Got: c.got, Unit: c.unit}
		}
	}
	return nil
}

// ValidateTasks checks an array: its range, its limit of running tasks, and the pool's own maximum
// where that is lower (zero: none).
func ValidateTasks(t TaskRange, atOnce, poolMax int32) error {
	top := int64(TasksMax)
	if poolMax > 0 {
		top = min(top, int64(poolMax))
	}
	switch {
	case t.First < 0:
		return &FieldError{"array", "begins below zero"}
	case t.Last < t.First:
		return &FieldError{"array", "ends before it begins"}
	case t.Last >= TaskNumberMax:
		return &LimitError{What: "array", Max: TaskNumberMax - 1, Got: int64(t.Last), Unit: "as its last task's number"}
	case atOnce < 0:
		return &FieldError{"array", "its % limit is negative"}
	}
	if n := int64(t.Last) - int64(t.First) + 1; n > top {
		return &LimitError{What: "array", Max: top, Got: n, Unit: "tasks"}
	}
	return nil
}

// Validate checks a pool's settings.
func (p Pool) Validate() error {
	if err := ValidateName("pool", p.Name); err != nil {
		return err
	}
	if p.Admission != Open && p.Admission != Trusted {
		return &FieldError{"admission", "is neither open nor trusted"}
	}
	for _, err := range []error{p.Weights.validate(), p.validateKinds(), p.validateMoney(), p.validateTimes(), p.validateDrivers(), p.validateShare()} {
		if err != nil {
			return err
		}
	}
	if p.ArrayMax < 0 || p.ArrayMax > TasksMax {
		return &LimitError{What: "array maximum", Max: TasksMax, Got: int64(p.ArrayMax), Unit: "tasks"}
	}
	if p.User != "" {
		return ValidateName("user", p.User)
	}
	return nil
}

func (w Weights) validate() error {
	sum := int64(0)
	for _, c := range []struct {
		what string
		got  int64
	}{{"weight of a CPU", w.CPU}, {"weight of memory", w.Memory}, {"weight of disk", w.Disk}, {"weight of a GPU", w.GPU}} {
		if c.got < 0 {
			return &FieldError{c.what, "is negative"}
		}
		if c.got > WeightSetMax {
			return &LimitError{What: c.what, Max: WeightSetMax, Got: c.got, Unit: "thousandths"}
		}
		sum += c.got
	}
	if sum == 0 {
		return &FieldError{"weights", "are all zero: nothing would cost anything"}
	}
	return nil
}

func (p Pool) validateMoney() error {
	for _, c := range []struct {
		what     string
		got, top int64
	}{
		{"floor", int64(p.Floor), int64(funding.RateMax)},
		{"default bid", int64(p.DefaultBid), int64(funding.RateMax)},
		{"price", int64(p.Price), int64(funding.RateMax)},
		{"submit fee", int64(p.SubmitFee), int64(funding.PotMax)},
	} {
		if c.got < 0 {
			return &FieldError{c.what, "is negative"}
		}
		if c.got > c.top {
			return &LimitError{What: c.what, Max: c.top, Got: c.got, Unit: "micro-units"}
		}
	}
	if p.DefaultBid < max(p.Floor, 1) {
		return &FieldError{"default bid", "is below the floor"}
	}
	return nil
}

func (p Pool) validateTimes() error {
	for _, c := range []struct {
		what     string
		got, low funding.Millis
	}{
		{"default time limit", p.TimeDefault, TimeMin},
		{"longest time limit", p.TimeMax, 0},
		{"kill delay", p.KillDelay, 0},
		{"pause grace", p.PauseGrace, 0},
		{"tranche", p.Tranche, TimeMin},
		{"tick", p.Tick, 0},
		{"low funds", p.LowFunds, 0},
	} {
		if c.got < c.low {
			return &FieldError{c.what, fmt.Sprintf("is less than %d ms", c.low)}
		}
		if c.got > funding.MillisMax {
			return &LimitError{What: c.what, Max: int64(funding.MillisMax), Got: int64(c.got), Unit: "ms"}
		}
	}
	if p.TimeMax > 0 && p.TimeMax < p.TimeDefault {
		return &FieldError{"longest time limit", "is less than the default"}
	}
	return nil
}

func (p Pool) validateDrivers() error {
	if len(p.Drivers) == 0 {
		return &FieldError{"drivers", "none is named"}
	}
	if err := atMost("drivers", len(p.Drivers), DriversMax, "names"); err != nil {
		return err
	}
	for i, d := range p.Drivers {
		if err := ValidateName("driver", d); err != nil {
			return err
		}
		if slices.Contains(p.Drivers[:i], d) {
			return &FieldError{"driver " + d, "is named twice"}
		}
	}
	return nil
}
