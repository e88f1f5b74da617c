package machine

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

var (
	storySeed  = flag.Uint64("story", 0, "play this one random story")
	storyCount = flag.Int("stories", 25, "how many random stories")
	storyLines = flag.Int("lines", 250, "lines of each")
)

// TestRandomStories plays stories that nobody thought of. After every line the state is held
// against itself and every run that ended against the price history, computed anew; at the end the
// log is replayed. A story that fails is printed: it can be kept as a file as it is.
func TestRandomStories(t *testing.T) {
	for i := range *storyCount {
		seed := uint64(i) + 1
		if *storySeed != 0 {
			seed = *storySeed
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { playRandom(t, seed, *storyLines) })
		if *storySeed != 0 {
			return
		}
	}
}

// narrator makes up a story.
type narrator struct {
	*rand.Rand
	w       *world
	told    []string
	jobs    []string
	pots    []string
	nodes   int
	history map[scheduler.PoolID]funding.Series // never pruned
}

func playRandom(t *testing.T, seed uint64, lines int) {
	n := &narrator{
		Rand: rand.New(rand.NewPCG(seed, 7)), w: newWorld(t),
		history: make(map[scheduler.PoolID]funding.Series),
	}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d; the story:\n%s", seed, strings.Join(n.told, "\n"))
		}
	}()
	for _, line := range []string{
		"init", "issue alice 1000000", "issue bob 100000",
		"pool default tranche=60s low=20s grace=30s kill=5s fee=0.25",
		"node n1 cpus=4", "node n2 cpus=4", "node n3 cpus=2", "pot p1 by=alice pay=2000", "pot p2 by=bob pay=300",
	} {
		n.say("%s", line)
	}
	n.pots, n.nodes = []string{"p1", "p2"}, 3
	before := n.w.m.View()
	for range lines {
		n.next()
		view := n.w.m.View()
		err := errors.Join(view.Check(), view.CheckWork(funding.MillisMax), view.CheckGrowth(before), n.metered(before, view))
		if err != nil {
			t.Fatal(err)
		}
		before = view
	}
	n.w.replay()
}

// say plays a line and keeps it.
func (n *narrator) say(format string, words ...any) string {
	line := fmt.Sprintf(format, words...)
	n.told = append(n.told, line)
	got := n.w.play(strings.Fields(line))
	n.told[len(n.told)-1] = fmt.Sprintf("%-55s -> %s", line, got)
	return got
}

func one[T any](n *narrator, of ...T) T { return of[n.IntN(len(of))] }

// next tells one more line.
func (n *narrator) next() {
	switch n.IntN(22) {
	case 0, 1, 2:
		n.submit()
	case 3, 4:
		n.say("placeall")
	case 5, 6, 7:
		n.eachRun(func(name string, run *scheduler.Run) bool { return run.Start == 0 }, func(name string) { n.say("start %s", name) })
	case 8, 9, 10:
		n.eachRun(func(string, *scheduler.Run) bool { return true }, func(name string) {
			n.say("finish %s %s", name, one(n, "exit=0", "exit=0", "exit=0", "exit=1", "signal=15", "fault", "reason=memory", "reason=start exit=127", "frozen=300ms"))
		})
	case 11, 12:
		n.say("run %s", one(n, "1s", "5s", "20s"))
	case 13:
		n.say("run %s each=%s", one(n, "1m", "10m", "30h"), one(n, "5s", "1m"))
	case 14:
		n.say("wait %s", one(n, "1ms", "333ms", "1s", "7s"))
	case 15, 16:
		n.say("reprice default")
	case 17:
		n.money()
	case 18:
		n.machines()
	case 19:
		n.owners()
	case 20:
		n.say("pool default floor=%s", one(n, "0.5", "1", "1", "1.000001", "2.5"))
	case 21:
		if len(n.jobs) > 0 {
			n.say("forget %s", one(n, n.jobs...))
		}
	}
}

func (n *narrator) submit() {
	name := fmt.Sprint("j", len(n.jobs)+1)
	line := fmt.Sprintf("submit %s by=%s cpus=%d bid=%s", name, one(n, "alice", "bob"), 1+n.IntN(3), one(n, "1", "1.5", "2", "3.333333"))
	if n.IntN(2) == 0 {
		line += " mode=stream"
	}
	if !strings.Contains(line, "stream") || n.IntN(4) == 0 {
		line += " time=" + one(n, "1s", "7s", "30s", "100s")
	}
	if n.IntN(2) == 0 {
		line += " array=" + one(n, "0-9%3", "5-7", "0-1", "0-99%4")
	}
	if n.IntN(4) == 0 {
		line += " most=" + one(n, "20", "100", "300.5")
	}
	if n.IntN(3) == 0 {
		line += " pot=" + one(n, n.pots...)
	} else {
		line += fmt.Sprintf(" pay=%d%s", 1+n.IntN(600), one(n, "", "", " claim", " donate"))
	}
	if got := n.say("%s", line); strings.HasPrefix(got, "queued") {
		n.jobs = append(n.jobs, name)
	}
}

