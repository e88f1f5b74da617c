package jobfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func here(name string) (string, bool) {
	if name == "HERE" {
		return "value here", true
	}
	return "", false
}

const render = `job "render" {
  pool    = "default"
  cpus    = 2
  memory  = "2GiB"
  time    = "10m"
  array   = "0-99%10"
  pay     = 300000          # 100 tasks × 2.5 units × 600 s × a bid of 2
  mode    = "safe"
  command = ["sh", "-c", "./render.sh $COINOP_TASK"]
  env     = { QUALITY = "high" }
  input {
    from = "render.sh"      # to defaults to from
  }
  output {
    path = "out/*.png"
  }
}
`

func rendered() jobfile.Job {
	return jobfile.Job{
		Name: "render", Pool: "default", CPUMilli: 2000, Memory: 2 << 30, Time: 600_000,
		Array: &jobfile.Array{First: 0, Last: 99, AtOnce: 10}, Pay: 300_000 * funding.UnitMicro, Mode: funding.Safe,
		Command: []string{"sh", "-c", "./render.sh $COINOP_TASK"}, Env: map[string]string{"QUALITY": "high"},
		Inputs: []jobfile.Input{{From: "render.sh", To: "render.sh"}}, Outputs: []string{"out/*.png"},
	}
}

func TestAJobFileInHCL(t *testing.T) {
	j, err := jobfile.Parse("render.hcl", []byte(render), here)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rendered(), j); d != "" {
		t.Fatal(d)
	}
	if err := j.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestAScriptSaysTheSame(t *testing.T) {
	script := `#!/bin/sh
# renders a film
#COINOP --name render --pool=default
#COINOP --cpus 2 --memory 2GiB	--time 10m
#COINOP --array 0-99%10 --pay 300000 --mode safe

#COINOP --env "QUALITY=high" --input render.sh
#COINOP --output 'out/*.png'
./render.sh $COINOP_TASK
#COINOP --bid nonsense, but below the first command
`
	j, err := jobfile.Parse("render.sh", []byte(script), here)
	if err != nil {
		t.Fatal(err)
	}
	want := rendered()
	want.Command, want.Script = nil, []byte(script)
	if d := cmp.Diff(want, j); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff([]string{"./script"}, j.Argv()); d != "" {
		t.Fatal(d)
	}
}

func TestEverySettingInHCL(t *testing.T) {
	j, err := jobfile.Parse("all.hcl", []byte(`job "all" {
  cpus = 0.5
  memory = 512
  disk = "1.5GiB"
  driver = "container"
  image = "localhost:5000/tools:1"
  gpus = 1
  time = 90
  bid = 0.1
  mode = "stream"
  pot = "@pot.key"
  max_total = 12
  labels = { team = "film", "year" = 2026 }
  script = <<-END
    #!/bin/sh
    true
  END
  input {
    from = "/data/scene.bin"
  }
  input {
    from = "a/../b.txt"
    to   = "in/b.txt"
  }
}`), here)
	if err != nil {
		t.Fatal(err)
	}
	want := jobfile.Job{
		Name: "all", Driver: "container", Image: "localhost:5000/tools:1", CPUMilli: 500, Memory: 512 << 20, Disk: 3 << 29, GPUs: 1, Time: 90_000, Bid: 100_000, Mode: funding.Stream,
		Pot: "@pot.key", MaxTotal: 12 * funding.UnitMicro, Labels: map[string]string{"team": "film", "year": "2026"},
		Script: []byte("#!/bin/sh\ntrue\n"),
		Inputs: []jobfile.Input{{From: "/data/scene.bin", To: "scene.bin"}, {From: "a/../b.txt", To: "in/b.txt"}},
	}
	if d := cmp.Diff(want, j); d != "" {
		t.Fatal(d)
	}
}

