package api_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// A job that wants to work where it cannot is refused with what to do, and nothing is taken: the same coins pay for the next.
func TestAJobThatCannotWorkWhereItWantsTo(t *testing.T) {
	w := newWorld(t, nil)
	p := w.purse()
	pool, ok := w.View().PoolByName("default")
	if !ok {
		t.Fatal("there is no default pool")
	}
	pays := paid(p, p.issue(300), order(client.NewSecret()))
	refused := func(what string, change func(*client.JobSpec), code, saying string) {
		t.Helper()
		r := pays
		change(&r.Job)
		_, err := w.c.Submit(t.Context(), newKey(), "", r)
		wantProblem(t, err, 422, code)
		var problem *client.Problem
		if errors.As(err, &problem) && !strings.Contains(problem.Detail, saying) {
			t.Errorf("%s: it says %q, not %q", what, problem.Detail, saying)
		}
	}
	at := func(dir string) func(*client.JobSpec) { return func(j *client.JobSpec) { j.Chdir = dir } }
	refused("no share", at("/srv/shared/a"), "invalid", "the machines of pool default share no folder; send files with input")
	shares := *pool
	shares.Share, shares.Drivers = "/srv/shared", []string{"process", "container", "vm"}
	w.does(&machine.PoolSet{Pool: shares})
	refused("outside", at("/etc"), "invalid", `chdir: "/etc" is not in /srv/shared, which is what the machines of pool default share; name a folder in there`)
	refused("out by dots", at("/srv/shared/../../etc"), "invalid", "not in its short form")
	refused("relative", at("srv/shared"), "invalid", "no absolute path")
	refused("a machine", func(j *client.JobSpec) { j.Chdir, j.Driver, j.Image = "/srv/shared", "vm", "busybox" }, "invalid", "virtual machines have no shared folders")
	refused("two folders", func(j *client.JobSpec) { j.Chdir, j.Image, j.WorkDir = "/srv/shared", "busybox", "/x" }, "invalid", "so does workdir")
	refused("nobody has it", at("/srv/shared/a"), "too_big", "no machine of pool default shares /srv/shared with what its driver process runs; one takes part by: coinop executor --share /srv/shared")

	n, ok := w.View().NodeByName("n1")
	if !ok {
		t.Fatal("there is no node n1")
	}
	facts := machine.NodeFacts{Has: n.Has, Drivers: n.Drivers, Shares: []string{"/srv/shared"},
		DriverFacts: []scheduler.DriverFacts{{Name: "process", Isolation: "process", State: "up", Can: []string{"share"}}}}
	w.does(&machine.NodeUpdate{Node: n.ID, Facts: facts})
	pays.Job.Chdir = "/srv/shared/a"
	answer, err := w.c.Submit(t.Context(), newKey(), "", pays)
	if err != nil {
		t.Fatal(err)
	}
	job, _ := w.View().Job(scheduler.JobID(answer.Job))
	if shape, _ := w.View().Shape(job.Shape); shape.Share != "/srv/shared" {
		t.Errorf("its shape is %+v", shape)
	}
	node, err := w.c.Node(t.Context(), "n1")
	if err != nil || !slices.Equal(node.Shares, facts.Shares) {
		t.Errorf("the node tells %q, %v", node.Shares, err)
	}
	pools, err := w.c.Pools(t.Context())
	if err != nil || pools.Pools[0].Share != "/srv/shared" {
		t.Errorf("the pools are %+v, %v", pools, err)
	}
}

// A pool that strangers use shares nothing, whichever of the two is said last.
func TestAnOpenPoolSharesNoFolder(t *testing.T) {
	w := newWorld(t, nil)
	open, trusted, none, share, containers := "open", "trusted", "", "/srv/shared", []string{"container"}
	op := w.client(operatorToken)
	set := func(r client.PoolSet, saying string) {
		t.Helper()
		_, err := op.SetPool(t.Context(), "p", r)
		if saying == "" {
			if err != nil {
				t.Error(err)
			}
			return
		}
		wantProblem(t, err, 422, "invalid")
		if !strings.Contains(err.Error(), saying) {
			t.Errorf("it says %q, not %q", err, saying)
		}
	}
	const strangers = "strangers would see each other's files"
	set(client.PoolSet{Drivers: containers, Admission: &open, Share: &share}, strangers)
	set(client.PoolSet{Drivers: containers, Admission: &trusted, Share: &share}, "")
	set(client.PoolSet{Admission: &open}, strangers)
	set(client.PoolSet{Admission: &open, Share: &none}, "")
	set(client.PoolSet{Share: &share}, strangers)
	bad := "/tmp/x"
	set(client.PoolSet{Admission: &trusted, Share: &bad}, "lies in /tmp")
}
