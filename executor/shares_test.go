package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// sharing is a machine that was told of two folders that it has in common with others, of which one is there.
func sharing(t *testing.T, can bool, story func(m *machine, there, gone string)) {
	base := t.TempDir()
	there, gone := filepath.Join(base, "there"), filepath.Join(base, "gone")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	onMachineWith(t, func(m *machine) {
		m.config.Shares = []string{there, gone, there}
		m.describe = func(d *drivers.Description) error { d.Share = can; return nil }
	}, func(m *machine) {
		m.cluster.await("facts", func() bool { return slices.Equal(m.cluster.facts.GetShares(), []string{there}) })
		story(m, there, gone)
	})
}

// in is a run that works in a folder of a share.
func in(share, dir string) *wire.Order {
	run := running(1, "block")
	run.Spec.Share, run.Spec.Chdir = share, dir
	return run
}

func TestAMachineOffersTheSharedFoldersThatAreThere(t *testing.T) {
	sharing(t, true, func(m *machine, there, gone string) {
		m.cluster.await("the driver's ability", func() bool {
			d := m.cluster.facts.GetDrivers()
			return len(d) == 1 && d[0].GetShare()
		})
		if missing := m.cluster.facts.GetMissing(); !slices.ContainsFunc(missing, func(s string) bool { return strings.HasPrefix(s, "share "+gone+": ") }) {
			t.Errorf("it lacks %q, and does not say that %s is not there", missing, gone)
		}
		if err := os.Mkdir(gone, 0o755); err != nil {
			t.Fatal(err)
		}
		m.cluster.await("the other one", func() bool { return slices.Equal(m.cluster.facts.GetShares(), []string{gone, there}) })
		if err := os.Rename(there, there+"-not"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(there, nil, 0o644); err != nil { // a file is no folder
			t.Fatal(err)
		}
		m.cluster.await("that the first is gone", func() bool { return slices.Equal(m.cluster.facts.GetShares(), []string{gone}) })
	})
}

func TestATaskWorksInASharedFolderAndKeepsItsOwn(t *testing.T) {
	sharing(t, true, func(m *machine, there, _ string) {
		dir := filepath.Join(there, "project")
		run := in(there, dir)
		run.Spec.Script = []byte("#!/bin/sh\n")
		m.cluster.order(run)
		m.cluster.await("the task", func() bool { return m.starts(1) == 1 })
		task := m.task(1)
		if task.Share != there || task.Chdir != dir || task.WorkDir != filepath.Join(m.folder(1), "work") {
			t.Errorf("it works in %q of %q, and its own folder is %q", task.Chdir, task.Share, task.WorkDir)
		}
		if task.Argv[0] != filepath.Join(task.WorkDir, "script") {
			t.Errorf("its script is %q", task.Argv[0])
		}
		for _, want := range []string{"PWD=" + dir, "HOME=" + task.WorkDir, "TMPDIR=" + task.WorkDir + "/tmp"} {
			if !slices.Contains(task.Env, want) {
				t.Errorf("%s is not in its environment: %q", want, task.Env)
			}
		}
	})
}

// Nothing is to blame: the servers did not know yet. The driver hears nothing of it.
func TestARunWhoseFolderIsNotSharedHereGoesBackUnstarted(t *testing.T) {
	for name, c := range map[string]struct {
		can    bool
		share  func(there, gone string) string
		saying string
	}{
		"it is not there":          {true, func(_, gone string) string { return gone }, "does not share"},
		"it was never offered":     {true, func(string, string) string { return "/etc" }, "does not share /etc"},
		"its driver has no shares": {false, func(there, _ string) string { return there }, "the driver fake has no shared folders"},
	} {
		t.Run(name, func(t *testing.T) {
			sharing(t, c.can, func(m *machine, there, gone string) {
				share := c.share(there, gone)
				m.cluster.order(in(share, share))
				end := m.cluster.awaitEnd(1)
				expectEnd(t, end, wire.Cause_CAUSE_LEAVING, codeOurs)
				if !strings.Contains(end.GetEnd().GetMessage(), c.saying) {
					t.Errorf("it says %q, not %q", end.GetEnd().GetMessage(), c.saying)
				}
				if n := m.starts(1); n != 0 {
					t.Errorf("it was started %d times", n)
				}
			})
		})
	}
}

func TestFoldersThatNobodyShares(t *testing.T) {
	for _, dir := range []string{"srv", "/", "/srv/", "/srv/../etc", "/a\xff", "/" + strings.Repeat("a", factMost)} {
		if err := checkShares([]string{"/srv", dir}); err == nil {
			t.Errorf("%q is taken", dir)
		}
	}
	if err := checkShares([]string{"/srv", "/mnt/a b", "/" + strings.Repeat("a", factMost-1)}); err != nil {
		t.Error(err)
	}
}
