// Command openapigen writes the document of the HTTP interface.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
)

// nowhere is a node without a cluster: the document needs none.
type nowhere struct{ *machine.Machine }

func (nowhere) Propose(context.Context, machine.Command) (machine.Result, error) {
	return machine.Result{}, consensus.ErrNoLeader
}
func (nowhere) Wait(context.Context, uint64) error        { return consensus.ErrNoLeader }
func (nowhere) Linearize(context.Context) (uint64, error) { return 0, consensus.ErrNoLeader }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	a, err := api.New(api.Config{Node: nowhere{machine.New()}})
	if err != nil {
		return err
	}
	raw, err := a.Document()
	if err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return os.WriteFile(os.Args[1], raw, 0o644)
}
