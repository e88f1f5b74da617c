package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
)

// Each bomb is stopped by its limit, which the end names, while a neighbour works on.
func TestBombs(t *testing.T) {
	y := newYard(t, nil)
	neighbour := y.start("neighbour", `trap 'echo alive; exit 0' TERM; echo ready; while :; do sleep 0.05; done`, nil)
	y.said(neighbour, "ready")
	disk := func(task *drivers.Task) { task.DiskBytes = 8 << 20 }
	for name, bomb := range map[string]struct {
		script string
		change func(*drivers.Task)
		cause  drivers.ExitCause
		says   string
	}{
		"processes":           {`set -m; while sleep 1000 & do :; done 2>/dev/null; exit 3`, nil, drivers.CauseExited, "limit of processes"},
		"recursive processes": {`b() { b | b & }; b 2>/dev/null; sleep 0.3; exit 4`, nil, drivers.CauseExited, "limit of processes"},
		"memory":              {`exec head -c 300M /dev/zero | tail -c 300M >/dev/null; kill -9 $$`, nil, drivers.CauseOOM, "memory limit"},
		"memory of a child":   {`head -c 300M /dev/zero | tail -c 300M >/dev/null; exit 7`, nil, drivers.CauseExited, "memory limit"},
		"shared memory":       {`head -c 300M /dev/zero >/dev/shm/bomb; kill -9 $$`, nil, drivers.CauseOOM, ""},
		"one large file":      {`exec head -c 300M /dev/zero >file`, disk, drivers.CauseSignalled, "a file would have grown"},
		"many files":          {`i=0; while : $((i+=1)); do head -c 1M /dev/zero >f$i; done`, disk, drivers.CauseDisk, "work folder held more"},
		"empty files":         {`mkdir d; i=0; while :; do : >d/$((i+=1)); done`, disk, drivers.CauseDisk, "work folder held more"},
		"files without names": {`exec 3>a 4>b; rm a b; head -c 6M /dev/zero >&3; head -c 6M /dev/zero >&4; sleep 1000`, disk, drivers.CauseDisk, "work folder held more"},
		"temporary files":     {`head -c 6M /dev/zero >/tmp/a; head -c 6M /dev/zero >/var/tmp/b; sleep 1000`, disk, drivers.CauseDisk, "work folder held more"},
		"folders in folders":  {`perl -e 'while ($n++ < 1500 && mkdir "d") { chdir "d" }'; head -c 8M /dev/zero >big; sleep 1000`, disk, drivers.CauseDisk, "work folder held more"},
		"open files":          {`i=3; while eval "exec $i</dev/null"; do : $((i+=1)); done 2>/dev/null; exit $((i > 60 && i < 70 ? 5 : 6))`, nil, drivers.CauseExited, ""},
	} {
		t.Run(name, func(t *testing.T) {
			y.t = t
			status, said := y.end(y.start("bomb", bomb.script, bomb.change))
			exit := status.Exit
			if status.State != drivers.StateExited || exit.Cause != bomb.cause || !strings.Contains(exit.Message, bomb.says) || exit.Code == 0 {
				t.Errorf("it ended as %s %+v, having said %q", status.State, exit, said)
			}
			if name == "open files" && exit.Code != 5 {
				t.Errorf("it was not stopped at its limit: %+v", exit)
			}
			y.remove("bomb")
		})
	}
	y.t = t
	if err := y.driver.Control(t.Context(), "neighbour", drivers.Control{Kind: drivers.Stop, KillDelayMillis: 30_000}); err != nil {
		t.Fatal(err)
	}
	if _, said := y.end(neighbour); !strings.Contains(said, "alive") {
		t.Errorf("the neighbour only said %q", said)
	}
	y.remove("neighbour")
	if _, err := os.Stat("/dev/shm/bomb"); err == nil {
		t.Error("shared memory of an ended task is still there")
	}
}

// A driver that starts again goes on measuring.
func TestDiskLimitOutlivesTheDriver(t *testing.T) {
	y := newYard(t, nil)
	task := y.start("bomb", `echo ready; while [ ! -e go ]; do sleep 0.02; done; head -c 6M /dev/zero >a; head -c 6M /dev/zero >b; sleep 1000`,
		func(task *drivers.Task) { task.DiskBytes = 8 << 20 })
	y.said(task, "ready")
	y.restart()
	if err := os.WriteFile(filepath.Join(task.WorkDir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _ := y.end(task); status.Exit.Cause != drivers.CauseDisk {
		t.Errorf("it ended as %+v", status.Exit)
	}
	y.remove("bomb")
}
