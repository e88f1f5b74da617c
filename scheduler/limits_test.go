package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
)

// edge is one limit: what is just inside it, and what is just outside, with what must be said then.
type edge struct {
	in, out error
	want    string
}

func checkEdges(t *testing.T, edges map[string]edge) {
	t.Helper()
	for name, e := range edges {
		if e.in != nil {
			t.Errorf("%s: refused at its edge: %v", name, e.in)
		}
		if e.out == nil || !strings.Contains(e.out.Error(), e.want) {
			t.Errorf("%s: past its edge: %v; want %q", name, e.out, e.want)
		}
	}
}

func repeat[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func work(change func(w *Work)) error {
	w := Work{Argv: []string{"true"}}
	change(&w)
	return w.Validate()
}

func env(n int) []string {
	return slices.Sorted(slices.Values(repeat(n, func(i int) string { return fmt.Sprintf("V%04d=", i) })))
}

func labels(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("l", i)] = "v"
	}
	return m
}

func inputs(n int) []Input {
	return repeat(n, func(i int) Input { return Input{To: fmt.Sprint("f", i)} })
}

func boxed(b *Box) func(*Work) { return func(w *Work) { w.Image, w.Box = "i", b } }

func TestEdgesOfWork(t *testing.T) {
	long := strings.Repeat
	checkEdges(t, map[string]edge{
		"script": {work(func(w *Work) { w.Script = make([]byte, ScriptMax) }), work(func(w *Work) { w.Script = make([]byte, ScriptMax+1) }), "script: 65537 bytes, the limit is 65536"},
		"name":   {work(func(w *Work) { w.Name = long("n", NameMax) }), work(func(w *Work) { w.Name = long("n", NameMax+1) }), "name: 65 bytes, the limit is 64"},
		"image":  {work(func(w *Work) { w.Image = long("i", ImageMax) }), work(func(w *Work) { w.Image = long("i", ImageMax+1) }), "image: 513 bytes, the limit is 512"},
		"arguments": {work(func(w *Work) { w.Argv = repeat(ArgvMax, func(int) string { return "a" }) }),
			work(func(w *Work) { w.Argv = repeat(ArgvMax+1, func(int) string { return "a" }) }), "the limit is 1024"},
		"argument bytes": {work(func(w *Work) { w.Argv = []string{long("a", ArgvBytesMax)} }), work(func(w *Work) { w.Argv = []string{"a", long("a", ArgvBytesMax)} }), "the limit is 32768"},
		"variables":      {work(func(w *Work) { w.Env = env(EnvMax) }), work(func(w *Work) { w.Env = env(EnvMax + 1) }), "the limit is 256"},
		"variable bytes": {work(func(w *Work) { w.Env = []string{"A=" + long("x", EnvBytesMax-2)} }), work(func(w *Work) { w.Env = []string{"A=" + long("x", EnvBytesMax-1)} }), "the limit is 32768"},
		"labels":         {work(func(w *Work) { w.Labels = labels(LabelsMax) }), work(func(w *Work) { w.Labels = labels(LabelsMax + 1) }), "the limit is 32"},
		"label name":     {work(func(w *Work) { w.Labels = map[string]string{long("l", 128): ""} }), work(func(w *Work) { w.Labels = map[string]string{long("l", 129): ""} }), "the limit is 128"},
		"label value":    {work(func(w *Work) { w.Labels = map[string]string{"l": long("v", 128)} }), work(func(w *Work) { w.Labels = map[string]string{"l": long("v", 129)} }), "the limit is 128"},
		"inputs":         {work(func(w *Work) { w.Inputs = inputs(InputsMax) }), work(func(w *Work) { w.Inputs = inputs(InputsMax + 1) }), "the limit is 1000"},
		"input bytes": {work(func(w *Work) { w.Inputs = []Input{{To: "a", Size: InputBytesMax}} }), work(func(w *Work) { w.Inputs = []Input{{To: "a", Size: InputBytesMax + 1}} }),
			"the limit is 1099511627776"},
		"input mode": {work(func(w *Work) { w.Inputs = []Input{{To: "a", Mode: 0o777}} }), work(func(w *Work) { w.Inputs = []Input{{To: "a", Mode: 0o4755}} }), "permissions"},
		"outputs": {work(func(w *Work) { w.Outputs = repeat(OutputsMax, func(int) string { return "o" }) }),
			work(func(w *Work) { w.Outputs = repeat(OutputsMax+1, func(int) string { return "o" }) }), "the limit is 100"},
		"entrypoint": {work(boxed(NewBox(repeat(ArgvMax, func(int) string { return "a" }), "", false, 0))),
			work(boxed(NewBox(repeat(ArgvMax+1, func(int) string { return "a" }), "", false, 0))), "entrypoint: 1025 arguments, the limit is 1024"},
		"entrypoint bytes": {work(boxed(NewBox([]string{long("a", ArgvBytesMax)}, "", false, 0))), work(boxed(NewBox([]string{"a", long("a", ArgvBytesMax)}, "", false, 0))), "entrypoint: 32769 bytes"},
		"start":            {work(boxed(NewBox(nil, "/"+long("a", PathMax-1), false, 0))), work(boxed(NewBox(nil, "/"+long("a", PathMax), false, 0))), "workdir: 513 bytes"},
		"shared memory":    {work(boxed(NewBox(nil, "", false, BytesMax))), work(boxed(NewBox(nil, "", false, BytesMax+1))), "shm-size: 1125899906842625 bytes"},
		"negative memory":  {work(boxed(NewBox(nil, "", false, 1))), work(boxed(NewBox(nil, "", false, -1))), "shm-size: the limit is"},
		"path":             {work(func(w *Work) { w.Outputs = []string{long("p", PathMax)} }), work(func(w *Work) { w.Outputs = []string{long("p", PathMax+1)} }), "the limit is 512"},
	})
}

