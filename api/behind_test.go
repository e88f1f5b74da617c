package api_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
)

// behind is a server that has just started: it knows nothing until it asks how far the log is.
type behind struct {
	*world
	nothing *machine.View
	caught  atomic.Bool
}

func (b *behind) View() *machine.View {
	if b.caught.Load() {
		return b.world.View()
	}
	return b.nothing
}

func (b *behind) Linearize(ctx context.Context) (uint64, error) {
	b.caught.Store(true)
	return b.world.Linearize(ctx)
}

// Who is refused takes the coins for free again. So a server that knows of no pool, no pot and no keyset yet looks
// again before it refuses what another one has taken.
func TestAServerThatIsBehindRefusesNothingOfItsOwn(t *testing.T) {
	ctx := context.Background()
	late := &behind{nothing: machine.New().View()}
	w := newWorld(t, func(c *api.Config) {
		late.world, _ = c.Node.(*world)
		c.Node = late
	})
	fellBack := func() *client.Client {
		late.caught.Store(false)
		return w.client("") // one that has seen no index
	}
	late.caught.Store(true)
	p := w.purse()
	secret, pot := client.NewSecret(), client.NewSecret()
	job := paid(p, p.issue(1000), order(secret))
	key := newKey()
	first, err := w.c.Submit(ctx, key, "", job)
	if err != nil {
		t.Fatal(err)
	}
	again, err := fellBack().Submit(ctx, key, "", job)
	if err != nil || again.Job != first.Job || len(again.Signatures) != len(first.Signatures) {
		t.Errorf("the submission again: %+v, %v", again, err)
	}
	if _, err := fellBack().Job(ctx, first.Job, secret.Key("view")); err != nil {
		t.Errorf("the job: %v", err)
	}
	late.caught.Store(true)
	swap := cashu.SwapRequest{Inputs: p.issue(64), Outputs: p.outputs(32, 32)}
	if _, err := fellBack().Swap(ctx, swap); err != nil {
		t.Errorf("a swap: %v", err)
	}
	late.caught.Store(true)
	deposit := func() client.Payment {
		return client.Payment{Pay: 64, Inputs: p.issue(64), Blanks: p.blanks(7)}
	}
	payment := deposit()
	if _, err := fellBack().CreatePot(ctx, newKey(), client.PotRequest{Keys: pot.Keys(), Payment: payment}); err != nil {
		t.Errorf("a pot: %v", err)
	}
	late.caught.Store(true)
	payment = deposit()
	if _, err := fellBack().Deposit(ctx, pot.Key("fund"), newKey(), "", client.DepositRequest{Payment: payment}); err != nil {
		t.Errorf("a deposit: %v", err)
	}
	_, err = fellBack().Claim(ctx, 99, newKey(), pot.Key("claim"), client.ClaimRequest{Outputs: p.outputs(1)})
	wantProblem(t, err, 404, "refund_unknown")
}
