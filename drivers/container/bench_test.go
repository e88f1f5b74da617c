package container_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container"
	"github.com/coinop/coinop/drivers/container/containertest"
	"github.com/coinop/coinop/drivers/logs"
)

// BenchmarkStart takes a container of an image that is there from Start to the first line of its output, one after the other, and
// beside it crun alone on the same root file system.
func BenchmarkStart(b *testing.B) {
	containertest.Need(b, "crun")
	yard := containertest.Yard(b)
	root := filepath.Join(yard, "image")
	containertest.MakeRoot(b, root)
	l := begin(b, container.Config{Runtime: "crun", Dir: filepath.Join(yard, "driver"), Images: containertest.Store(root)})
	b.Run("ours", func(b *testing.B) {
		var took time.Duration
		for n := range b.N {
			each, err := startToOutput(b, l.Driver, yard, fmt.Sprintf("b%d-%d", b.N, n))
			if err != nil {
				b.Fatal(err)
			}
			took += each
		}
		b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms")
	})
	b.Run("crun", func(b *testing.B) {
		bundle := crunBundle(b, yard, root)
		command := append(l.Driver.Command(), "--root", filepath.Join(yard, "crun"), "run", "--bundle", bundle)
		var took time.Duration
		for n := range b.N {
			cmd := exec.Command(command[0], append(command[1:], fmt.Sprint("c", n))...)
			each, err := runToOutput(cmd)
			if err != nil {
				b.Fatal(err)
			}
			took += each
		}
		b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms")
	})
}

func startToOutput(b *testing.B, d drivers.Driver, yard, id string) (took time.Duration, err error) {
	dir, err := containertest.TaskFolder(yard)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.Remove(b.Context(), id), os.RemoveAll(dir)) }()
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return 0, err
	}
	if err := os.Chown(work, 65534, 65534); err != nil {
		return 0, err
	}
	task := drivers.Task{
		ID: id, Dir: filepath.Join(dir, "task"), WorkDir: work, Argv: []string{"echo", "here"}, Image: containertest.Busybox,
		UID: 65534, GID: 65534, CPUMilli: 1000, MemoryBytes: 64 << 20, PidsMax: 100, FilesMax: 1000,
	}
	began := time.Now()
	if _, err := d.Start(b.Context(), task); err != nil {
		return 0, err
	}
	for time.Since(began) < 10*time.Second {
		chunk, err := logs.Read(filepath.Join(task.Dir, "stdout"), 0, 100)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if bytes.Contains(chunk.Data, []byte("here\n")) {
			return time.Since(began), nil
		}
		time.Sleep(200 * time.Microsecond) // what the figure is too large by, at most
	}
	return 0, fmt.Errorf("task %s printed nothing", id)
}

// crunBundle is what `crun spec` proposes, with a command and without its terminal.
func crunBundle(b *testing.B, yard, root string) string {
	b.Helper()
	dir := filepath.Join(yard, "bundle")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	_ = os.Remove(file) // of the run before, shorter
	spec := exec.Command("crun", "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		b.Fatalf("crun spec: %v\n%s", err, out)
	}
	var config map[string]any
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		b.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/echo", "here"}
	config["root"] = map[string]any{"path": root, "readonly": true}
	if data, err = json.Marshal(config); err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

func runToOutput(cmd *exec.Cmd) (took time.Duration, err error) {
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	took = time.Since(began)
	if err := cmd.Wait(); err != nil || line != "here\n" {
		return 0, fmt.Errorf("%s printed %q: %w\n%s", cmd, line, err, &failed)
	}
	return took, nil
}
