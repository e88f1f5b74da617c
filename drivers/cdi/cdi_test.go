package cdi

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADeviceIsFoundByItsName(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Version: Version, Kind: "coinop/gpu", Devices: []Device{{"t-1", Edits{
		Env: []string{"A=b=c"}, Nodes: []Node{{Path: "/dev/a"}, {"/dev/caps/b", "/else/dev/caps/b"}},
		Mounts: []Mount{{"/usr/lib/x.so", "/usr/lib/x.so", []string{"ro"}}},
	}}}}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.json", string(data))
	write(t, dir, "b.json", strings.ReplaceAll(string(data), "t-1", "t-12"))
	write(t, dir, "c.json", "{ nothing but t-3")
	write(t, dir, "d.yaml", "kind: other")
	got, err := Find(dir, []string{"coinop/gpu=t-1", "coinop/gpu=t-12"})
	want := spec.Devices[0].Edits
	want.Nodes[0].HostPath = "/dev/a"
	if err != nil || len(got.Env) != 2 || !reflect.DeepEqual(got.Nodes, append(want.Nodes, want.Nodes...)) || len(got.Mounts) != 2 || got.Mounts[1].Options[0] != "ro" {
		t.Errorf("found %+v, %v", got, err)
	}
	for name, want := range map[string]string{
		"coinop/gpu=t-2": "no such device", "other/gpu=t-1": "no such device", "t-1": "VENDOR/CLASS", "coinop/gpu=": "VENDOR/CLASS", "coinop/gpu=t-3": "c.json",
	} {
		if _, err := Find(dir, []string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Find(filepath.Join(dir, "gone"), []string{"coinop/gpu=t-1"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := Find("cdi", []string{"coinop/gpu=t-1"}); err == nil {
		t.Error("a folder that depends on where one is was read")
	}
	if got, err := Find("", nil); err != nil || len(got.Nodes) != 0 {
		t.Errorf("no device: %+v, %v", got, err)
	}
}

// What is not understood is not left out.
func TestASpecThatSaysMoreIsRefused(t *testing.T) {
	for what, edits := range map[string]string{
		"hooks":            `{"hooks":[{"hookName":"createContainer","path":"/bin/x"}]}`,
		"permissions":      `{"deviceNodes":[{"path":"/dev/a","permissions":"r"}]}`,
		"a relative node":  `{"deviceNodes":[{"path":"dev/a"}]}`,
		"a node elsewhere": `{"deviceNodes":[{"path":"/etc/shadow"}]}`,
		"a node out of it": `{"deviceNodes":[{"path":"/dev/../etc/x"}]}`,
		"a strange host":   `{"deviceNodes":[{"path":"/dev/a","hostPath":"a"}]}`,
		"a mount on root":  `{"mounts":[{"hostPath":"/","containerPath":"/","options":[]}]}`,
		"a nameless value": `{"env":["=x"]}`,
		"no value":         `{"env":["x"]}`,
	} {
		dir := t.TempDir()
		write(t, dir, "x.json", `{"cdiVersion":"0.5.0","kind":"a/b","devices":[{"name":"d","containerEdits":`+edits+`}]}`)
		if got, err := Find(dir, []string{"a/b=d"}); err == nil {
			t.Errorf("%s: found %+v", what, got)
		}
	}
	dir := t.TempDir()
	write(t, dir, "x.json", `{"cdiVersion":"0.5.0","kind":"a/b","devices":[{"name":"d","containerEdits":{}}],"containerEdits":{"env":["A=b"]}}`)
	if _, err := Find(dir, []string{"a/b=d"}); err == nil {
		t.Error("edits for all devices were left out")
	}
}
