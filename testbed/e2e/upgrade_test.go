//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/testbed/cluster"
)

// newer is what the newer build has changed: it knows one more kind of entry, which came with format 2, and its leader
// tries to propose it.
var newer = []struct{ file, was, is string }{
	{"consensus/machine/format.go", "const FormatMax = 1\n", "const FormatMax = 2\n"},
	{"consensus/machine/kinds.go", "\treturn 1 //", "\tif k == KindProbe {\n\t\treturn 2\n\t}\n\treturn 1 //"},
	{"consensus/machine/codec.go", "\tcase KindReconcile:\n", "\tcase KindProbe:\n\t\treturn new(Probe)\n\tcase KindReconcile:\n"},
	{"consensus/lead.go", "\twork.Go(func() { n.sumsLoop(ctx, r) })\n", "\twork.Go(func() { n.sumsLoop(ctx, r) })\n\twork.Go(func() { n.probeLoop(ctx, r) })\n"},
	{file: "consensus/machine/probe.go"},
	{file: "consensus/probe.go"},
}

// buildNewer builds the newer coinop from this source and what newer says.
func buildNewer(t *testing.T, ctx context.Context, dir string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, change := range newer {
		from := filepath.Join(root, change.file)
		if change.was == "" {
			overlay.Replace[from] = filepath.Join(root, "testbed/e2e/testdata/newer", change.file+".txt")
			continue
		}
		text, err := os.ReadFile(from)
		must(t, err)
		if strings.Count(string(text), change.was) != 1 {
			t.Fatalf("%s does not hold %q once: this test is to be brought up to date", change.file, change.was)
		}
		to := filepath.Join(dir, fmt.Sprintf("newer%d.go", i))
		must(t, os.WriteFile(to, []byte(strings.Replace(string(text), change.was, change.is, 1)), 0o644))
		overlay.Replace[from] = to
	}
	text, err := json.Marshal(overlay)
	must(t, err)
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "newer-coinop")
	must(t, os.WriteFile(file, text, 0o644))
	must(t, cluster.Build(ctx, root, binary, "-overlay", file))
	return binary
}

// upgrade is three servers that change their build while tasks count and jobs are submitted.
type upgrade struct {
	*loaded
	older, newer string
	builds       map[*cluster.Server]string
}

// exchange starts a server with a build, which it may refuse.
func (u *upgrade) exchange(t *testing.T, ctx context.Context, binary string, servers ...*cluster.Server) error {
	t.Helper()
	for _, s := range servers {
		must(t, s.Stop(30*time.Second))
		u.builds[s] = binary
	}
	u.c.Binary = binary
	return u.c.Restart(ctx, servers...)
}

// refused fails unless a server that was started with the older build ends and says what is to be done.
func (u *upgrade) refused(t *testing.T, ctx context.Context, servers ...*cluster.Server) {
	t.Helper()
	if err := u.exchange(t, ctx, u.older, servers...); err != nil {
		t.Logf("the older build: %v", err)
	}
	for _, s := range servers {
		must(t, cluster.Until(ctx, patience, s.Name+" ends", func() (bool, error) { return s.Ended(), nil }))
		if code := s.ExitCode(); code == 0 || !saysWhy(s.LogTail(3)) {
			t.Errorf("%s ended with %d:\n%s", s.Name, code, s.LogTail(10))
		}
	}
}

func saysWhy(text string) bool {
	return strings.Contains(text, "format is 2") && strings.Contains(text, "formats up to 1") && strings.Contains(text, "newer coinop")
}

// newerLeads has a server of the newer build lead while one of the older build votes.
func (u *upgrade) newerLeads(t *testing.T, ctx context.Context) (leader, old *cluster.Server) {
	t.Helper()
	for range 2 {
		l, _, err := u.c.Leader(ctx)
		must(t, err)
		leader = l
		for _, s := range u.c.Servers {
			if u.builds[s] == u.older {
				old = s
			}
		}
		if leader != old {
			return leader, old
		}
		must(t, u.exchange(t, ctx, u.older, old)) // it hands over
	}
	t.Fatal("the server of the older build leads again and again")
	return nil, nil
}

