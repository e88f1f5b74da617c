package api

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// What a job asks for that does not say.
const (
	defaultPool     = "default"
	processDriver   = "process"
	containerDriver = "container"
	vmDriver        = "vm"
	defaultCPUMilli = 1000
	defaultMemory   = 1 << 30
	defaultFileMode = 0o644
)

// spec is a job as the scheduler sees it.
type spec struct {
	pool     *scheduler.Pool
	need     scheduler.Resources
	gpu      scheduler.GPURequest
	driver   string
	share    string // what of the pool's it works in, "": nothing
	mode     funding.Mode
	weight   funding.Weight
	tasks    scheduler.TaskRange
	atOnce   int32
	maxTotal funding.Amount
	ask      scheduler.Ask
}

// readSpec turns a job's JSON into the scheduler's terms, against the state's pools.
func readSpec(v *machine.View, j client.JobSpec, pay funding.Amount) (spec, error) {
	var s spec
	name := j.Pool
	if name == "" {
		name = defaultPool
	}
	pool, ok := v.PoolByName(name)
	if !ok {
		return s, fail(string(machine.CodePoolUnknown), "there is no pool %.64q; there are: %s", name, poolNames(v))
	}
	s.pool = pool
	s.need = scheduler.Resources{CPUMilli: j.CPUMilli, Memory: j.MemoryBytes, Disk: j.DiskBytes}
	if s.need.CPUMilli == 0 {
		s.need.CPUMilli = defaultCPUMilli
	}
	if s.need.Memory == 0 {
		s.need.Memory = defaultMemory
	}
	var err error
	if s.gpu, err = readGPU(j, &s.need); err != nil {
		return s, err
	}
	if err := s.need.Validate(); err != nil {
		return s, err
	}
	s.driver = driverOf(j)
	if s.share, err = pool.ShareFor(s.driver, j.Chdir); err != nil {
		return s, err
	}
	if err := s.readMode(j); err != nil {
		return s, err
	}
	if err := s.readTasks(j.Array); err != nil {
		return s, err
	}
	if _, _, err := pool.Weigh(s.need, s.gpu); err != nil {
		return s, fail(string(machine.CodeGPUKind), "%v", err)
	}
	if s.weight, err = pool.WeightOf(s.need, s.gpu); err != nil {
		return s, err
	}
	s.ask = scheduler.Ask{
		Pay: pay, Bid: funding.Rate(j.BidMicro), Time: funding.Millis(j.TimeMs), Mode: s.mode,
		Tasks: s.tasks.Last - s.tasks.First + 1, AtOnce: s.atOnce,
	}
	return s, nil
}

// driverOf is the driver that a job names, or the one that its image needs.
func driverOf(j client.JobSpec) string {
	switch {
	case j.Driver != "":
		return j.Driver
	case j.Image != "":
		return containerDriver
	}
	return processDriver
}

func (s *spec) readMode(j client.JobSpec) error {
	switch j.Mode {
	case "", "safe":
		s.mode = funding.Safe
	case "stream":
		s.mode = funding.Stream
	default:
		return fail(string(machine.CodeInvalid), "mode: %.40q is neither safe nor stream", j.Mode)
	}
	if j.MaxTotalMicro < 0 {
		return fail(codeAmount, "max_total_micro: %d is negative", j.MaxTotalMicro)
	}
	s.maxTotal = funding.Amount(j.MaxTotalMicro)
	return nil
}

func (s *spec) readTasks(array *client.Array) error {
	if array == nil {
		return nil
	}
	s.tasks = scheduler.TaskRange{First: array.First, Last: array.Last}
	s.atOnce = array.AtOnce
	return scheduler.ValidateTasks(s.tasks, s.atOnce, s.pool.ArrayMax)
}