func TestWorkThatCannotBeRun(t *testing.T) {
	for want, change := range map[string]func(w *Work){
		"command: is missing":                 func(w *Work) { w.Argv = nil },
		"first word is empty":                 func(w *Work) { w.Argv = []string{""} },
		"command: holds a NUL":                func(w *Work) { w.Argv = []string{"a\x00b"} },
		"is not NAME=value":                   func(w *Work) { w.Env = []string{"A"} },
		`"=1" is not NAME=value`:              func(w *Work) { w.Env = []string{"=1"} },
		`env: "A" holds a NUL`:                func(w *Work) { w.Env = []string{"A=\x00"} },
		"set by the cluster":                  func(w *Work) { w.Env = []string{"COINOP_JOB=1"} },
		`"A" is given twice`:                  func(w *Work) { w.Env = []string{"A=1", "A=2"} },
		"is not sorted":                       func(w *Work) { w.Env = []string{"B=1", "A=2"} },
		"hold: is of a job that runs nothing": func(w *Work) { w.Hold = true },
		"image: a .sif file":                  func(w *Work) { w.Image = "x.sif" },
		`image: "a b" is no name`:             func(w *Work) { w.Image = "a b" },
		"input: the path is empty":            func(w *Work) { w.Inputs = []Input{{}} },
		"must be relative":                    func(w *Work) { w.Inputs = []Input{{To: "/etc/passwd"}} },
		"leaves the task's folder":            func(w *Work) { w.Inputs = []Input{{To: "a/../../b"}} },
		"size is negative":                    func(w *Work) { w.Inputs = []Input{{To: "a", Size: -1}} },
		"input a: is given twice":             func(w *Work) { w.Inputs = []Input{{To: "a"}, {To: "b"}, {To: "a"}} },
		"output: \"\\xff\" is not text":       func(w *Work) { w.Outputs = []string{"\xff"} },
		`output: "a\x00b" is not text`:        func(w *Work) { w.Outputs = []string{"a\x00b"} },
		"label: its name is empty":            func(w *Work) { w.Labels = map[string]string{"": "x"} },
		"label l: holds what cannot":          func(w *Work) { w.Labels = map[string]string{"l": "\x1b[2J"} },
		"name: holds what cannot":             func(w *Work) { w.Name = "a\nb" },
		"name: begins or ends with a bl":      func(w *Work) { w.Name = " a" },
		"entrypoint: is of what is made":      func(w *Work) { w.Box = NewBox([]string{"sh"}, "", false, 0) },
		"workdir: is of what is made":         func(w *Work) { w.Box = NewBox(nil, "/x", true, 0) },
		"read-only: is of what is made":       func(w *Work) { w.Box = NewBox(nil, "", true, 1) },
		"shm-size: is of what is made":        func(w *Work) { w.Box = NewBox(nil, "", false, 1) },
		"entrypoint: names no program":        boxed(NewBox([]string{"", "x"}, "", false, 0)),
		"entrypoint: is of a job that runs":   func(w *Work) { w.Argv, w.Hold, w.Image, w.Box = nil, true, "i", NewBox([]string{"sh"}, "", false, 0) },
		"entrypoint: holds a NUL":             boxed(NewBox([]string{"a", "\x00"}, "", false, 0)),
		"workdir: holds a NUL":                boxed(NewBox(nil, "/\x00", false, 0)),
		`workdir: "x/y" is no absolute path`:  boxed(NewBox(nil, "x/y", false, 0)),
		"image: nothing is said beside it":    boxed(&Box{}),
	} {
		var field *FieldError
		if err := work(change); !errors.As(err, &field) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestEdgesOfARequest(t *testing.T) {
	r := func(cpu, memory, disk, gpus int64) error { return Resources{cpu, memory, disk, gpus}.Validate() }
	tasks := func(first, last, atOnce, poolMax int32) error {
		return ValidateTasks(TaskRange{first, last}, atOnce, poolMax)
	}
	checkEdges(t, map[string]edge{
		"cpus":              {r(CPUMilliMax, 0, 0, 0), r(CPUMilliMax+1, 0, 0, 0), "cpus: 100000001 thousandths, the limit is 100000000"},
		"memory":            {r(0, BytesMax, 0, 0), r(0, BytesMax+1, 0, 0), "memory: "},
		"disk":              {r(0, 0, BytesMax, 0), r(0, 0, BytesMax+1, 0), "disk: "},
		"gpus":              {r(0, 0, 0, GPUsMax), r(0, 0, 0, GPUsMax+1), "gpus: 1025 devices"},
		"less than nothing": {r(0, 0, 0, 0), r(0, -1, 0, 0), "memory: is negative"},
		"array":             {tasks(0, TasksMax-1, 0, 0), tasks(0, TasksMax, 0, 0), "array: 100001 tasks, the limit is 100000"},
		"array of a pool":   {tasks(5, 14, 3, 10), tasks(5, 15, 3, 10), "array: 11 tasks, the limit is 10"},
		"array's numbers":   {tasks(TaskNumberMax-1, TaskNumberMax-1, 0, 0), tasks(TaskNumberMax, TaskNumberMax, 0, 0), "the limit is 1073741823"},
		"array's beginning": {tasks(0, 0, 0, 0), tasks(-1, 0, 0, 0), "begins below zero"},
		"array's end":       {tasks(3, 3, 0, 0), tasks(3, 2, 0, 0), "ends before it begins"},
		"array's limit":     {tasks(0, 3, 0, 0), tasks(0, 3, -1, 0), "negative"},
		"the widest array":  {nil, tasks(0, math.MaxInt32, 0, 0), "the limit"},
	})
}

func TestEdgesOfAPool(t *testing.T) {
	pool := func(change func(p *Pool)) error {
		p := devPool()
		change(p)
		return p.Validate()
	}
	drivers := func(n int) []string { return repeat(n, func(i int) string { return fmt.Sprint("d", i) }) }
	checkEdges(t, map[string]edge{
		"name":         {pool(func(*Pool) {}), pool(func(p *Pool) { p.Name = "" }), "pool: is empty"},
		"admission":    {pool(func(p *Pool) { p.Admission = Open }), pool(func(p *Pool) { p.Admission = 0 }), "admission"},
		"weight":       {pool(func(p *Pool) { p.Weights.GPU = WeightSetMax }), pool(func(p *Pool) { p.Weights.GPU = WeightSetMax + 1 }), "weight of a GPU"},
		"less weight":  {pool(func(p *Pool) { p.Weights.Memory = 0 }), pool(func(p *Pool) { p.Weights.Memory = -1 }), "weight of memory: is negative"},
		"no weights":   {pool(func(p *Pool) { p.Weights = Weights{GPU: 1} }), pool(func(p *Pool) { p.Weights = Weights{} }), "nothing would cost"},
		"floor":        {pool(func(p *Pool) { p.Floor, p.DefaultBid = funding.RateMax, funding.RateMax }), pool(func(p *Pool) { p.Floor = funding.RateMax + 1 }), "floor: "},
		"default bid":  {pool(func(p *Pool) { p.DefaultBid = p.Floor }), pool(func(p *Pool) { p.DefaultBid = p.Floor - 1 }), "below the floor"},
		"a free pool":  {pool(func(p *Pool) { p.Floor, p.DefaultBid = 0, 1 }), pool(func(p *Pool) { p.Floor, p.DefaultBid = 0, 0 }), "below the floor"},
		"fee":          {pool(func(p *Pool) { p.SubmitFee = funding.PotMax }), pool(func(p *Pool) { p.SubmitFee = -1 }), "submit fee: is negative"},
		"time":         {pool(func(p *Pool) { p.TimeDefault = 1000 }), pool(func(p *Pool) { p.TimeDefault = 999 }), "default time limit: is less than 1000 ms"},
		"longest":      {pool(func(p *Pool) { p.TimeMax = p.TimeDefault }), pool(func(p *Pool) { p.TimeMax = p.TimeDefault - 1 }), "less than the default"},
		"no longest":   {pool(func(p *Pool) { p.TimeMax = 0 }), pool(func(p *Pool) { p.TimeMax = -1 }), "longest time limit"},
		"tick":         {pool(func(p *Pool) { p.Tick = funding.MillisMax }), pool(func(p *Pool) { p.Tick = funding.MillisMax + 1 }), "tick: "},
		"tranche":      {pool(func(p *Pool) { p.Tranche = 1000 }), pool(func(p *Pool) { p.Tranche = 0 }), "tranche"},
		"kill delay":   {pool(func(p *Pool) { p.KillDelay = 0 }), pool(func(p *Pool) { p.KillDelay = -1 }), "kill delay"},
		"array":        {pool(func(p *Pool) { p.ArrayMax = TasksMax }), pool(func(p *Pool) { p.ArrayMax = TasksMax + 1 }), "array maximum"},
		"drivers":      {pool(func(p *Pool) { p.Drivers = drivers(DriversMax) }), pool(func(p *Pool) { p.Drivers = drivers(DriversMax + 1) }), "the limit is 16"},
		"no driver":    {pool(func(*Pool) {}), pool(func(p *Pool) { p.Drivers = nil }), "none is named"},
		"driver twice": {pool(func(*Pool) {}), pool(func(p *Pool) { p.Drivers = []string{"a", "a"} }), "named twice"},
		"user":         {pool(func(p *Pool) { p.User = "coinop-task" }), pool(func(p *Pool) { p.User = strings.Repeat("u", NameMax+1) }), "user: "},
	})
}

// TestEdgeOfTheWhole: parts within their limits can be too much together, to the byte.
func TestEdgeOfTheWhole(t *testing.T) {
	w := Work{Argv: []string{"true"}, Inputs: repeat(400, func(i int) Input { return Input{To: fmt.Sprintf("%0500d", i)} })}
	spec, err := w.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.Script = make([]byte, SpecMax-len(spec)-10)
	for range 20 {
		if err := w.Validate(); err != nil {
			t.Fatal(err)
		}
		spec, err = w.Encode()
		var limit *LimitError
		if errors.As(err, &limit) {
			if limit.Got != SpecMax+1 {
				t.Fatal("refused only at ", limit.Got)
			}
			return
		}
		if back, err := DecodeWork(spec); err != nil || len(back.Script) != len(w.Script) {
			t.Fatal(err)
		}
		w.Script = append(w.Script, 0)
	}
	t.Fatal("never refused")
}
