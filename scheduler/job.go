package scheduler

import "github.com/coinop/coinop/funding"

// Effective is what the job bids with its sponsors' parts.
func (j *Job) Effective() funding.Rate { return j.Bid + j.Boost }

// Waiting is how many tasks have no run and have not ended.
func (j *Job) Waiting() int32 {
	if j.State == JobDone {
		return 0
	}
	return int32(len(j.Requeued)) + max(0, j.Tasks.Last-j.Next+1)
}

// Startable is how many of the waiting tasks may be placed now: those that a hold covers (Slots, in
// either mode), within the array's limit, unless the owner holds the job back or its money has ended.
// Only they wait for a place; only they count for the price.
func (j *Job) Startable() int32 {
	if j.OnHold || (j.State != JobQueued && j.State != JobRunning) {
		return 0
	}
	n := min(j.Waiting(), j.Slots-j.Open)
	if j.AtOnce > 0 {
		n = min(n, j.AtOnce-j.Open)
	}
	return max(0, n)
}

// next is the i-th waiting task: those that wait again go before those never placed.
func (j *Job) next(i int32) int32 {
	if int(i) < len(j.Requeued) {
		return j.Requeued[i]
	}
	return j.Next + i - int32(len(j.Requeued))
}