// fits refuses what no machine of the pool could ever run. A pool whose machines have yet to come takes everything, and
// so does one with a machine that has yet to tell what it has: it does so a moment after it has joined.
func fits(v *machine.View, s spec) error {
	if !slices.Contains(s.pool.Drivers, s.driver) {
		return nil // refused where the entry is applied
	}
	shape := s.shape()
	if scheduler.Fits(v.Scheduler(), shape) {
		return nil
	}
	var most scheduler.Resources // none of these need be of one machine
	some, driven, shared := false, false, false
	for _, n := range v.Nodes() {
		if n.Pool != s.pool.ID {
			continue
		}
		drives := n.Drives(s.pool, s.driver)
		if n.Has.Memory == 0 || len(n.Drivers) == 0 || drives && scheduler.Holds(s.pool, n, shape) {
			return nil // it has yet to tell what it has, or is drained or lost today
		}
		some, driven, shared = true, driven || drives, shared || drives && n.Offers(s.pool, shape)
		most.CPUMilli, most.Memory = max(most.CPUMilli, n.Has.CPUMilli), max(most.Memory, n.Has.Memory)
		most.Disk, most.GPUs = max(most.Disk, n.Has.Disk), max(most.GPUs, n.Has.GPUs)
	}
	if !some {
		return nil
	}
	if !driven {
		if s.pool.Admission == scheduler.Open {
			return fail(string(machine.CodeDriverRefused), "no node of the open pool %s has the driver %q, or it does not confine what it runs", s.pool.Name, s.driver)
		}
		return fail(string(machine.CodeDriverRefused), "no node of pool %s has the driver %q", s.pool.Name, s.driver)
	}
	if !shared {
		return fail(string(machine.CodeTooBig), "no machine of pool %s shares %s with what its driver %s runs; one takes part by: coinop executor --share %s", s.pool.Name, s.share, s.driver, s.share)
	}
	if without := s.without(); s.gpu.Asks(s.need) && scheduler.Fits(v.Scheduler(), without) {
		return fail(string(machine.CodeTooBig), "no node of pool %s has %s%s", s.pool.Name, s.gpu.Text(s.need), gpusShort(v, s))
	}
	return fail(string(machine.CodeTooBig), "no node of pool %s has %s", s.pool.Name, tooBig(s.need, most))
}

// shape is what the job asks for, as the scheduler sees it.
func (s spec) shape() *scheduler.Shape {
	return &scheduler.Shape{Pool: s.pool.ID, Need: s.need, Driver: s.driver, Nodes: 1, GPU: s.gpu, Share: s.share}
}

// without is the same without GPUs.
func (s spec) without() *scheduler.Shape {
	s.need.GPUs, s.gpu = 0, scheduler.GPURequest{}
	return s.shape()
}

// tooBig names what is short; where nothing is by itself, no node has all of it together.
func tooBig(need, most scheduler.Resources) string {
	var short, all []string
	for _, r := range []struct {
		need, most int64
		words      func(int64) string
	}{
		{need.CPUMilli, most.CPUMilli, func(n int64) string { return count(scheduler.Decimal(n*1000), "CPU") }},
		{need.Memory, most.Memory, func(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB of memory" }},
		{need.Disk, most.Disk, func(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB of disk" }},
		{need.GPUs, most.GPUs, func(n int64) string { return count(strconv.FormatInt(n, 10), "GPU") }},
	} {
		if r.need > r.most {
			short = append(short, fmt.Sprintf("%s; the most that one has is %s", r.words(r.need), r.words(r.most)))
		}
		if r.need > 0 {
			all = append(all, r.words(r.need))
		}
	}
	if len(short) == 0 {
		return strings.Join(all, " and ") + " together"
	}
	return strings.Join(short, ", nor ")
}

// count is a number of things.
func count(n, thing string) string {
	if n != "1" {
		thing += "s"
	}
	return n + " " + thing
}

func poolNames(v *machine.View) string {
	var names []string
	for _, p := range v.Pools() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// readWork turns the rest of a job's JSON into what its executor needs, encoded.
func readWork(j client.JobSpec) ([]byte, error) {
	w := scheduler.Work{
		Name: j.Name, Argv: j.Command, Outputs: j.Outputs, Labels: j.Labels, Script: j.Script, Image: j.Image, Hold: j.Hold, Chdir: j.Chdir,
		Box: scheduler.NewBox(j.Entrypoint, j.WorkDir, j.ReadOnly, j.ShmBytes),
	}
	switch driver := driverOf(j); {
	case driver == processDriver && j.Image != "":
		return nil, fail(string(machine.CodeInvalid), "image: the driver process runs what the machine has, without an image; leave out the driver, or name container")
	case (driver == containerDriver || driver == vmDriver) && j.Image == "":
		return nil, fail(string(machine.CodeInvalid), "driver: %s needs an image", driver)
	}
	for name, value := range j.Env {
		if strings.Contains(name, "=") {
			return nil, fail(string(machine.CodeInvalid), "env: the name %.64q holds a =", name)
		}
		w.Env = append(w.Env, name+"="+value)
	}
	sort.Strings(w.Env)
	for _, in := range j.Inputs {
		digest, err := parseHash("input "+in.To, in.SHA256)
		if err != nil {
			return nil, err
		}
		mode := in.Mode
		if mode == 0 {
			mode = defaultFileMode
		}
		w.Inputs = append(w.Inputs, scheduler.Input{To: in.To, Digest: digest, Size: in.Size, Mode: mode})
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return w.Encode()
}
