package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

// seen names the newest set of orders that was obeyed. A deposed leader, or an answer that took a long way, must not
// bring an older one back, not even to an executor that has just restarted.
type seen struct {
	Cluster string `json:"cluster"`
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"`
}

var (
	errStale        = errors.New("older than what was seen")
	errOtherCluster = errors.New("of another cluster")
)

// check says why desired must be ignored, if it must.
func (s seen) check(d *wire.Desired) error {
	switch {
	case d.GetCluster() == "":
		return fmt.Errorf("orders that name no cluster: %w", errOtherCluster)
	case s.Cluster != "" && d.GetCluster() != s.Cluster:
		return fmt.Errorf("orders of cluster %s, this machine belongs to %s: %w", d.GetCluster(), s.Cluster, errOtherCluster)
	case d.GetTerm() < s.Term || d.GetApplied() < s.Applied:
		return fmt.Errorf("orders of term %d, index %d after term %d, index %d: %w",
			d.GetTerm(), d.GetApplied(), s.Term, s.Applied, errStale)
	}
	return nil
}

// The file holds one line of fixed length with a sum, written in place: it changes with every set, hundreds of times a
// second, and nobody reads it while it is written. Only a new term is synced: after a crash of the machine itself no
// task is left that an older set of the same leader could harm.
const seenBytes = 256

func (e *Executor) openSeen() error {
	path := filepath.Join(e.layout.dir, "seen")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seenIn = f
	line := make([]byte, seenBytes)
	n, err := f.ReadAt(line, 0)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil // new here
	}
	if err == nil {
		err = e.seen.decode(line)
	}
	if err != nil {
		e.log.Warn("starting without the newest set that was seen: the machine must have crashed while it was written",
			"file", path, "error", err)
	}
	return nil
}

// advanceSeen keeps what is about to be obeyed. The caller holds mu.
func (e *Executor) advanceSeen(d *wire.Desired) error {
	next := seen{Cluster: d.GetCluster(), Term: d.GetTerm(), Applied: d.GetApplied()}
	if next == e.seen {
		return nil
	}
	line, err := next.encode()
	if err == nil {
		_, err = e.seenIn.WriteAt(line, 0)
	}
	if err == nil && (next.Term != e.seen.Term || next.Cluster != e.seen.Cluster) {
		err = e.seenIn.Sync()
	}
	if diskTrouble(err) && next.Term == e.seen.Term && next.Cluster == e.seen.Cluster {
		// The tasks that run here need their leases; against an older set of the same term, memory is enough.
		e.offerNothing(err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("keep term %d, index %d as seen: %w", next.Term, next.Applied, err)
	}
	e.seen = next
	return nil
}

func (s seen) encode() ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if len(body) > seenBytes-10 {
		return nil, fmt.Errorf("cluster id of %d bytes is too long", len(s.Cluster))
	}
	return fmt.Appendf(nil, "%s %-*s\n", sumOf(body), seenBytes-10, body), nil
}

func (s *seen) decode(line []byte) error {
	_, body, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	if !found {
		return errors.New("no sum")
	}
	var next seen
	if err := json.Unmarshal([]byte(body), &next); err != nil {
		return err
	}
	if again, err := next.encode(); err != nil || !bytes.Equal(again, line) {
		return errors.New("the sum is wrong")
	}
	*s = next
	return nil
}

// obey makes desired what this machine strives for. sent is the boot time at which the answered report was sent.
func (e *Executor) obey(ctx context.Context, d *wire.Desired, sent int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.seen.check(d); err != nil {
		return err
	}
	if err := e.advanceSeen(d); err != nil {
		return err
	}
	e.learn(d.GetServers())
	if at := d.GetAtUnixMs(); at != 0 {
		e.clock = clock{boot: e.config.Boot(), unixMillis: at}
	}
	if ms := d.GetLeaseMs(); ms > 0 {
		e.lease = max(e.lease, sent+ms*int64(time.Millisecond))
	}
	if !d.GetSame() {
		e.reconcile(ctx, d.GetOrders(), sent)
	}
	poke(e.renew)
	return nil
}