// TestMistakesAreQuoted: each line is file, then what the message must hold.
func TestMistakesAreQuoted(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"a typo in HCL":          {"job \"a\" {\n  memroy = \"2GiB\"\n}", []string{"f:2:", `2 |   memroy = "2GiB"`, `Did you mean "memory"?`}},
		"a typo in a block":      {"job \"a\" {\n  inptu {\n  }\n}", []string{"f:2:", "inptu {", `Did you mean "input"?`}},
		"a typo in an input":     {"job \"a\" {\n  input {\n    fro = \"x\"\n  }\n}", []string{"f:3:", `Did you mean "from"?`}},
		"a bad size":             {"job \"a\" {\n  memory = \"2Gib/s\"\n}", []string{"f:2:", "memory", "2Gib/s", "512MiB"}},
		"two mistakes":           {"job \"a\" {\n  cpus = \"x\"\n  pool = [1]\n}", []string{"f:2:", "f:3:"}},
		"zero pay":               {"job \"a\" {\n  pay = 0\n}", []string{"pay", "more than zero"}},
		"negative pay":           {"job \"a\" {\n  pay = -5\n}", []string{"pay", "-5", "whole number"}},
		"too much pay":           {"job \"a\" {\n  pay = 9000000001\n}", []string{"at most 9000000000"}},
		"a huge number":          {"job \"a\" {\n  pay = 1e999999\n}", []string{"too large"}},
		"half a coin":            {"job \"a\" {\n  pay = 1.5\n}", []string{"1.5", "whole number"}},
		"a shell variable":       {"job \"a\" {\n  command = [\"echo\", \"${HOME}\"]\n}", []string{"f:2:", "$${NAME}"}},
		"a command in one text":  {"job \"a\" {\n  command = \"echo hi\"\n}", []string{"f:2:", "command is a list", `"sh", "-c"`}},
		"no command in the list": {"job \"a\" {\n  command = []\n}", []string{"command is empty"}},
		"env as a list":          {"job \"a\" {\n  env = [\"A=1\"]\n}", []string{"env is a map"}},
		"a null":                 {"job \"a\" {\n  pool = null\n}", []string{"text or a number"}},
		"no label":               {"job {\n}", []string{"f:1:", "name"}},
		"an empty name":          {"job \"\" {\n}", []string{"f:1:", "name: is empty"}},
		"no job":                 {"# nothing\n", []string{"no job in it"}},
		"two jobs":               {"job \"a\" {}\njob \"b\" {}\n", []string{"f:2:", "one job"}},
		"not HCL":                {"job \"a\" {\n  cpus = \n}", []string{"f:2:"}},
		"a secret in the file":   {"job \"a\" {\n  pot = \"00ff\"\n}", []string{"pot", "@FILE"}},

		"a typo in a script":        {"#!/bin/sh\n#COINOP --memroy 2GiB\n", []string{"f:2:", "2 | #COINOP --memroy 2GiB", "unknown flag --memroy", "Did you mean --memory?"}},
		"nothing like it":           {"#!/bin/sh\n#COINOP --frobnicate 2\n", []string{"Known are: --name, --pool"}},
		"a misspelt directive":      {"#!/bin/sh\n#COINPO --memory 2GiB\n", []string{"f:2:", "#COINPO is not read", "Did you mean #COINOP?"}},
		"a word too many":           {"#!/bin/sh\n#COINOP memory 2GiB\n", []string{"f:2:", "unexpected memory"}},
		"an open quotation":         {"#!/bin/sh\n#COINOP --name \"a\n", []string{"f:2:", "quotation"}},
		"nothing said":              {"#!/bin/sh\n#COINOP\n", []string{"f:2:", "nothing is said"}},
		"a flag without its value":  {"#!/bin/sh\n#COINOP --pool\n", []string{"f:2:", "pool: is empty"}},
		"an unknown variable":       {"#!/bin/sh\n#COINOP --env NOWHERE\n", []string{"NOWHERE has no value here"}},
		"a bid with seven decimals": {"#!/bin/sh\n#COINOP --bid 0.0000001\n", []string{"up to six decimals"}},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := jobfile.Parse("f", []byte(c.src), here)
			var ps jobfile.Problems
			if !errors.As(err, &ps) {
				t.Fatalf("read as %+v, error %v", j, err)
			}
			if d := cmp.Diff(jobfile.Job{}, j); d != "" {
				t.Error("a job all the same: ", d)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in:\n%v", w, err)
				}
			}
		})
	}
}

