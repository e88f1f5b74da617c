package api

import (
	"math"
	"net/http"
	"sync"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// connects counts the connections to each job's ports, which a browser may open faster than a task takes them.
type connects struct {
	most int
	mu   sync.Mutex
	open map[scheduler.JobID]int // guarded by mu
}

func newConnects(most int) *connects { return &connects{most: most, open: map[scheduler.JobID]int{}} }

// enter takes a place; the function gives it back.
func (c *connects) enter(job scheduler.JobID) (func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[job] >= c.most {
		return nil, fail(codeTooMany, "%d connections to job %d are open, which is as many as one job may have", c.most, job)
	}
	c.open[job]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[job]--; c.open[job] == 0 {
			delete(c.open, job)
		}
	}, nil
}

func readPort(r *http.Request) (uint16, error) {
	n, err := number(r, "connect")
	if err != nil || n < 1 || n > math.MaxUint16 {
		return 0, fail(string(machine.CodeInvalid), "connect: %.20q is no port", r.URL.Query().Get("connect"))
	}
	return uint16(n), nil
}
