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

	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/disk"
)

// onDisks is three servers under load, each on a disk of its own.
type onDisks struct {
	*loaded
	disks map[*cluster.Server]*disk.Disk
}

func startOnDisks(t *testing.T) (context.Context, *onDisks) {
	t.Helper()
	var disks []*disk.Disk
	for range 3 {
		d, err := disk.Mount(t.TempDir(), t.TempDir())
		if errors.Is(err, disk.ErrNone) {
			t.Skip(err)
		}
		must(t, err)
		t.Cleanup(func() { // after the servers' end
			if err := d.Unmount(); err != nil {
				t.Error(err)
			}
		})
		disks = append(disks, d)
	}
	ctx, c := newClusterFor(t, 5*time.Minute)
	must(t, c.Plan(3))
	o := &onDisks{disks: map[*cluster.Server]*disk.Disk{}}
	for i, s := range c.Servers {
		must(t, os.Symlink(disks[i].At, s.Dir))
		o.disks[s] = disks[i]
	}
	o.loaded = loadOn(t, ctx, c)
	return ctx, o
}

// further waits until so many more submissions are acknowledged, and says how long that took.
func (f *loaded) further(t *testing.T, ctx context.Context, n int) time.Duration {
	t.Helper()
	f.mu.Lock()
	known := len(f.accepted)
	f.mu.Unlock()
	begun := time.Now()
	f.reach(t, ctx, known+n)
	return time.Since(begun)
}

// follower is a server that does not lead.
func (o *onDisks) follower(t *testing.T, ctx context.Context) *cluster.Server {
	t.Helper()
	leader, _, err := o.c.Leader(ctx)
	must(t, err)
	for _, s := range o.c.Servers {
		if s != leader {
			return s
		}
	}
	return nil
}

// ends waits until a server has ended by itself, and fails unless it says why.
func ends(t *testing.T, ctx context.Context, s *cluster.Server, words ...string) {
	t.Helper()
	must(t, cluster.Until(ctx, time.Minute, s.Name+" ends", func() (bool, error) { return s.Ended(), nil }))
	said := s.LogTail(5)
	if s.ExitCode() != 1 {
		t.Errorf("%s ended with %d", s.Name, s.ExitCode())
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("%s does not say %q:\n%s", s.Name, word, said)
		}
	}
	last := s.LogTail(1)
	t.Logf("%s: %s", s.Name, last)
}

// TestServersDisksFailUnderLoad: a flush that fails or is slow, and a disk that turns read-only, under the leader and under
// a follower. The others go on, and nothing that was acknowledged is lost.
func TestServersDisksFailUnderLoad(t *testing.T) {
	ctx, o := startOnDisks(t)
	o.load.PerSecond = 200
	halt := o.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well
	quiet := o.further(t, ctx, 200)
	for _, broken := range []struct {
		what  string
		which func() *cluster.Server
		do    func(d *disk.Disk, e syscall.Errno)
		with  syscall.Errno
	}{
		{"a flush of the leader's fails", func() *cluster.Server { s, _, err := o.c.Leader(ctx); must(t, err); return s }, (*disk.Disk).FailFlush, syscall.EIO},
		{"a flush of a follower's fails", func() *cluster.Server { return o.follower(t, ctx) }, (*disk.Disk).FailFlush, syscall.EIO},
		{"the leader's disk turns read-only", func() *cluster.Server { s, _, err := o.c.Leader(ctx); must(t, err); return s }, (*disk.Disk).FailWrite, syscall.EROFS},
	} {
		s := broken.which()
		t.Logf("%s: %s", broken.what, s.Name)
		broken.do(o.disks[s], broken.with)
		ends(t, ctx, s, broken.with.Error(), s.Name)
		o.further(t, ctx, 100)
		if err := o.c.Restart(ctx, s); err == nil {
			t.Errorf("%s starts on a disk that fails", s.Name)
		}
		ends(t, ctx, s, broken.with.Error(), s.Name)
		broken.do(o.disks[s], 0)
		must(t, o.c.Restart(ctx, s))
		o.further(t, ctx, 50)
	}

	slow := o.follower(t, ctx)
	o.disks[slow].Slow(300 * time.Millisecond)
	took := o.further(t, ctx, 200)
	o.disks[slow].Slow(0)
	leader, before, err := o.c.Leader(ctx)
	must(t, err)
	o.disks[leader].Slow(300 * time.Millisecond)
	waited := o.further(t, ctx, 200)
	o.disks[leader].Slow(0)
	_, after, err := o.c.Leader(ctx)
	must(t, err)
	t.Logf("200 submissions took %s, with a slow follower %s, with a slow leader %s; term %d to %d", quiet, took, waited, before.Term, after.Term)

	must(t, halt())
	must(t, o.c.Level(ctx))
	o.whole(t, ctx)
}

// whole fails unless the books of all servers are alike and hold each acknowledged job once.
func (f *loaded) whole(t *testing.T, ctx context.Context) {
	t.Helper()
	history, err := f.c.Books(ctx)
	must(t, err)
	var acknowledged []uint64
	for _, s := range f.accepted {
		acknowledged = append(acknowledged, s.Answer.Job)
	}
	must(t, heldOnce(acknowledged, history.Jobs))
	t.Logf("%d acknowledged, all of them in all books, which end with %x", len(acknowledged), history.Hash[:4])
}

// heldOnce wants each acknowledged job once among all; of others nobody was told.
func heldOnce(acknowledged, all []uint64) error {
	held := map[uint64]int{}
	for _, job := range all {
		held[job]++
	}
	for _, job := range acknowledged {
		if held[job] != 1 {
			return fmt.Errorf("job %d was acknowledged and is in the books %d times", job, held[job])
		}
	}
	return nil
}

