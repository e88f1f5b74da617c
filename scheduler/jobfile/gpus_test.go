package jobfile

import (
	"strings"
	"testing"
)

func TestGPUs(t *testing.T) {
	for v, want := range map[string]Job{
		"2": {GPUs: 2}, "a100:2": {GPUs: 2, GPUKind: "a100"}, "NVIDIA-A100-SXM4-80GB:1": {GPUs: 1, GPUKind: "a100-sxm4-80gb"},
		"1g.10gb:1": {GPUs: 1, GPUKind: "1g.10gb"}, "a100/1g.10gb:1": {GPUs: 1, GPUKind: "a100/1g.10gb"}, "share:1": {GPUs: 1, GPUKind: "share"},
	} {
		var j Job
		if err := j.Set("gpus", v, nil); err != nil || j.GPUs != want.GPUs || j.GPUKind != want.GPUKind {
			t.Errorf("%s: %d of %q, %v", v, j.GPUs, j.GPUKind, err)
		}
		j.Command = []string{"true"}
		if err := j.Check(); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
	for v, why := range map[string]string{
		"a100": "KIND:N", "0": "more than zero", "a100:0": "more than zero", ":2": "KIND:N", "a100:": "KIND:N", "2000": "at most 1024",
		"a100:-1": "KIND:N", "a100/b:1": "neither a slice", "a b:1": "no kind", "": "KIND:N",
	} {
		var j Job
		if err := j.Set("gpus", v, nil); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", v, err)
		}
	}
	for _, j := range []Job{{GPUs: 2, GPUKind: "1g.10gb"}, {NVLink: true}, {GPUMemory: 1}, {GPUs: 1, GPUKind: "share", NVLink: true}} {
		j.Command = []string{"true"}
		if err := j.Check(); err == nil {
			t.Errorf("%+v is taken", j)
		}
	}
}

// A number of GPUs that is said takes the place of the kind that was said with another.
func TestGPUsTakeTheirKindAlong(t *testing.T) {
	under := Job{GPUs: 4, GPUKind: "a100", NVLink: true, GPUMemory: 7}
	if j := (Job{GPUs: 1}).Over(under); j.GPUs != 1 || j.GPUKind != "" || !j.NVLink || j.GPUMemory != 7 {
		t.Errorf("%+v", j)
	}
	if j := (Job{}).Over(under); j.GPUs != 4 || j.GPUKind != "a100" {
		t.Errorf("%+v", j)
	}
}

func TestGPUsInFiles(t *testing.T) {
	for name, src := range map[string]string{
		"script":              "#!/bin/sh\n#COINOP --gpus a100:2 --nvlink --gpu-memory 40GiB\ntrue\n",
		"the other way round": "#!/bin/sh\n#COINOP --nvlink --gpus a100:2\n#COINOP --gpu-memory=40GiB\ntrue\n",
		"HCL":                 `job "x" { gpus = "a100:2"` + "\n" + `gpu_memory = "40GiB"` + "\nnvlink = true\n" + `command = ["true"] }`,
	} {
		src = strings.ReplaceAll(src, "{ gpus", "{\n gpus")
		src = strings.ReplaceAll(src, "] }", "]\n}")
		j, err := Parse(name, []byte(src), nil)
		if err != nil || j.GPUs != 2 || j.GPUKind != "a100" || !j.NVLink || j.GPUMemory != 40<<30 {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
	j, err := Parse("number", []byte("job \"x\" {\n gpus = 2\n nvlink = false\n command = [\"true\"]\n}"), nil)
	if err != nil || j.GPUs != 2 || j.GPUKind != "" || j.NVLink {
		t.Errorf("%+v, %v", j, err)
	}
	for _, bad := range []string{"nvlink = 7", "nvlink = \"maybe\"", "gpus = true", "cpus = true"} {
		if _, err := Parse("bad", []byte("job \"x\" {\n "+bad+"\n command = [\"true\"]\n}"), nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	j, err = FromEnv([]string{"COINOP_SUBMIT_GPUS=l40:1", "COINOP_SUBMIT_NVLINK=1"}, nil)
	if err != nil || j.GPUKind != "l40" || !j.NVLink {
		t.Errorf("%+v, %v", j, err)
	}
}
