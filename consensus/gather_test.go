package consensus

import (
	"errors"
	"sync"
	"testing"

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