func TestAcknowledgedJobsThatAreGoneAreFound(t *testing.T) {
	if err := heldOnce([]uint64{1, 3}, []uint64{1, 2, 3}); err != nil {
		t.Error(err)
	}
	if heldOnce([]uint64{1, 3}, []uint64{1, 2}) == nil || heldOnce([]uint64{1}, []uint64{1, 1}) == nil {
		t.Error("a lost or a doubled job is not found")
	}
}

// TestADamagedServerIsRefusedAndJoinsAnew goes the way that the refusal names: docs/guide.md, A damaged server.
func TestADamagedServerIsRefusedAndJoinsAnew(t *testing.T) {
	ctx, f := underLoad(t, 5*time.Minute)
	f.load.PerSecond = 200
	halt := f.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well
	for name, damage := range map[string]func(dir string){
		"cert.pem": func(dir string) { turn(t, filepath.Join(dir, "cluster", "cert.pem"), "CERTIFICATE") },
		"raft/log": func(dir string) {
			list, err := filepath.Glob(filepath.Join(dir, "raft", "log", "*.wal"))
			if err != nil || len(list) == 0 {
				t.Fatal(list, err)
			}
			turn(t, list[len(list)-1], "true")
		},
	} {
		f.further(t, ctx, 100)
		leader, list, err := f.c.Leader(ctx)
		must(t, err)
		s := f.c.Servers[2]
		if s == leader {
			s = f.c.Servers[1]
		}
		id := ""
		for _, said := range list.Servers {
			if said.HTTP == s.HTTP || said.HTTP == "http://"+s.HTTP {
				id = said.ID
			}
		}
		must(t, s.Kill())
		damage(s.Dir)
		if err := f.c.Restart(ctx, s); err == nil {
			t.Fatalf("%s is damaged, and the server starts", name)
		}
		ends(t, ctx, s, name, "let it join again with an empty folder", "A damaged server")

		if r, err := f.c.Operator().Run(ctx, "operator", "servers", "remove", id); err != nil || r.Code != 0 {
			t.Fatal(err, r.Stderr)
		}
		must(t, os.Rename(s.Dir, s.Dir+"-damaged-"+filepath.Base(name)))
		must(t, f.c.Join(ctx, s, leader))
		f.further(t, ctx, 50)
		_, list, err = f.c.Leader(ctx)
		must(t, err)
		if len(list.Servers) != 3 {
			t.Errorf("there are %d servers", len(list.Servers))
		}
	}
	must(t, halt())
	must(t, f.c.Level(ctx))
	f.whole(t, ctx)
	// It counts: with one of the others gone, the two go on.
	must(t, f.c.Servers[0].Kill())
	halt = f.load.Start(ctx)
	f.further(t, ctx, 50)
	must(t, halt())
	must(t, f.c.Restart(ctx, f.c.Servers[0]))
}

// turn turns one bit of a file, at a text in it.
func turn(t *testing.T, path, at string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	i := strings.Index(string(b), at)
	if i < 0 {
		t.Fatalf("%s does not hold %q", path, at)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{b[i] ^ 4}, int64(i))
	must(t, errors.Join(err, f.Close()))
}

// tmpfs is a disk of so many MiB.
func tmpfs(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("coinop-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=711", size))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a disk")
	}
	must(t, err)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestADiskIsFullOrReadOnly fills the leader's disk, and starts a server on one that cannot be written.
func TestADiskIsFullOrReadOnly(t *testing.T) {
	const size, most = 600, 450 // MiB: below the reserve of 256 when it is filled
	dirs := []string{tmpfs(t, size), tmpfs(t, size), tmpfs(t, size)}
	ctx, c := newClusterFor(t, 4*time.Minute)
	must(t, c.Plan(3))
	for i, s := range c.Servers {
		must(t, os.Symlink(dirs[i], s.Dir))
	}
	must(t, c.StartServers(ctx))
	user := c.Home("user", c.Addr(), c.TokenFile())
	issue := func() {
		t.Helper()
		if r, err := user.Run(ctx, "operator", "issue", "10"); err != nil || r.Code != 0 {
			t.Fatal(err, r.Stderr)
		}
	}
	issue()
	full, _, err := c.Leader(ctx)
	must(t, err)
	fill := filepath.Join(full.Dir, "fill")
	file, err := os.Create(fill)
	must(t, err)
	must(t, errors.Join(syscall.Fallocate(int(file.Fd()), 0, 0, most<<20), file.Close()))
	alarmed := func(want bool) {
		t.Helper()
		must(t, cluster.Until(ctx, time.Minute, fmt.Sprintf("%s has handed over and says so: %v", full.Name, want), func() (bool, error) {
			leader, list, err := c.Leader(ctx)
			for _, s := range list.Servers {
				if strings.HasSuffix(s.HTTP, full.HTTP) && (strings.Contains(s.Alarm, "below the reserve")) == want {
					return leader != full || !want, err
				}
			}
			return false, err
		}))
	}
	alarmed(true)
	issue()
	must(t, os.Remove(fill))
	alarmed(false)
	issue()

	s := c.Servers[2]
	must(t, s.Stop(30*time.Second))
	must(t, syscall.Mount("", dirs[2], "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if err := c.Restart(ctx, s); err == nil {
		t.Error("a server starts in a folder that cannot be written")
	}
	ends(t, ctx, s, "read-only file system", s.Name)
	must(t, syscall.Mount("", dirs[2], "", syscall.MS_REMOUNT, ""))
	must(t, c.Restart(ctx, s))
	issue()
	if _, err := c.Books(ctx); err != nil {
		t.Error(err)
	}
}
