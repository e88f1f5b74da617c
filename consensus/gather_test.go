package consensus

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coinop/coinop/consensus/machine"
)

// Entries that gather all have results of their own, whatever they were handed over with.
func TestWhatGathersComesApartAgain(t *testing.T) {
	c := newCluster(t, true, nil)
	m := c.found()
	var wait sync.WaitGroup
	for i := range byte(64) {
		wait.Go(func() {
			// Every second one takes effect, so that a result given to the wrong sender is seen.
			revoked := i%2 == 0
			r, err := m.Propose(t.Context(), machine.Token{Hash: machine.TokenHash{1, i}, Role: machine.RoleView, Revoked: revoked})
			if want := machine.CodeTokenUnknown; err == nil && revoked && r.Code != want {
				err = errors.New("revoking what is not there: " + string(r.Code))
			}
			if err == nil && !revoked {
				err = r.Err()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// Beside somebody's thousand a second an entry is written at once; many are written together, also the first of each
// millisecond, until they are few again.
func TestFewEntriesWaitForNoOthers(t *testing.T) {
	var g gatherer
	at := time.Unix(1000, 0)
	wants := func(what string, after, want time.Duration) {
		t.Helper()
		at = at.Add(after)
		if got := g.waits(at); got != want {
			t.Errorf("%s waits %v, want %v", what, got, want)
		}
	}
	for range 100 {
		wants("one of a thousand a second", time.Millisecond, 0)
	}
	for range 100 {
		wants("one of four thousand a second", 250*time.Microsecond, 0)
	}
	at = at.Add(time.Second)
	for range gatherFrom {
		wants("one of the first at once", 0, 0)
	}
	wants("one more", 100*time.Microsecond, 900*time.Microsecond)
	at = at.Add(900 * time.Microsecond)
	g.began(at, gatherFrom) // they are handed over
	wants("the first after many", 100*time.Microsecond, 900*time.Microsecond)
	at = at.Add(900 * time.Microsecond)
	g.began(at, gatherFrom-1)
	wants("the first after few", 100*time.Microsecond, 0)
	g.began(at, gatherFrom)
	wants("the first after a rest", 2*time.Millisecond, 0)
}
