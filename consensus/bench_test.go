package consensus

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/coinop/coinop/consensus/machine"
)

const inFlight = 64

// BenchmarkPropose compares entries through a node with the same bytes through raft alone, on the
// same kind of log, in the same run.
func BenchmarkPropose(b *testing.B) {
	var node, bare float64
	b.Run("node", func(b *testing.B) {
		c := newCluster(b, true, nil)
		m := c.found()
		var next atomic.Int64
		b.ResetTimer()
		hammer(b, func() error {
			// Revoking what is not there is refused, so the state stays small and the log is measured.
			r, err := m.Propose(b.Context(), machine.Token{Hash: machine.TokenHash{1, byte(next.Add(1))}, Revoked: true})
			if err == nil && r.Code != machine.CodeTokenUnknown {
				err = fmt.Errorf("result %s", r.Code)
			}
			return err
		})
		node = float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(node, "entries/s")
	})
	b.Run("bare", func(b *testing.B) {
		r := bareRaft(b)
		entry := mustEncode(machine.Token{Hash: machine.TokenHash{1}, Revoked: true}, 1)
		b.ResetTimer()
		hammer(b, func() error { return r.Apply(entry, time.Second).Error() })
		bare = float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(bare, "entries/s")
	})
	if node > 0 && bare > 0 {
		b.Logf("node %.0f/s, bare raft %.0f/s, ratio %.2f", node, bare, node/bare)
	}
}

func hammer(b *testing.B, one func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wait sync.WaitGroup
	for range inFlight {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func bareRaft(b *testing.B) *raft.Raft {
	b.Helper()
	n, err := New(Config{Dir: filepath.Join(b.TempDir(), "node"), ClusterAddr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	log, err := wal.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	addr, transport := raft.NewInmemTransport("")
	notify := make(chan bool, 4)
	config := n.raftConfig("one", notify)
	snapshots := raft.NewInmemSnapshotStore()
	first := raft.Configuration{Servers: []raft.Server{{ID: "one", Address: addr}}}
	if err := raft.BootstrapCluster(config, log, log, snapshots, transport, first); err != nil {
		b.Fatal(err)
	}
	r, err := raft.NewRaft(config, &raft.MockFSM{}, log, log, snapshots, transport)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			b.Error(err)
		}
		log.Close()
	})
	<-notify
	return r
}