// eachRun picks an open run by name.
func (n *narrator) eachRun(is func(string, *scheduler.Run) bool, do func(string)) {
	var names []string
	for _, job := range n.jobs {
		n.w.m.View().RunsOf(n.w.jobs[job], func(run *scheduler.Run) bool {
			if name := fmt.Sprintf("%s.%d", job, run.Task); is(name, run) {
				names = append(names, name)
			}
			return true
		})
	}
	if len(names) > 0 {
		do(one(n, names...))
	}
}

func (n *narrator) money() {
	if to := append([]string{}, append(n.jobs, n.pots...)...); len(to) > 0 && n.IntN(6) > 0 {
		n.say("deposit %s by=%s pay=%d %s", one(n, to...), one(n, "alice", "bob"), 1+n.IntN(80), one(n, "", "claim", "donate"))
		return
	}
	if n.IntN(8) == 0 {
		n.say("close %s", one(n, n.pots...))
		name := fmt.Sprint("p", len(n.pots)+1)
		n.say("pot %s by=alice pay=%d", name, 100+n.IntN(500))
		n.pots = append(n.pots, name)
	}
}

func (n *narrator) machines() {
	node := fmt.Sprint("n", 1+n.IntN(n.nodes))
	switch n.IntN(6) {
	case 0:
		n.say("drain %s deadline=%s", node, one(n, "1s", "10s", "1h"))
	case 1:
		n.say("lose %s", node)
	case 2:
		n.nodes++
		n.say("node n%d cpus=%d", n.nodes, 1+n.IntN(8))
	case 3:
		n.say("back %s cpus=%d", node, 1+n.IntN(4))
	default:
		n.say("undrain %s", node)
	}
}

func (n *narrator) owners() {
	if len(n.jobs) == 0 {
		return
	}
	job := one(n, n.jobs...)
	switch n.IntN(6) {
	case 0:
		n.say("cancel %s", job)
	case 1:
		n.say("cancel %s array=%s", job, one(n, "0-0", "5-6", "0-50", "7-9"))
	case 2, 3:
		n.say("limit %s most=%s", job, one(n, "0", "10", "50", "500"))
	case 4:
		n.say("hold %s", job)
	case 5:
		n.say("release %s", job)
	}
}

// metered follows the prices and holds what each ended run was charged against one settlement of
// its whole time (I8, I11). What was overrun counts as charged.
func (n *narrator) metered(before, after *View) error {
	for _, pool := range after.Pools() {
		series, _ := after.Series(pool.ID)
		whole := n.history[pool.ID]
		for _, point := range series.Points {
			if last := len(whole.Points) - 1; last < 0 || point.At > whole.Points[last].At {
				whole.Points = append(whole.Points, point)
			} else if point.At == whole.Points[last].At {
				whole.Points[last] = point
			}
		}
		n.history[pool.ID] = whole
	}
	var wrong error
	before.runs.ascend(0, func(id scheduler.RunID, run *scheduler.Run) bool {
		files, ended := after.Files(id)
		if !ended || run.Start == 0 || files.Charged == 0 {
			return true
		}
		if files.Billed <= scheduler.TimeMin || run.Owed > 0 {
			return true // lifted to one second, or settled on the way with what was overrun
		}
		// Frozen time lies at the end in these stories, so what was billed is one span.
		span := funding.Billed{From: run.Start, To: run.Start + files.Billed}
		owed, err := funding.Owed(run.Weight, n.history[run.Pool].At(span.From), n.history[run.Pool].At(span.To))
		if err != nil {
			wrong = err
			return false
		}
		if files.Charged > owed {
			wrong = fmt.Errorf("run %d was charged %d for %v, which comes to %d", id, files.Charged, span, owed)
			return false
		}
		job, known := after.Job(run.Job)
		if known && job.Mode == funding.Stream {
			return true // an overrun is the operator's
		}
		wrong = funding.CheckBilling(n.history[run.Pool], funding.Billing{
			Weight: run.Weight, Placed: run.Placed, Until: files.Ended, Spans: []funding.Billed{span}, Usage: files.Charged,
		})
		return wrong == nil
	})
	return wrong
}
