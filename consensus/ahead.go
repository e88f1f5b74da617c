package consensus

import (
	"errors"
	"io"
	"runtime"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/consensus/machine"
)

// readAhead reads the commands of a batch; those of a large one while others before them are applied.
func readAhead(logs []*raft.Log) func(*raft.Log) machine.Entry {
	const few = 8
	if len(logs) <= few {
		return func(l *raft.Log) machine.Entry { return machine.Read(l.Data) }
	}
	read := make(chan machine.Entry, len(logs)) // it never waits: the batch may end early
	go func() {
		for _, l := range logs {
			if l.Type == raft.LogCommand {
				read <- machine.Read(l.Data)
			}
		}
	}()
	return func(*raft.Log) machine.Entry { return <-read }
}

// restore is [machine.Restore] with all cores.
func restore(r io.Reader) (*machine.Machine, error) {
	restorer, err := machine.NewRestorer(r)
	if err != nil {
		return nil, err
	}
	type decoding struct {
		*machine.Part
		done chan struct{}
	}
	var (
		parts   = make(chan decoding, runtime.GOMAXPROCS(0))
		reading = errgroup.Group{}
	)
	reading.Go(func() error {
		defer close(parts)
		for {
			p, err := restorer.Next()
			if err != nil || p == nil {
				return err
			}
			d := decoding{p, make(chan struct{})}
			go func() {
				p.Decode()
				close(d.done)
			}()
			parts <- d
		}
	})
	for d := range parts {
		if <-d.done; err == nil {
			err = restorer.Load(d.Part)
		}
	}
	if err = errors.Join(reading.Wait(), err); err != nil {
		return nil, err
	}
	return restorer.Machine(), nil
}
