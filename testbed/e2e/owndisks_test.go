//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/disk"
)

// mounted shows a new folder through a disk that fails when it is told.
func mounted(t *testing.T) *disk.Disk {
	t.Helper()
	from, err := cluster.TempDir("e2e-disk-")
	must(t, err)
	at, err := cluster.TempDir("e2e-at-")
	must(t, err)
	d, err := disk.Mount(from, at)
	if errors.Is(err, disk.ErrNone) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		if err := errors.Join(d.Unmount(), os.Remove(at), os.RemoveAll(from)); err != nil {
			t.Error(err)
		}
	})
	return d
}

// says fails unless a command fails and names what a user has to know.
func says(t *testing.T, ctx context.Context, h cluster.Home, args []string, words ...string) {
	t.Helper()
	r, err := h.Run(ctx, args...)
	must(t, err)
	for _, word := range words {
		if r.Code == 0 || !strings.Contains(r.Stderr, word) {
			t.Errorf("coinop %s exits with %d and does not say %q:\n%s", strings.Join(args, " "), r.Code, word, r.Stderr)
		}
	}
}

// flip turns one bit of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := []byte{0}
	_, err = f.ReadAt(b, at)
	must(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, at)
	must(t, err)
}

// A wallet on a disk that fails says so and what to do; nothing was sent, nothing comes back later, nothing is lost.
func TestAWalletOnADiskThatFails(t *testing.T) {
	d := mounted(t)
	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "e1", "--cpus", "2", "--memory", "2GiB")
	must(t, err)
	h := c.Home("user", c.Addr(), c.TokenFile())
	h.Dir = filepath.Join(d.At, "user")
	if r, err := h.Run(ctx, "operator", "issue", "1000000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	if had := balance(t, ctx, h); had != 1_000_000 {
		t.Fatalf("the wallet begins with %d", had)
	}
	file := filepath.Join(h.Dir, "wallet", "wallet.db")
	order := append([]string{"submit"}, job("--", "echo", "once")...)
	for _, trouble := range []struct {
		name  string
		fail  func(*disk.Disk, syscall.Errno)
		errno syscall.Errno
		word  string
	}{
		{"each flush fails", (*disk.Disk).FailFlush, syscall.EIO, "fails: copy"},
		{"each write fails", (*disk.Disk).FailWrite, syscall.EIO, "fails: copy"},
		{"it is read-only", (*disk.Disk).FailWrite, syscall.EROFS, "cannot be written"},
		{"it is full", (*disk.Disk).FailWrite, syscall.ENOSPC, "is full"},
	} {
		trouble.fail(d, trouble.errno)
		says(t, ctx, h, order, file, trouble.word)
		trouble.fail(d, 0)
		if had := balance(t, ctx, h); had != 1_000_000 {
			t.Errorf("%s: the wallet has %d afterwards", trouble.name, had)
		}
		var all client.JobList
		must(t, h.JSON(ctx, &all, "queue", "--all"))
		if len(all.Jobs) != 0 {
			t.Fatalf("%s: %d jobs were submitted by a command that failed", trouble.name, len(all.Jobs))
		}
	}
	n := submit(t, ctx, h, job("--", "echo", "once")...)
	undisturbed(t, ctx, h, n, "once\n")

	had := balance(t, ctx, h)
	words, err := h.Run(ctx, "wallet", "words")
	must(t, err)
	flip(t, file+"-wal", 200) // in the first page of the log
	says(t, ctx, h, []string{"wallet", "balance"}, file, "is damaged", "coinop wallet restore")
	again, err := h.Run(ctx, "wallet", "words")
	must(t, err)
	if again.Code != 0 || again.Stdout != words.Stdout {
		t.Fatalf("the words of the damaged wallet: %d, %q, %s", again.Code, again.Stdout, again.Stderr)
	}
	must(t, os.WriteFile(filepath.Join(c.Dir, "words"), []byte(words.Stdout), 0o600))
	must(t, os.Rename(filepath.Join(h.Dir, "wallet"), filepath.Join(h.Dir, "wallet.damaged")))
	if r, err := h.Run(ctx, "wallet", "restore", "@"+filepath.Join(c.Dir, "words")); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	if got := balance(t, ctx, h); got != had {
		t.Errorf("%d came back of %d", got, had)
	}
}

// node is what the cluster says of a machine.
func nodeOf(ctx context.Context, h cluster.Home, name string) (client.Node, error) {
	var list client.NodeList
	if err := h.JSON(ctx, &list, "nodes"); err != nil {
		return client.Node{}, err
	}
	for _, n := range list.Nodes {
		if n.Node == name {
			return n, nil
		}
	}
	return client.Node{}, fmt.Errorf("there is no node %s", name)
}

