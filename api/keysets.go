package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

func (a *API) keysetRoutes() {
	register(a, operation("keysets", http.MethodGet, "/v1/keysets", "money", "The mint's keysets, and what is outstanding in each"), a.listKeysets)
	register(a, operation("keyset-new", http.MethodPost, "/v1/keysets", "operator", "Make a keyset: wallets change to the newest"), a.newKeyset)
	register(a, operation("keyset-move", http.MethodPut, "/v1/keysets/{keyset}", "operator", "Let a keyset retire, or close it"), a.moveKeyset)
	register(a, operation("reconcile", http.MethodPost, "/v1/operator/reconcile", "operator",
		"Let keysets go on that were stopped because an older state was restored"), a.reconcile)
}

type keysetListOutput struct{ Body client.KeysetList }

func (a *API) listKeysets(ctx context.Context, _ *struct{}) (*keysetListOutput, error) {
	v := a.recentView(ctx)
	out := &keysetListOutput{client.KeysetList{Keysets: []client.Keyset{}}}
	for _, k := range v.Keysets() {
		out.Body.Keysets = append(out.Body.Keysets, keysetView(v, k))
	}
	return out, nil
}

func keysetView(v *machine.View, k *machine.KeysetRecord) client.Keyset {
	account := funding.Account{Kind: funding.LiabilityCoins, ID: uint64(k.Number)}
	out := client.Keyset{
		Keyset: string(k.ID), Number: uint32(k.Number), Epoch: uint32(k.Epoch), State: k.StateAt(int64(v.At())).String(),
		Stopped: k.Stopped, InputFeePPK: k.InputFeePPK, Outstanding: int64(v.Balance(account) / funding.UnitMicro),
	}
	if k.FinalExpiry != 0 {
		expires := time.Unix(k.FinalExpiry, 0).UTC()
		out.Expires = &expires
	}
	return out
}

type keysetNewInput struct{ Body client.KeysetNew }

type keysetOutput struct{ Body client.Keyset }

// newKeyset names the number that it makes, so that the same request again finds it instead of making another.
func (a *API) newKeyset(ctx context.Context, in *keysetNewInput) (*keysetOutput, error) {
	v, token, err := a.asOperator(ctx)
	if err != nil {
		return nil, err
	}
	number := mint.KeysetNumber(in.Body.Number)
	if known := keysetNumbered(v, number); known != nil {
		return &keysetOutput{keysetView(v, known)}, nil
	}
	if a.config.Cluster == nil {
		return nil, fail(codeNotHere, "this server makes no keysets")
	}
	all := v.Keysets()
	newest := all[len(all)-1]
	if number != newest.Number+1 {
		return nil, fail(string(machine.CodeInvalid), "number: the next keyset is number %d", newest.Number+1)
	}
	life, fee := mint.KeysetLife*time.Second, newest.InputFeePPK
	if in.Body.LifeMs < 0 || in.Body.LifeMs > int64(funding.MillisMax) {
		return nil, fail(string(machine.CodeInvalid), "life_ms: %d is not from 1 ms to a hundred years", in.Body.LifeMs)
	}
	if in.Body.LifeMs > 0 {
		life = time.Duration(in.Body.LifeMs) * time.Millisecond
	}
	if in.Body.InputFeePPK != nil {
		if fee = *in.Body.InputFeePPK; fee > mint.InputFeePPKMax {
			return nil, fail(string(machine.CodeInvalid), "input_fee_ppk: %d is not from 0 to %d", fee, mint.InputFeePPKMax)
		}
	}
	spec, err := a.config.Cluster.NewKeyset(number, v.Unit(), fee, clock(a.clusterNow(v)).Add(life))
	if err != nil {
		return nil, err
	}
	return a.afterKeyset(ctx, &machine.Keyset{New: &spec, Token: token}, number)
}

type keysetMoveInput struct {
	Keyset string `path:"keyset"`
	Body   client.KeysetMove
}

func (a *API) moveKeyset(ctx context.Context, in *keysetMoveInput) (*keysetOutput, error) {
	v, token, err := a.asOperator(ctx)
	if err != nil {
		return nil, err
	}
	k, err := findKeyset(v, in.Keyset)
	if err != nil {
		return nil, err
	}
	to := mint.KeysetRetiring
	if in.Body.State == mint.KeysetClosed.String() {
		to = mint.KeysetClosed
	}
	return a.afterKeyset(ctx, &machine.Keyset{Number: k.Number, State: to, Token: token}, k.Number)
}

func (a *API) afterKeyset(ctx context.Context, c *machine.Keyset, number mint.KeysetNumber) (*keysetOutput, error) {
	_, result, err := propose[machine.KeysetAnswer](ctx, a, c)
	if err != nil {
		return nil, err
	}
	v, err := a.settled(ctx, result.Index)
	if err != nil {
		return nil, err
	}
	k := keysetNumbered(v, number)
	if k == nil {
		return nil, consensus.ErrUnknown
	}
	return &keysetOutput{keysetView(v, k)}, nil
}

type reconcileInput struct{ Body client.ReconcileRequest }

type reconcileOutput struct{ Body client.ReconcileAnswer }

// reconcile lets stopped keysets go on: those that are named, else all.
func (a *API) reconcile(ctx context.Context, in *reconcileInput) (*reconcileOutput, error) {
	v, token, err := a.asOperator(ctx)
	if err != nil {
		return nil, err
	}
	var numbers []mint.KeysetNumber
	for _, id := range in.Body.Keysets {
		k, err := findKeyset(v, id)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, k.Number)
	}
	if len(in.Body.Keysets) == 0 {
		for _, k := range v.Keysets() {
			if k.Stopped {
				numbers = append(numbers, k.Number)
			}
		}
	}
	if len(numbers) > 0 {
		_, result, err := propose[machine.ReconcileAnswer](ctx, a, &machine.Reconcile{Keysets: numbers, Token: token})
		if err != nil {
			return nil, err
		}
		if v, err = a.settled(ctx, result.Index); err != nil {
			return nil, err
		}
	}
	out := &reconcileOutput{client.ReconcileAnswer{Going: []client.Keyset{}, Stopped: []client.Keyset{}}}
	for _, k := range v.Keysets() {
		switch {
		case k.Stopped:
			out.Body.Stopped = append(out.Body.Stopped, keysetView(v, k))
		case slices.Contains(numbers, k.Number):
			out.Body.Going = append(out.Body.Going, keysetView(v, k))
		}
	}
	return out, nil
}

// asOperator is the state with all that was acknowledged, for a caller who may change what operators do.
func (a *API) asOperator(ctx context.Context) (*machine.View, machine.TokenHash, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, machine.TokenHash{}, err
	}
	token, err := a.operator(ctx, v)
	return v, token, err
}

func keysetNumbered(v *machine.View, number mint.KeysetNumber) *machine.KeysetRecord {
	for _, k := range v.Keysets() {
		if k.Number == number {
			return k
		}
	}
	return nil
}

func findKeyset(v *machine.View, id string) (*machine.KeysetRecord, error) {
	for _, k := range v.Keysets() {
		if k.ID == cashu.KeysetID(id) {
			return k, nil
		}
	}
	return nil, fail(codeNotFound, "there is no keyset %.66q", id)
}
