package scheduler

import "strconv"

// The words below are the ones that people and scripts see: a state is never renamed.

// String is the state's name.
func (s JobState) String() string {
	return word(int(s), "new", "queued", "running", "paused", "done")
}

// String is the state's name.
func (s RunState) String() string {
	return word(int(s), "new", "placed", "running", "paused", "stopping", "ended", "suspended")
}

// String is the state's name.
func (s NodeState) String() string {
	return word(int(s), "", "up", "draining", "lost", "quarantined", "removed")
}

// String is the event's name.
func (e Event) String() string {
	if e == EventSubmit {
		return "submit"
	}
	return word(int(e), "", "place", "start", "pause", "resume", "notice", "spare", "end", "again", "suspend")
}

// String is the reason's name; without a reason it is empty.
func (r Reason) String() string {
	return word(int(r), "", "exited", "signalled", "cancelled", "time_limit", "money_end", "pause_grace", "out_of_memory",
		"start_failed", "fault", "node_lost", "drained", "max_total", "faults_twice", "floor", "no_room", "moved")
}

// String is the admission's name.
func (a Admission) String() string { return word(int(a), "", "open", "trusted") }

func word(i int, words ...string) string {
	if i >= 0 && i < len(words) {
		return words[i]
	}
	return strconv.Itoa(i)
}