func TestServersAreUpgradedOneByOne(t *testing.T) {
	newer := buildNewer(t, t.Context(), t.TempDir())
	ctx, f := underLoad(t, 5*time.Minute)
	u := &upgrade{loaded: f, older: binary, newer: newer, builds: map[*cluster.Server]string{}}
	for _, s := range u.c.Servers {
		u.builds[s] = u.older
	}
	counters := []counter{count(t, ctx, u.c, u.user), count(t, ctx, u.c, u.user)}
	u.load.PerSecond = 200
	halt := u.load.Start(ctx)
	defer halt() //nolint:errcheck // called below, where all is well

	for range 2 { // the leader first: each of them hands over
		leader, _, err := u.c.Leader(ctx)
		must(t, err)
		if u.builds[leader] == u.newer {
			break
		}
		must(t, u.exchange(t, ctx, u.newer, leader))
	}
	for _, s := range u.c.Servers[:2] { // two are of the newer build, whoever they are
		if len(u.of(u.newer)) < 2 && u.builds[s] == u.older {
			must(t, u.exchange(t, ctx, u.newer, s))
		}
	}
	leader, old := u.newerLeads(t, ctx)
	must(t, cluster.Until(ctx, patience, "the new kind is kept back for a while", func() (bool, error) {
		return strings.Count(leader.LogTail(1000), "probe kept back") > 40 && strings.Contains(leader.LogTail(1000), "probe forced"), nil
	}))
	if log := leader.LogTail(1000); strings.Contains(log, "probe taken") || !strings.Contains(log, `refused=true`) || !strings.Contains(log, "needs format 2 and the cluster's is 1") {
		t.Errorf("%s leads with the newer build, %s votes with the older one:\n%s", leader.Name, old.Name, log)
	}
	before, err := u.c.Books(ctx)
	must(t, err)
	if before.First["format"] != 0 || before.First["probe"] != 0 || len(u.c.Running()) != 4 {
		t.Errorf("with a server of the older build: %v, %d daemons run", before.First, len(u.c.Running()))
	}
	must(t, u.exchange(t, ctx, u.newer, old))
	var after cluster.History
	must(t, cluster.Until(ctx, patience, "the format is raised and the new kind is taken", func() (bool, error) {
		after, err = u.c.Books(ctx)
		return after.First["probe"] != 0, err
	}))
	if format := after.First["format"]; format <= before.Last || format >= after.First["probe"] {
		t.Errorf("the format was raised by event %d, the first of the new kind is %d; with an older server the last was %d",
			format, after.First["probe"], before.Last)
	}
	must(t, halt())
	u.noWayBack(t, ctx)
	u.nothingLost(t, ctx, counters)
}

func (u *upgrade) of(build string) (list []*cluster.Server) {
	for _, s := range u.c.Servers {
		if u.builds[s] == build {
			list = append(list, s)
		}
	}
	return list
}

// noWayBack tries the older build in every way.
func (u *upgrade) noWayBack(t *testing.T, ctx context.Context) {
	t.Helper()
	leader, _, err := u.c.Leader(ctx)
	must(t, err)
	for _, s := range u.c.Servers {
		if s != leader {
			u.refused(t, ctx, s)
			must(t, u.exchange(t, ctx, u.newer, s))
			break
		}
	}
	u.refused(t, ctx, u.c.Servers...) // none of them leads
	must(t, u.exchange(t, ctx, u.newer, u.c.Servers...))

	var token client.TokenAnswer
	must(t, u.c.Operator().JSON(ctx, &token, "operator", "token", "create", "--role", "server"))
	file := filepath.Join(u.c.Dir, "late.join")
	must(t, os.WriteFile(file, []byte(token.Token+"\n"), 0o600))
	http, err := cluster.FreeAddr()
	port, err2 := cluster.FreeAddr()
	must(t, errors.Join(err, err2))
	late := cluster.Home{Binary: u.older, Dir: filepath.Join(u.c.Dir, "late"), Addr: u.c.Addr(), Work: u.c.Dir}
	said, err := late.Run(ctx, "server", "--dir", "s4", "--http", http, "--cluster", port, "--join", u.c.Servers[0].Cluster, "--token", "@"+file)
	must(t, err)
	if said.Code == 0 || !saysWhy(said.Stderr) {
		t.Errorf("the older build that joins ended with %d: %s", said.Code, said.Stderr)
	}
	saved, words := filepath.Join(u.c.Dir, "saved"), filepath.Join(u.c.Dir, "words")
	if said, err = u.c.Operator().Run(ctx, "operator", "snapshot", "save", saved); err != nil || said.Code != 0 {
		t.Fatal(err, said.Stderr)
	}
	exported, err := u.c.Operator().Run(ctx, "operator", "secret", "export", "--dir", u.c.Servers[0].Dir)
	must(t, err)
	must(t, os.WriteFile(words, []byte(exported.Stdout), 0o600))
	said, err = late.Run(ctx, "operator", "snapshot", "restore", saved, "--words", "@"+words, "--dir", "s5", "--http", http, "--cluster", port)
	must(t, err)
	if said.Code == 0 || !saysWhy(said.Stderr) {
		t.Errorf("the older build that restores the newer one's snapshot ended with %d: %s", said.Code, said.Stderr)
	}
}

// nothingLost looks at what went on meanwhile.
func (u *upgrade) nothingLost(t *testing.T, ctx context.Context, counters []counter) {
	t.Helper()
	var jobs []uint64
	for _, k := range counters {
		longest := k.undisturbed(t, ctx)
		t.Logf("job %d: process %d has counted all the time; its longest rest was %s", k.job, k.pid, longest)
		k.end(t, ctx, u.user)
		jobs = append(jobs, k.job)
	}
	for _, s := range u.accepted {
		jobs = append(jobs, s.Answer.Job)
	}
	last, err := u.c.Books(ctx)
	must(t, err)
	must(t, lostOrDoubled(jobs, last.Jobs))
	must(t, u.c.Balanced(ctx))
	t.Logf("%d jobs were submitted meanwhile; the format was raised by event %d, the first entry of the new kind made event %d of %d",
		len(jobs), last.First[machine.EventFormat], last.First["probe"], last.Last)
}