func TestAFileThatIsTooLong(t *testing.T) {
	long := "#!/bin/sh\n" + strings.Repeat("#", jobfile.FileMax)
	_, err := jobfile.Parse("long.sh", []byte(long), nil)
	var limit *scheduler.LimitError
	if !errors.As(err, &limit) || limit.Max != 65536 {
		t.Fatal(err)
	}
	if _, err := jobfile.Parse("long.sh", []byte(long[:jobfile.FileMax]), nil); err != nil {
		t.Fatal(err)
	}
}

func TestFlagsBeatTheEnvironmentBeatsTheFile(t *testing.T) {
	file, err := jobfile.Parse("f", []byte(render), here)
	if err != nil {
		t.Fatal(err)
	}
	env, err := jobfile.FromEnv([]string{
		"PATH=/bin", "COINOP_SUBMIT_CPUS=4", "COINOP_SUBMIT_POOL=big", "COINOP_SUBMIT_ENV=QUALITY=low\nHERE", "COINOP_SUBMIT_MAX_TOTAL=7",
	}, here)
	if err != nil {
		t.Fatal(err)
	}
	var flags jobfile.Job
	for _, f := range [][2]string{{"cpus", "8"}, {"array", "5"}, {"output", "log"}, {"input", "other.sh:render.sh"}} {
		if err := flags.Set(f[0], f[1], here); err != nil {
			t.Fatal(err)
		}
	}
	want := rendered()
	want.CPUMilli, want.Pool, want.MaxTotal = 8000, "big", 7*funding.UnitMicro
	want.Array = &jobfile.Array{First: 5, Last: 5}
	want.Env = map[string]string{"QUALITY": "low", "HERE": "value here"}
	want.Inputs = []jobfile.Input{{From: "other.sh", To: "render.sh"}}
	want.Outputs = []string{"log", "out/*.png"}
	if d := cmp.Diff(want, flags.Over(env).Over(file)); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff([]string{"HERE=value here", "QUALITY=low"}, env.Environ()); d != "" {
		t.Fatal(d)
	}
}

func TestTheEnvironmentsMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"COINOP_SUBMIT_MEMROY=1": "memory",
		"COINOP_SUBMIT_BID=-1":   "COINOP_SUBMIT_BID",
		"COINOP_SUBMIT_LABEL=x":  "NAME=VALUE",
	} {
		if _, err := jobfile.FromEnv([]string{in}, here); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestWhatNoServerWouldTakeIsRefusedHere(t *testing.T) {
	for name, j := range map[string]jobfile.Job{
		"nothing to run":    {},
		"twice to one file": {Command: []string{"true"}, Inputs: []jobfile.Input{{From: "a", To: "x"}, {From: "b", To: "x"}}},
		"outside":           {Command: []string{"true"}, Outputs: []string{"../x"}},
		"a long array":      {Command: []string{"true"}, Array: &jobfile.Array{Last: scheduler.TasksMax}},
		"too many CPUs":     {Command: []string{"true"}, CPUMilli: scheduler.CPUMilliMax + 1},
	} {
		if err := j.Check(); err == nil {
			t.Error(name, "is taken")
		}
	}
}

// FuzzParse: whatever the file, a job or a problem, never both, and never a crash.
func FuzzParse(f *testing.F) {
	f.Add([]byte(render))
	f.Add([]byte("#!/bin/sh\n#COINOP --cpus 2 --env HERE\n"))
	f.Add([]byte("job \"a\" {\n env = { a = [for x in [1]: x] }\n}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		j, err := jobfile.Parse("f", src, here)
		if err == nil {
			if j.Pay < 0 || j.Bid < 0 || j.Bid > funding.RateMax || j.Time < 0 || j.CPUMilli < 0 || j.Memory < 0 {
				t.Fatalf("out of range: %+v", j)
			}
			return
		}
		if err.Error() == "" || !cmp.Equal(j, jobfile.Job{}) {
			t.Fatalf("%+v with error %q", j, err)
		}
	})
}

func TestAnEmptyVariableSaysNothing(t *testing.T) {
	env, err := jobfile.FromEnv([]string{"COINOP_SUBMIT_CPUS=", "COINOP_SUBMIT_ARRAY=", "COINOP_SUBMIT_NAME=", "COINOP_SUBMIT_LABEL="}, here)
	if d := cmp.Diff(jobfile.Job{}, env); err != nil || d != "" {
		t.Fatalf("%v\n%s", err, d)
	}
}
