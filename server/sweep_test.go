package server

import (
	"context"
	"log/slog"
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// alone is a truth of one machine.
type alone struct {
	*machine.Machine
	now      funding.Millis
	proposed []machine.Command
}

func (a *alone) Now() funding.Millis { return a.now }

func (a *alone) Propose(_ context.Context, c machine.Command) (machine.Result, error) {
	a.proposed = append(a.proposed, c)
	entry, err := machine.Encode(a.now, c)
	if err != nil {
		return machine.Result{}, err
	}
	return a.Apply(a.View().Index()+1, entry), nil
}

// What an expired keyset leaves goes by the leader's pulse, and a quiet cluster is quiet again.
func TestTheLeaderSweepsWhatAnExpiredKeysetLeaves(t *testing.T) {
	const day = 86_400_000
	truth := &alone{Machine: machine.New(), now: 1_800_000_000_000}
	l := &leader{truth: truth, news: newNews(), lost: func() []scheduler.NodeID { return nil }, log: slog.New(slog.DiscardHandler)}
	operator, expiry := machine.TokenHash{1}, int64(truth.now+day)/1000
	keyset, err := mint.Define(mint.Epoch{Number: 1}, 1, "credit", 0, expiry)
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.KeysetSpec{ID: keyset.ID, Epoch: 1, FinalExpiry: expiry, Number: 1}
	for _, key := range keyset.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	coin := mint.Allowed{B_: cashu.Point{2, 7}, Keyset: 1, Power: 3}
	for _, c := range []machine.Command{
		machine.Init{Cluster: machine.ClusterID{1}, Unit: "credit", Format: 1, Keyset: spec, Operator: operator, Pools: []scheduler.Pool{{
			Name: "default", Admission: scheduler.Open, Weights: scheduler.Weights{CPU: 1000}, Floor: 1, DefaultBid: 1, TimeDefault: 1000, TimeMax: day,
			Tranche: 1000, Tick: 1000, ArrayMax: 1, Drivers: []string{"process"},
		}}},
		machine.MintQuote{Quote: machine.QuoteID{1}, Rail: machine.RailVoucher, Amount: 8, Paid: true, Token: operator},
		machine.Mint{Request: machine.RequestID{Fingerprint: [32]byte{1}}, Quote: machine.QuoteID{1}, Outputs: []mint.Allowed{coin}},
	} {
		if r, err := truth.Propose(t.Context(), c); err != nil || r.Code != machine.OK {
			t.Fatal(r.Code, r.Detail, err)
		}
	}
	looks := func() int {
		truth.proposed = nil
		for range 10 {
			if _, err := l.pulse(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return len(truth.proposed)
	}
	if n := looks(); n != 0 {
		t.Errorf("%d entries while the keyset goes on: %+v", n, truth.proposed)
	}
	truth.now += 2 * day
	if n := looks(); n != 1 || truth.View().OutputAt(coin.B_).Status != mint.OutputFree {
		t.Errorf("%d entries once it has expired, and the output is %s", n, truth.View().OutputAt(coin.B_).Status)
	}
}
