package scheduler

//go:generate go run ./internal/lifecycle lifecycle.md
//go:generate go run ./internal/lifecycle ../ARCHITECTURE.md

// Event is what can happen to a job or to a run.
type Event uint8

// Events of jobs and runs.
const (
	EventPlace   Event = iota + 1 // a task is given a node
	EventStart                    // its first process runs
	EventPause                    // the money has ended for now
	EventResume                   // money has come
	EventNotice                   // it is told why and by when it will be stopped
	EventSpare                    // the reason for the notice has gone
	EventEnd                      // of a run: by itself or stopped; of a job: with its last task, or cancelled
	EventAgain                    // its last open run ended and tasks wait: placed again, or never yet
	EventSuspend                  // its state lies on disk: its place is given back
)

// JobNew and RunNew are what a job and a run are before they exist.
const (
	JobNew JobState = 0
	RunNew RunState = 0
)

// EventSubmit opens a job.
const EventSubmit Event = 32

// JobStep is one line of the jobs' table.
type JobStep struct {
	From JobState
	On   Event
	To   JobState
}

// RunStep is one line of the runs' table.
type RunStep struct {
	From RunState
	On   Event
	To   RunState
}

// JobSteps lists every step that a job can take; there are no others.
func JobSteps() []JobStep {
	return []JobStep{
		{JobNew, EventSubmit, JobQueued},
		{JobQueued, EventPlace, JobRunning},
		{JobQueued, EventPause, JobPaused}, // nothing runs, and nothing covers what waits
		{JobQueued, EventEnd, JobDone},
		{JobRunning, EventPlace, JobRunning},
		{JobRunning, EventAgain, JobQueued},
		{JobRunning, EventPause, JobPaused},
		{JobRunning, EventEnd, JobDone},
		{JobPaused, EventResume, JobRunning},
		{JobPaused, EventAgain, JobQueued},
		{JobPaused, EventEnd, JobDone},
	}
}

// RunSteps lists every step that a run can take; there are no others. A frozen run is running: its
// executor holds it still while the lease has lapsed, which nobody decides.
func RunSteps() []RunStep {
	return []RunStep{
		{RunNew, EventPlace, RunPlaced},
		{RunPlaced, EventStart, RunRunning},
		{RunPlaced, EventNotice, RunStopping},
		{RunPlaced, EventEnd, RunEnded},
		{RunRunning, EventPause, RunPaused},
		{RunRunning, EventNotice, RunStopping},
		{RunRunning, EventEnd, RunEnded},
		{RunPaused, EventResume, RunRunning},
		{RunPaused, EventSuspend, RunSuspended},
		{RunPaused, EventNotice, RunStopping},
		{RunPaused, EventEnd, RunEnded},
		{RunSuspended, EventResume, RunRunning}, // money has come, and there is room on its node
		{RunSuspended, EventNotice, RunStopping},
		{RunSuspended, EventEnd, RunEnded},
		{RunStopping, EventStart, RunStopping}, // it had started when it was told to stop
		{RunStopping, EventNotice, RunStopping},
		{RunStopping, EventSpare, RunRunning},
		{RunStopping, EventEnd, RunEnded},
	}
}

// On is the state after an event, and whether the event can happen in this state.
func (s JobState) On(e Event) (JobState, bool) {
	for _, step := range JobSteps() {
		if step.From == s && step.On == e {
			return step.To, true
		}
	}
	return s, false
}

// On is the state after an event, and whether the event can happen in this state.
func (s RunState) On(e Event) (RunState, bool) {
	for _, step := range RunSteps() {
		if step.From == s && step.On == e {
			return step.To, true
		}
	}
	return s, false
}
