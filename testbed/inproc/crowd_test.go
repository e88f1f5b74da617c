package inproc

import (
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

// More machines come than are let in at a time. Each is in as soon as it was told what it should run, so none waits until
// those before it are counted no more.
func TestMachinesThatComeTogetherDoNotWaitForEachOther(t *testing.T) {
	funded(t, 1, 0, func(c *Cluster, _ client.Secret) {
		for range 40 {
			p := c.AddPuppet()
			began := time.Now()
			p.Connect(c.Leader())
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("machine %s was let in after %v", p.Name, took)
			}
		}
	})
}
