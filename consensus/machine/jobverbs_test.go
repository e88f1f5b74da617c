package machine

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func jobVerbs() map[string]verb {
	return map[string]verb{
		"pool":     (*world).setPool,
		"node":     (*world).join,
		"drain":    (*world).drain,
		"undrain":  func(w *world, a args) string { return w.nodeState(a, scheduler.NodeUp) },
		"remove":   func(w *world, a args) string { return w.nodeState(a, scheduler.NodeRemoved) },
		"lose":     (*world).lose,
		"back":     (*world).back,
		"submit":   (*world).submit,
		"place":    (*world).place,
		"placeall": (*world).placeAll,
		"start":    (*world).start,
		"finish":   (*world).finish,
		"alive":    (*world).alive,
		"suspend":  (*world).suspend,
		"wake":     (*world).wake,
		"reprice":  (*world).reprice,
		"price":    (*world).price,
		"cancel":   (*world).cancel,
		"hold":     func(w *world, a args) string { return w.onHold(a, true) },
		"release":  func(w *world, a args) string { return w.onHold(a, false) },
		"limit":    (*world).limit,
		"run":      (*world).runOn,
		"show":     (*world).show,
		"receipt":  (*world).receipt,
		"forget":   (*world).forget,
		"pulse":    (*world).pulse,
	}
}

// credits reads an amount of whole units with decimals.
func credits(t *testing.T, text string) int64 {
	t.Helper()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(math.Round(f * float64(funding.UnitMicro)))
}

func (a args) credits(name string, otherwise int64) int64 {
	a.t.Helper()
	if value, ok := a.named[name]; ok {
		return credits(a.t, value)
	}
	return otherwise
}

func money(a funding.Amount) string { return scheduler.Decimal(int64(a)) }

// tasks reads an array: first-last%limit.
func (a args) tasks() (r scheduler.TaskRange, atOnce int32) {
	text, limit, limited := strings.Cut(a.text("array", "0-0"), "%")
	first, last, _ := strings.Cut(text, "-")
	r.First, r.Last = int32(number(a.t, first)), int32(number(a.t, last))
	if limited {
		atOnce = int32(number(a.t, limit))
	}
	return r, atOnce
}

// submit sends a job. What is left open of bid and time is the pool's default.
func (w *world) submit(a args) string {
	pool, ok := w.m.View().PoolByName(a.text("pool", "default"))
	if !ok {
		pool = &scheduler.Pool{ID: 99}
	}
	command := Submit{
		Request: w.request(a), Keys: keysOf(a.word(0)), Pool: pool.ID, Driver: a.text("driver", "process"),
		Need: scheduler.Resources{CPUMilli: a.number("cpus", 1) * 1000, Memory: a.number("memory", 0) << 30}, Mode: funding.Safe,
		Bid: funding.Rate(a.credits("bid", int64(pool.DefaultBid))), TimeLimit: a.duration("time", 0),
		MaxTotal: funding.Amount(a.credits("most", 0)), OnHold: a.has("hold"), Nodes: int32(a.number("nodes", 1)),
		Loopback: a.has("loopback"), Work: []byte{0xa0}, Firm: a.has("firm"), Share: a.text("share", ""),
	}
	command.Tasks, command.AtOnce = a.tasks()
	command.GPU = a.gpus(&command.Need)
	if command.Mode = map[string]funding.Mode{"safe": funding.Safe, "stream": funding.Stream}[a.text("mode", "safe")]; command.Mode == funding.Safe {
		command.TimeLimit = a.duration("time", pool.TimeDefault)
	}
	if token := a.text("token", ""); token != "" {
		command.Token = keyOf("token", token)
	}
	if name := a.text("pot", ""); name != "" {
		command.Pot, command.Spend = w.pots[name], keyOf("spend", a.text("spend", name))
	}
	if _, ok := a.named["pay"]; ok {
		command.Payment = w.payment(a)
	}
	if _, ok := a.named["cap"]; ok {
		most := funding.Amount(a.credits("cap", 0))
		command.CapOthers = &most
	}
	var answer SubmitAnswer
	if code := w.does(command, &answer); code != "" {
		w.keep(a, command.Payment)
		return code
	}
	w.jobs[a.word(0)] = answer.Job
	job, _ := w.m.View().Job(answer.Job)
	return fmt.Sprintf("%s held=%s slots=%d", jobState(job), money(answer.Held), job.Slots)
}

