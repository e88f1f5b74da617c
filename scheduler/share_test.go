package scheduler

import (
	"strings"
	"testing"
)

func TestWhatAPoolMayShare(t *testing.T) {
	for dir, want := range map[string]string{
		"/srv/shared": "", "/home": "", "/mnt/a b/c": "", "": "",
		"srv": "no absolute path", "/srv/": `write "/srv"`, "/srv/../etc": "short form", "/srv//x": "short form", "/": "all of a machine",
		"/tmp/x": "lies in /tmp", "/tmp": "lies in /tmp", "/var": "holds /var/tmp", "/proc/self": "lies in /proc", "/run/user": "lies in /run", "/work": "lies in /work",
		"/x\x00": "cannot be printed", "/x\n": "cannot be printed", "/" + strings.Repeat("a", ShareMax): "251 bytes", "/" + strings.Repeat("a", ShareMax-1): "",
	} {
		p := DefaultPool("p")
		p.Share = dir
		checkRefusal(t, "share "+dir, p.Validate(), want)
		if p.Admission = Open; dir != "" {
			checkRefusal(t, "open, share "+dir, p.Validate(), "strangers would see each other's files")
		}
	}
}

func TestWhereAJobMayWork(t *testing.T) {
	shares, none := DefaultPool("p"), DefaultPool("q")
	shares.Share = "/srv/shared"
	for _, c := range []struct {
		pool        Pool
		driver, dir string
		share, want string
	}{
		{none, "process", "", "", ""},
		{shares, "vm", "", "", ""},
		{shares, "process", "/srv/shared", "/srv/shared", ""},
		{shares, "container", "/srv/shared/a", "/srv/shared", ""},
		{shares, "container", "/srv/sharedother", "", `is not in /srv/shared`},
		{shares, "container", "/srv", "", `is not in /srv/shared`},
		{none, "process", "/srv/shared", "", "the machines of pool q share no folder"},
		{shares, "vm", "/srv/shared/a", "", "virtual machines have no shared folders"},
	} {
		share, err := c.pool.ShareFor(c.driver, c.dir)
		checkRefusal(t, c.pool.Name+" "+c.driver+" "+c.dir, err, c.want)
		if share != c.share {
			t.Errorf("%s %s: the share is %q, want %q", c.driver, c.dir, share, c.share)
		}
	}
}

func TestFoldersThatNoJobWorksIn(t *testing.T) {
	for dir, want := range map[string]string{
		"/srv/a": "", "srv": "no absolute path", "/srv/../etc": "short form", "/srv/a/": "short form", "/a\x00": "cannot be printed", "/" + strings.Repeat("a", PathMax): "513 bytes",
	} {
		checkRefusal(t, dir, work(func(w *Work) { w.Chdir = dir }), want)
	}
	checkRefusal(t, "both", work(func(w *Work) { w.Image, w.Chdir, w.Box = "i", "/srv/a", NewBox(nil, "/x", false, 0) }), "so does workdir")
	checkRefusal(t, "read-only", work(func(w *Work) { w.Image, w.Chdir, w.Box = "i", "/srv/a", NewBox(nil, "", true, 0) }), "")
}

func checkRefusal(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v; want %q", what, err, want)
	}
}

// TestANodeThatSharesNothingGetsNoSuchWork: by the index and by what is checked again where the decision is carried out.
func TestANodeThatSharesNothingGetsNoSuchWork(t *testing.T) {
	pool := DefaultPool("p")
	pool.ID, pool.Share = 1, "/srv/shared"
	able := []DriverFacts{{Name: "process", Can: []string{"pause", AbilityShare}}}
	node := Node{ID: 1, Pool: 1, Drivers: []string{"process"}, State: NodeUp, Has: Resources{CPUMilli: 1000}, Shares: []string{"/home", "/srv/shared"}, DriverFacts: able}
	shape := Shape{ID: 1, Pool: 1, Driver: "process", Nodes: 1, Need: Resources{CPUMilli: 1000}, Share: "/srv/shared"}
	for name, c := range map[string]struct {
		change func(p *Pool, n *Node)
		want   bool
	}{
		"it shares":                     {func(*Pool, *Node) {}, true},
		"it shares nothing":             {func(_ *Pool, n *Node) { n.Shares = nil }, false},
		"it shares something else":      {func(_ *Pool, n *Node) { n.Shares = []string{"/home"} }, false},
		"its driver cannot":             {func(_ *Pool, n *Node) { n.DriverFacts = []DriverFacts{{Name: "process", Can: []string{"pause"}}} }, false},
		"the pool shares nothing":       {func(p *Pool, _ *Node) { p.Share = "" }, false},
		"the pool shares another":       {func(p *Pool, _ *Node) { p.Share = "/home" }, false},
		"the driver is not up any more": {func(_ *Pool, n *Node) { n.Drivers = nil }, false},
	} {
		p, n := pool, node
		c.change(&p, &n)
		before, after := NewIndex(), NewIndex()
		before.PoolChanged(nil, &p)
		before.NodeChanged(nil, &n)
		before.ShapeAdded(&shape)
		after.PoolChanged(nil, &pool) // as it was, and changed then
		after.NodeChanged(nil, &node)
		after.ShapeAdded(&shape)
		after.PoolChanged(&pool, &p)
		after.NodeChanged(&node, &n)
		for when, x := range map[string]*Index{"at once": before, "after a change": after} {
			if got := Fits(x, &shape); got != c.want {
				t.Errorf("%s, %s: fits %v", name, when, got)
			}
			plain := shape
			plain.Share = ""
			if len(n.Drivers) > 0 && !Fits(x, &plain) {
				t.Errorf("%s, %s: what asks for no folder does not fit either", name, when)
			}
		}
		if got := n.Offers(&p, &shape) && n.Drives(&p, shape.Driver); got != c.want {
			t.Errorf("%s: checked again: %v", name, got)
		}
	}
}
