package scheduler

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
)

// story is one file of testdata/stories: each line changes a record or asks, and says after "=>" what
// is answered. A line that names a record again changes what it mentions and leaves the rest.
type story struct {
	t     *testing.T
	x     *Index
	pools map[PoolID]*Pool
	nodes map[NodeID]*Node
	jobs  map[JobID]*Job
	runs  map[RunID]*Run
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{t, NewIndex(), map[PoolID]*Pool{}, map[NodeID]*Node{}, map[JobID]*Job{}, map[RunID]*Run{}}
			for i, line := range strings.Split(string(text), "\n") {
				line, _, _ = strings.Cut(line, "#")
				ask, want, asked := strings.Cut(line, "=>")
				words := strings.Fields(ask)
				if len(words) == 0 {
					continue
				}
				got := s.line(words)
				if want := strings.Join(strings.Fields(want), " "); asked && got != want || !asked && got != "" {
					t.Errorf("%s:%d: %s=> %s; want %s", f, i+1, ask, got, want)
				}
			}
		})
	}
}

func (s *story) line(words []string) string {
	id, args := 1, map[string]string{}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			args[k] = v
		} else {
			id = int(s.number(w))
		}
	}
	switch words[0] {
	case "pool":
		s.pool(PoolID(id), args)
	case "node":
		s.node(NodeID(id), args)
	case "shape":
		s.x.ShapeAdded(&Shape{ID: ShapeID(id), Pool: 1, Need: s.resources(Resources{}, args), Driver: "process", Nodes: 1})
	case "job":
		s.job(JobID(id), args)
	case "run":
		s.run(RunID(id), args)
	case "place":
		return s.place(int(s.or(args, "limit", 0)))
	case "price":
		return Decimal(int64(Price(s.x, PoolID(id))))
	case "tick":
		return s.tick(args)
	case "largest":
		r := Largest(s.x, PoolID(id))
		return fmt.Sprintf("cpus=%d memory=%d", r.CPUMilli/1000, r.Memory/GiB)
	default:
		s.t.Fatalf("unknown line %q", words)
	}
	return ""
}

func (s *story) number(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *story) or(args map[string]string, name string, other int64) int64 {
	if v, ok := args[name]; ok {
		return s.number(v)
	}
	return other
}

func (s *story) resources(r Resources, args map[string]string) Resources {
	return Resources{CPUMilli: 1000 * s.or(args, "cpus", r.CPUMilli/1000), Memory: GiB * s.or(args, "memory", r.Memory/GiB),
		Disk: GiB * s.or(args, "disk", r.Disk/GiB), GPUs: s.or(args, "gpus", r.GPUs)}
}

func rate(n int64) funding.Rate { return funding.Rate(n) * 1_000_000 }

func (s *story) pool(id PoolID, args map[string]string) {
	old := s.pools[id]
	p := Pool{ID: id, Weights: Weights{CPU: 1000, Memory: 250}, Tick: 10_000}
	if old != nil {
		p = *old
	}
	p.Floor = rate(s.or(args, "floor", int64(p.Floor/1_000_000)))
	p.Price = rate(s.or(args, "price", int64(p.Price/1_000_000)))
	s.pools[id] = &p
	s.x.PoolChanged(old, &p)
}

func (s *story) node(id NodeID, args map[string]string) {
	old := s.nodes[id]
	n := Node{ID: id, Pool: 1, Drivers: []string{"process"}, State: NodeUp}
	if old != nil {
		n = *old
	}
	n.Has = s.resources(n.Has, args)
	n.Used.CPUMilli = 1000 * s.or(args, "used", n.Used.CPUMilli/1000)
	for st := NodeUp; st <= NodeRemoved; st++ {
		if args["state"] == st.String() {
			n.State = st
		}
	}
	s.nodes[id] = &n
	s.x.NodeChanged(old, &n)
}

func (s *story) job(id JobID, args map[string]string) {
	old := s.jobs[id]
	j := Job{ID: id, Pot: funding.PotID(id), Pool: 1, Shape: 1, Bid: rate(1), Slots: 1, State: JobQueued}
	if old != nil {
		j = *old
	}
	j.Pot = funding.PotID(s.or(args, "pot", int64(j.Pot)))
	j.Shape = ShapeID(s.or(args, "shape", int64(j.Shape)))
	j.Bid = rate(s.or(args, "bid", int64(j.Bid/1_000_000)))
	j.Boost = rate(s.or(args, "boost", int64(j.Boost/1_000_000)))
	j.Tasks.Last = int32(s.or(args, "tasks", int64(j.Tasks.Last+1)) - 1)
	j.Slots = int32(s.or(args, "held", int64(j.Slots)))
	j.AtOnce = int32(s.or(args, "atonce", int64(j.AtOnce)))
	j.Open = int32(s.or(args, "open", int64(j.Open)))
	j.Next = int32(s.or(args, "next", int64(j.Next)))
	if v, ok := args["again"]; ok {
		j.Requeued = []int32{int32(s.number(v))}
	}
	if v, ok := args["fault"]; ok {
		j.Faults = []NodeID{NodeID(s.number(v))}
	}
	if v, ok := args["hold"]; ok {
		j.OnHold = v == "yes"
	}
	for st := JobQueued; st <= JobDone; st++ {
		if args["state"] == st.String() {
			j.State = st
		}
	}
	s.jobs[id] = &j
	s.x.JobChanged(old, &j)
}

func (s *story) run(id RunID, args map[string]string) {
	old := s.runs[id]
	r := Run{ID: id, Job: JobID(s.or(args, "job", 0)), Pool: 1, State: RunRunning}
	if old != nil {
		r = *old
	} else if j := s.jobs[r.Job]; j != nil {
		r.Bid = j.Effective()
	}
	r.Firm = r.Firm || args["firm"] == "yes"
	for st := RunPlaced; st <= RunEnded; st++ {
		if args["state"] == st.String() {
			r.State = st
		}
	}
	s.runs[id] = &r
	s.x.RunChanged(old, &r)
}

func (s *story) place(limit int) string {
	var out []string
	for _, d := range Place(s.x, 0, limit) {
		task := fmt.Sprint(d.Job)
		if s.jobs[d.Job].Tasks.Last > 0 {
			task = fmt.Sprintf("%d.%d", d.Job, d.Task)
		}
		out = append(out, fmt.Sprintf("%s@%d", task, d.Node))
	}
	if out == nil {
		return "nothing"
	}
	return strings.Join(out, " ")
}

func (s *story) tick(args map[string]string) string {
	p := *s.pools[1]
	p.RaisedAt = funding.Millis(s.or(args, "raised", 0))
	price, changed := NextPrice(&p, rate(s.or(args, "want", 0)), funding.Millis(s.or(args, "at", 0)))
	if !changed {
		return "stays"
	}
	return Decimal(int64(price))
}