func jobState(job *scheduler.Job) string {
	return [...]string{"", "queued", "running", "paused", "done"}[job.State]
}

// held is what a job and its runs have reserved, a stream's common part left out.
func (w *world) held(job *scheduler.Job) funding.Amount {
	held := job.Hold
	if job.Mode == funding.Stream {
		w.m.View().RunsOf(job.ID, func(run *scheduler.Run) bool {
			held += run.Hold
			return true
		})
	}
	return held
}

func (w *world) show(a args) string {
	if id, ok := w.jobs[a.word(0)]; ok {
		return w.standing(id)
	}
	if _, ok := w.nodes[a.word(0)]; ok {
		return w.stateOf(a.word(0))
	}
	pool, _ := w.m.View().PoolByName(a.word(0))
	series, _ := w.m.View().Series(pool.ID)
	return fmt.Sprintf("price=%s points=%d", money(funding.Amount(pool.Price)), len(series.Points))
}

// receipt tells the lines, then each deposit: deposited=charged+refunded.
func (w *world) receipt(a args) string {
	r, ok := w.m.View().Receipt(w.jobs[a.word(0)])
	if !ok {
		return "unknown"
	}
	var words []string
	for _, line := range r.Lines {
		words = append(words, fmt.Sprintf("%s=%s", strings.ReplaceAll(line.What, " ", "_"), money(line.Amount)))
	}
	for _, d := range r.Deposits {
		words = append(words, fmt.Sprintf("%d:%s=%s+%s", d.Deposit, money(d.Deposited), money(d.Charged), money(d.Refunded)))
	}
	return strings.Join(append(words, fmt.Sprintf("billed=%v", time.Duration(r.Billed)*time.Millisecond)), " ")
}

func (w *world) reprice(a args) string {
	pool, _ := w.m.View().PoolByName(a.word(0))
	next, moves := scheduler.NextPrice(pool, scheduler.Price(w.m.View().Scheduler(), pool.ID), w.at)
	if !moves {
		return "stays " + money(funding.Amount(pool.Price))
	}
	var answer PriceAnswer
	if code := w.does(Price{Pool: pool.ID, Price: next}, &answer); code != "" {
		return code
	}
	return "price=" + money(funding.Amount(answer.Price))
}

func (w *world) price(a args) string {
	pool, _ := w.m.View().PoolByName(a.word(0))
	var answer PriceAnswer
	if code := w.does(Price{Pool: pool.ID, Price: funding.Rate(credits(w.t, a.word(1)))}, &answer); code != "" {
		return code
	}
	return "price=" + money(funding.Amount(answer.Price))
}

func (w *world) cancel(a args) string {
	name, _, _ := strings.Cut(a.word(0), ".")
	command := Cancel{Job: w.jobs[name], Control: keyOf("control", a.text("key", name)), Signal: int32(a.number("signal", 0))}
	if token := a.text("token", ""); token != "" {
		command.Token = keyOf("token", token)
	}
	if _, ok := a.named["array"]; ok {
		tasks, _ := a.tasks()
		command.Tasks = &tasks
	}
	if code := w.does(command, &CancelAnswer{}); code != "" {
		return code
	}
	return w.happened(w.standing(w.jobs[name]), EventNotice)
}

func (w *world) onHold(a args, on bool) string {
	var answer OnHoldAnswer
	command := OnHold{Job: w.jobs[a.word(0)], Control: keyOf("control", a.text("key", a.word(0))), On: on}
	if code := w.does(command, &answer); code != "" {
		return code
	}
	return fmt.Sprintf("on=%t", answer.On)
}

