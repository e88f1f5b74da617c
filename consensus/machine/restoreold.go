package machine

import (
	"fmt"
	"io"
)

// StopKeysets rewrites a snapshot for a cluster that is to begin from it: every keyset is stopped,
// because the snapshot may be older than what was spent and signed since, and the keys know nothing
// of it. New keysets can be made at once; the old ones wait for [Reconcile].
func StopKeysets(from io.Reader, to io.Writer) error {
	m, err := Restore(from)
	if err != nil {
		return err
	}
	s := m.state
	for _, record := range list(s.keysets.freeze()) {
		stopped := *record
		stopped.Stopped = true
		s.keysets.put(stopped.Number, &stopped)
	}
	s.keysets.merge()
	if err := Snapshot(m.View(), to); err != nil {
		return fmt.Errorf("stop keysets: %w", err)
	}
	return nil
}