// A machine whose disk takes nothing any more says so and takes no work; what it was given waits for another, uncharged.
func TestAMachineWhoseDiskTakesNothing(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	must(t, os.Symlink(d.At, filepath.Join(c.Dir, "e1")))
	_, err := c.StartExecutor(ctx, "e1", "--cpus", "2", "--memory", "2GiB")
	must(t, err)
	h := c.Home("user", c.Addr(), c.TokenFile())
	if r, err := h.Run(ctx, "operator", "issue", "100000"); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	running := submit(t, ctx, h, job("--", "sh", "-c", "sleep 12; exit 7")...)
	await(t, ctx, h, running, "running")
	d.FailWrite(syscall.EROFS)
	next := submit(t, ctx, h, job("--", "echo", "elsewhere")...)
	must(t, cluster.Until(ctx, 2*time.Minute, "e1 says that it offers nothing", func() (bool, error) {
		n, err := nodeOf(ctx, h, "e1")
		return n.CPUMilli == 0 && strings.Contains(strings.Join(n.Missing, " "), "cannot write its disk"), err
	}))
	if j := show(t, ctx, h, next); j.State != "queued" || j.Private == nil || j.Private.SpentMicro != 0 {
		t.Errorf("the new job is %s and has cost %+v", j.State, j.Private)
	}
	if j := show(t, ctx, h, running); j.State != "running" {
		t.Errorf("the job that runs there is %s", j.State)
	}
	_, err = c.StartExecutor(ctx, "e2", "--cpus", "2", "--memory", "2GiB")
	must(t, err)
	await(t, ctx, h, next, "done")
	await(t, ctx, h, running, "done")
	// How it ended could not be kept by the dead shim's disk: nobody knows it, so it is nobody's cost, and done again.
	j := show(t, ctx, h, running)
	if j.Private == nil || len(j.Private.Runs) != 2 || j.ExitCode == nil || *j.ExitCode != 7 {
		t.Fatalf("the job that ran there: %+v, %+v", j, j.Private)
	}
	second, first := j.Private.Runs[0], j.Private.Runs[1]
	if first.Node != "e1" || first.OwedMicro != 0 || second.Node != "e2" || second.Placed.Before(*first.Ended) {
		t.Errorf("its runs: %+v and %+v", first, second)
	}
	d.FailWrite(0)
	must(t, c.AwaitNode(ctx, "e1"))
}

// A server whose book is damaged while it is away has the same book as the others soon after it is back, and says what was.
func TestADamagedBookIsMadeAgainFromTheOthers(t *testing.T) {
	ctx, c := newCluster(t)
	f := loadOn(t, ctx, mustPlan(t, c, 3))
	halt := f.load.Start(ctx)
	f.reach(t, ctx, 3000)
	must(t, halt())
	before, err := c.Books(ctx)
	must(t, err)
	for what, spoil := range map[string]func(path string){
		"bits turned": func(path string) {
			info, err := os.Stat(path)
			must(t, err)
			for at := info.Size() / 8; at < info.Size(); at += info.Size() / 8 {
				flip(t, path, at)
			}
		},
		"cut short": func(path string) { must(t, os.Truncate(path, 100_000)) },
	} {
		leader, _, err := c.Leader(ctx)
		must(t, err)
		s := c.Servers[0]
		if s == leader {
			s = c.Servers[1]
		}
		must(t, s.Stop(stopWithin))
		path := filepath.Join(s.Dir, "book.db")
		spoil(path)
		must(t, c.Restart(ctx, s))
		must(t, cluster.Until(ctx, time.Minute, what+": the damaged book lies aside, and the alarm names it", func() (bool, error) {
			aside, err := filepath.Glob(path + ".damaged-*Z")
			if err != nil || len(aside) != 1 {
				return false, err
			}
			_, list, err := c.Leader(ctx)
			for _, said := range list.Servers {
				if strings.Contains(said.Alarm, "book.db was damaged; it was made again whole") {
					return true, os.Remove(aside[0])
				}
			}
			return false, err
		}))
	}
	after, err := c.Books(ctx) // all servers' alike
	must(t, err)
	if len(after.Jobs) < len(before.Jobs) {
		t.Errorf("the books held %d jobs and hold %d", len(before.Jobs), len(after.Jobs))
	}
}

const stopWithin = 30 * time.Second

func mustPlan(t *testing.T, c *cluster.Cluster, n int) *cluster.Cluster {
	t.Helper()
	must(t, c.Plan(n))
	return c
}