func (w *world) limit(a args) string {
	command := JobCap{Job: w.jobs[a.word(0)], Control: keyOf("control", a.text("key", a.word(0)))}
	for name, to := range map[string]**funding.Amount{"most": &command.MaxTotal, "others": &command.CapOthers} {
		if _, ok := a.named[name]; ok {
			amount := funding.Amount(a.credits(name, 0))
			*to = &amount
		}
	}
	if limit := a.duration("time", 0); limit != 0 {
		command.TimeLimit = &limit
	}
	if code := w.does(command, &JobCapAnswer{}); code != "" {
		return code
	}
	return w.happened(w.standing(w.jobs[a.word(0)]), EventExtended)
}

// happened adds what the last entry made happen to an outcome.
func (w *world) happened(outcome string, kinds ...EventKind) string {
	for _, e := range w.last.Events {
		if slices.Contains(kinds, e.Kind) {
			outcome += " " + w.told(e)
		}
	}
	return outcome
}

func (w *world) told(e Event) string {
	text := string(e.Kind)
	for name, id := range w.jobs {
		if id == e.Job {
			text += ":" + name
		}
	}
	if e.Task != 0 {
		text += fmt.Sprintf(".%d", e.Task)
	}
	if e.Reason != scheduler.ReasonNone {
		text += "(" + reasons[e.Reason] + ")"
	}
	if e.Until != 0 {
		text += fmt.Sprintf("→%v", time.Duration(e.Until-dayOne)*time.Millisecond)
	}
	return text
}

// alive is an executor's word that a run goes on, or went on so long ago.
func (w *world) alive(a args) string {
	run, id := w.openRun(a.word(0))
	if run == nil {
		return "no run"
	}
	word := Alive{To: w.at - a.duration("ago", 0), Stopped: a.frozen(w.at - a.duration("ago", 0))}
	news := word.News(run)
	if code := w.report(RunReport{Run: run.ID, Alive: &word}); code != "" {
		return code
	}
	if after, _ := w.m.View().Run(run.ID); !news && after != run {
		w.t.Error("it was no news and changed the run")
	}
	return w.happened(w.standing(id), EventSettled, EventResumed)
}

// suspend is an executor's word that a paused run lies on its disk.
func (w *world) suspend(a args) string {
	run, id := w.openRun(a.word(0))
	if run == nil {
		return "no run"
	}
	word := Suspended{At: w.at - a.duration("ago", 0), Stopped: a.frozen(w.at - a.duration("ago", 0))}
	if moves := a.text("stored", ""); moves != "" {
		word.Stored = &scheduler.Stored{Digest: keyOf("state", a.word(0)), Size: a.number("size", 1000), Moves: moves, Stdout: scheduler.Log{Size: 5, Head: 5}}
	}
	news := word.News(run)
	if code := w.report(RunReport{Run: run.ID, Suspended: &word}); code != "" {
		return code
	}
	after, _ := w.m.View().Run(run.ID)
	if !news && after != run {
		w.t.Error("it was no news and changed the run")
	}
	return w.happened(fmt.Sprintf("%v %s", after.State, w.standing(id)), EventSuspended, EventStored)
}

// wake does what the leader does before it places anything, or proposes a run by name.
func (w *world) wake(a args) string {
	due := w.m.View().WakeDue(w.at, 1000)
	for _, word := range a.words {
		run, _ := w.openRun(word)
		if to, ok := w.nodes[a.text("to", "")]; ok && run != nil {
			due.Move = append(due.Move, MoveRun{Run: run.ID, Node: to})
		} else if run != nil {
			due.Wake = append(due.Wake, run.ID)
		}
	}
	var answer PulseAnswer
	if code := w.does(due, &answer); code != "" {
		return code
	}
	return w.happened(fmt.Sprintf("woken=%d of=%d", answer.Done, len(due.Wake)+len(due.Move)), EventResumed, EventRunEnded, EventPlaced, EventPrice)
}

// frozen is a time before a moment in which a run stood still.
func (a args) frozen(before funding.Millis) []Span {
	d := a.duration("frozen", 0)
	if d == 0 {
		return nil
	}
	end := before - a.duration("then", 0)
	return []Span{{From: end - d, To: end}}
}

