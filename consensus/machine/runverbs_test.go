package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coinop/coinop/scheduler"
)

// run finds a task's open run: j1 is task 0 of j1, j1.5 its task 5.
func (w *world) openRun(name string) (*scheduler.Run, scheduler.JobID) {
	job, task, _ := strings.Cut(name, ".")
	n := int64(0)
	if task != "" {
		n = number(w.t, task)
	}
	var found *scheduler.Run
	w.m.View().RunsOf(w.jobs[job], func(run *scheduler.Run) bool {
		if int64(run.Task) == n {
			found = run
		}
		return found == nil
	})
	return found, w.jobs[job]
}

func (w *world) place(a args) string {
	job, task, _ := strings.Cut(a.word(0), ".")
	decision := Placement{Job: w.jobs[job], Count: int32(a.number("count", 1)), Firm: a.has("firm")}
	if task != "" {
		decision.First = int32(number(w.t, task))
	}
	for _, node := range a.words[1:] {
		if id, ok := w.nodes[node]; ok {
			decision.Nodes = append(decision.Nodes, id)
		}
	}
	return w.placed(Place{Decisions: []Placement{decision}})
}

func (w *world) placed(command Place) string {
	var answer PlaceAnswer
	if code := w.does(command, &answer); code != "" {
		return code
	}
	var words []string
	if n := len(answer.Runs); n > 0 {
		words = append(words, fmt.Sprintf("placed=%d", n))
	}
	for _, refused := range answer.Refused {
		words = append(words, string(refused.Code))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

// placeAll does what the leader does: it decides on a view and proposes.
func (w *world) placeAll(args) string {
	var command Place
	for _, d := range scheduler.Place(w.m.View().Scheduler(), w.at, 1000) {
		command.Decisions = append(command.Decisions, Placement{Job: d.Job, First: d.Task, Nodes: []scheduler.NodeID{d.Node}})
	}
	return w.placed(command)
}

func (w *world) report(r RunReport) string {
	var answer ReportAnswer
	if code := w.does(Report{Runs: []RunReport{r}}, &answer); code != "" {
		return code
	}
	if len(answer.Refused) > 0 {
		return string(answer.Refused[0].Code)
	}
	return ""
}

func (w *world) start(a args) string {
	run, id := w.openRun(a.word(0))
	if run == nil {
		return "no run"
	}
	at := w.at - a.duration("ago", 0)
	if code := w.report(RunReport{Run: run.ID, Started: &at}); code != "" {
		return code
	}
	job, _ := w.m.View().Job(id)
	return jobState(job)
}

var reasons = []string{"", "exited", "signalled", "cancelled", "time", "money", "grace", "memory", "start", "fault", "lost", "drained", "most", "faults", "floor", "noroom", "moved"}

func (w *world) finish(a args) string {
	run, id := w.openRun(a.word(0))
	if run == nil {
		return "no run"
	}
	e := End{
		At: w.at - a.duration("ago", 0), Reason: scheduler.ReasonExited, Exit: int32(a.number("exit", 0)), Signal: int32(a.number("signal", 0)),
		Fault: a.has("fault"), CPUMillis: a.number("cpu", 0), PeakBytes: a.number("peak", 0),
	}
	if e.Signal != 0 {
		e.Reason = scheduler.ReasonSignalled
	}
	if reason := slices.Index(reasons, a.text("reason", "none")); reason > 0 {
		e.Reason = scheduler.Reason(reason)
	}
	e.Stopped = a.frozen(e.At)
	if _, ok := a.named["joules"]; ok {
		e.GPU = &scheduler.GPUUsage{
			Millijoules: a.number("joules", 0) * 1000, Basis: "the GPU", Utilisation: int32(a.number("busy", -1)), PeakBytes: a.number("peak", 0),
			Devices: []string{a.text("device", "a100")},
		}
	}
	report := RunReport{Run: run.ID, Ended: &e}
	if d := a.duration("for", 0); d != 0 { // it also started, unreported until now
		at := e.At - d
		report.Started = &at
	}
	if code := w.report(report); code != "" {
		return code
	}
	return w.standing(id)
}

// standing is how a job stands, with its money.
func (w *world) standing(id scheduler.JobID) string {
	view := w.m.View()
	job, ok := view.Job(id)
	if !ok {
		return "unknown"
	}
	r, _ := view.Receipt(id)
	words := []string{jobState(job)}
	if job.Reason != scheduler.ReasonNone {
		words = append(words, reasons[job.Reason])
	}
	if job.Exit != 0 {
		words = append(words, fmt.Sprintf("exit=%d", job.Exit))
	}
	words = append(words, "charged="+money(r.Charged))
	if job.State != scheduler.JobDone {
		return strings.Join(append(words, fmt.Sprintf("held=%s slots=%d open=%d waiting=%d", money(w.held(job)), job.Slots, job.Open, job.Waiting())), " ")
	}
	if err := r.Check(); err != nil {
		w.t.Error(err)
	}
	return strings.Join(append(words, "refunded="+money(r.Refunded)), " ")
}
