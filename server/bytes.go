package server

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/coinop/coinop/consensus/blobs"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// blobBytesMax bounds one blob.
const blobBytesMax = 64 << 30

func (s *Server) blobConfig() blobs.Config {
	refs := &references{view: s.node.View}
	return blobs.Config{
		Dir: filepath.Join(s.config.Dir, "blobs"), SizeMax: blobBytesMax, Log: s.config.Log,
		Peers: func() []blobs.Peer {
			var peers []blobs.Peer
			for _, p := range s.node.Peers() {
				peers = append(peers, blobs.HTTPPeer{ID: p.ID, Base: "http://" + p.ID, Client: s.peers})
			}
			return peers
		},
		Referenced: func(d blobs.Digest) bool { return refs.has(d) },
	}
}

// referencesFor is how long one look at what the state names is good for; the grace of blobs is an hour.
const referencesFor = time.Minute

// references knows which bytes the state names. It walks the state at most once a minute, while blobs are swept.
type references struct {
	view func() *machine.View

	mu   sync.Mutex
	at   time.Time             // guarded by mu
	seen map[[32]byte]struct{} // guarded by mu
}

func (r *references) has(d [32]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || time.Since(r.at) > referencesFor {
		r.at, r.seen = time.Now(), named(r.view())
	}
	_, ok := r.seen[d]
	return ok
}

// named collects the digests of all inputs, logs, outputs and suspended states of the jobs in memory.
func named(view *machine.View) map[[32]byte]struct{} {
	seen := map[[32]byte]struct{}{}
	view.Jobs(0, func(job *scheduler.Job) bool {
		if work, err := scheduler.DecodeWork(job.Spec); err == nil {
			for _, in := range work.Inputs {
				seen[in.Digest] = struct{}{}
			}
		}
		view.RunsOf(job.ID, func(run *scheduler.Run) bool {
			if stored := run.Kept(); stored != nil {
				seen[stored.Digest], seen[stored.Stdout.Digest], seen[stored.Stderr.Digest] = struct{}{}, struct{}{}, struct{}{}
			}
			return true
		})
		view.FilesOf(job.ID, func(f *machine.RunFiles) bool {
			seen[f.Stdout.Digest], seen[f.Stderr.Digest] = struct{}{}, struct{}{}
			for _, out := range f.Outputs {
				seen[out.Digest] = struct{}{}
			}
			return true
		})
		return true
	})
	return seen
}