// runOn lets time pass, second by second or as `each` says, with a leader that proposes what is due,
// and, unless it is silent, an executor that says what goes on.
func (w *world) runOn(a args) string {
	each := a.duration("each", 1000)
	words := []string{}
	for end := w.at + duration(w.t, a.word(0)); w.at < end; {
		w.at = min(end, w.at+each)
		if !a.has("silent") {
			words = append(words, w.heartbeat()...)
		}
		for range 100 {
			pulse, due := w.m.View().Due(w.at)
			if !due {
				break
			}
			var answer PulseAnswer
			if code := w.does(pulse, &answer); code != "" {
				return code
			}
			if answer.Done == 0 {
				w.t.Fatalf("due at %v and yet nothing to do: %+v", time.Duration(w.at-dayOne)*time.Millisecond, pulse)
			}
			for _, e := range w.last.Events {
				if slices.Contains([]EventKind{EventLowFunds, EventPaused, EventResumed, EventNotice, EventEnded}, e.Kind) {
					words = append(words, fmt.Sprintf("%v:%s", time.Duration(w.at-dayOne)*time.Millisecond, w.told(e)))
				}
			}
		}
	}
	if err := w.m.View().CheckWork(each + 1000); err != nil {
		w.t.Error(err)
	}
	if len(words) == 0 {
		return "nothing happens"
	}
	return strings.Join(words, " ")
}

// heartbeat has executors say of all runs that they go on.
func (w *world) heartbeat() (settled []string) {
	var report Report
	w.m.View().runs.ascend(0, func(_ scheduler.RunID, run *scheduler.Run) bool {
		if word := (Alive{To: w.at}); word.News(run) {
			report.Runs = append(report.Runs, RunReport{Run: run.ID, Alive: &word})
		}
		return true
	})
	if len(report.Runs) == 0 {
		return nil
	}
	if code := w.does(report, &ReportAnswer{}); code != "" {
		w.t.Fatal(code)
	}
	for _, e := range w.last.Events {
		if e.Kind == EventSettled {
			settled = append(settled, w.told(e))
		}
	}
	return settled
}

// pulse proposes something that is not due: nothing may come of it.
func (w *world) pulse(a args) string {
	var command Pulse
	for _, word := range a.words[1:] {
		if run, _ := w.openRun(word); run != nil {
			stream := StreamID{Pot: w.jobPot(run.Job), Pool: run.Pool}
			stop := StopRun{Run: run.ID, StopAt: w.at, KillAt: w.at + 1, Reason: scheduler.Reason(slices.Index(reasons, a.text("reason", "")))}
			command.Stop = append(command.Stop, stop)
			command.Pause = append(command.Pause, stream)
			command.Notice = append(command.Notice, stream)
			command.Renew = append(command.Renew, stream)
		}
	}
	var answer PulseAnswer
	if code := w.does(command, &answer); code != "" {
		return code
	}
	return fmt.Sprintf("done=%d skipped=%d", answer.Done, answer.Skipped)
}

func (w *world) jobPot(id scheduler.JobID) funding.PotID {
	job, _ := w.m.View().Job(id)
	return job.Pot
}

func (w *world) forget(a args) string {
	command := Forget{Jobs: []scheduler.JobID{w.jobs[a.word(0)]}}
	if pot, ok := w.pots[a.word(0)]; ok {
		command = Forget{Pots: []funding.PotID{pot}}
	}
	if len(a.words) > 1 { // all that is due
		command, _ = w.m.View().ForgetDue(w.at, 100)
	}
	var answer ForgetAnswer
	if code := w.does(command, &answer); code != "" {
		return code
	}
	if len(a.words) > 1 {
		return fmt.Sprintf("forgotten jobs=%d pots=%d", len(command.Jobs)-len(answer.Refused), len(command.Pots)-len(answer.Pots))
	}
	if len(answer.Pots) > 0 {
		return string(answer.Pots[0].Code)
	}
	if len(answer.Refused) > 0 {
		return string(answer.Refused[0].Code)
	}
	return "forgotten"
}
