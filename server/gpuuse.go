package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/executor/wire"
	"github.com/coinop/coinop/scheduler"
)

// gpuUsePath is where a server asks the leader what runs use of GPUs: executors are connected to the leader alone, and what it hears
// of a run that goes on is in no entry.
const gpuUsePath = "/gpus"

// gpuUses is what one executor's reports say that its runs use of GPUs.
type gpuUses struct {
	mu  sync.Mutex
	all map[scheduler.RunID]api.GPUUse
}

// heard takes in what a report says of a run. What has ended is told with its end.
func (u *gpuUses) heard(s *wire.RunStatus, goesOn bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	id, sum := scheduler.RunID(s.Run), gpuUsage(s.Gpu)
	if !goesOn || sum == nil || s.Gpu.MemoryBytes < 0 || s.Gpu.Processes < 0 {
		delete(u.all, id)
		return
	}
	if u.all == nil {
		u.all = map[scheduler.RunID]api.GPUUse{}
	}
	u.all[id] = api.GPUUse{Sum: *sum, MemoryBytes: s.Gpu.MemoryBytes, Processes: s.Gpu.Processes}
}

func (u *gpuUses) of(run scheduler.RunID) (api.GPUUse, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	use, ok := u.all[run]
	return use, ok
}

// gpuUse is what is known here of runs.
func (x *executors) gpuUse(runs []scheduler.RunID) map[scheduler.RunID]api.GPUUse {
	view, all := x.truth.View(), map[scheduler.RunID]api.GPUUse{}
	for _, id := range runs {
		run, ok := view.Run(id)
		if !ok {
			continue
		}
		if s, here := x.session(run.Node()); here {
			if use, told := s.uses.of(id); told {
				all[id] = use
			}
		}
	}
	return all
}

// gpus answers for runs whose executors may be connected elsewhere.
type gpus struct{ s *Server }

// Use is part of [api.GPUs].
func (g gpus) Use(ctx context.Context, runs []scheduler.RunID) (map[scheduler.RunID]api.GPUUse, error) {
	leader, self := g.s.node.Leader()
	if self || leader.ID == "" {
		return g.s.executors.gpuUse(runs), nil
	}
	body, err := json.Marshal(runs)
	if err != nil {
		return nil, fmt.Errorf("ask the leader about GPUs: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+leader.ID+gpuUsePath, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the leader about GPUs: %w", err)
	}
	resp, err := g.s.peers.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the leader about GPUs: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the leader about GPUs: %s", resp.Status)
	}
	var all map[scheduler.RunID]api.GPUUse
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read what the leader says of GPUs: %w", err)
	}
	return all, nil
}

// servePeerGPUUse answers another server.
func (s *Server) servePeerGPUUse(w http.ResponseWriter, req *http.Request) {
	var runs []scheduler.RunID
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&runs); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(s.executors.gpuUse(runs)) // who has gone asks again
}
