package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Keyset is a set of the mint's keys, as operators see it.
type Keyset struct {
	Keyset      string     `json:"keyset" doc:"its id"`
	Number      uint32     `json:"number"`
	Epoch       uint32     `json:"epoch" doc:"the secret that its keys come from"`
	State       string     `json:"state" enum:"active,retiring,closed"`
	Stopped     bool       `json:"stopped,omitempty" doc:"since an older state was restored: its coins are refused until an operator reconciles it"`
	InputFeePPK uint32     `json:"input_fee_ppk"`
	Expires     *time.Time `json:"expires,omitempty"`
	Outstanding int64      `json:"outstanding_units" doc:"what its coins are worth, as far as this state knows"`
}

// KeysetList is GET /v1/keysets.
type KeysetList struct {
	Keysets []Keyset `json:"keysets"`
}

// KeysetNew is POST /v1/keysets: new keys from the newest secret that the servers have.
type KeysetNew struct {
	Number      uint32  `json:"number" doc:"one above the newest: said so that the same request again makes no second one"`
	InputFeePPK *uint32 `json:"input_fee_ppk,omitempty" doc:"per thousand inputs; left out: as the newest keyset's"`
	LifeMs      int64   `json:"life_ms,omitempty" doc:"how long its coins are good; left out: a year"`
}

// KeysetMove is PUT /v1/keysets/{keyset}.
type KeysetMove struct {
	State string `json:"state" enum:"retiring,closed" doc:"retiring signs nothing new; closed takes no coins any more"`
}

// ReconcileRequest is POST /v1/operator/reconcile: these keysets may go on after an older state was restored.
type ReconcileRequest struct {
	Keysets []string `json:"keysets,omitempty" doc:"their ids; none: all that are stopped"`
}

// ReconcileAnswer tells what goes on now, and what is still stopped.
type ReconcileAnswer struct {
	Going   []Keyset `json:"going"`
	Stopped []Keyset `json:"stopped"`
}

// KeysetList lists the mint's keysets with what is outstanding in them.
func (c *Client) KeysetList(ctx context.Context) (KeysetList, error) {
	return call[KeysetList](ctx, c, http.MethodGet, "/v1/keysets", "", "", nil)
}

// NewKeyset makes a keyset, or finds the one of this number.
func (c *Client) NewKeyset(ctx context.Context, r KeysetNew) (Keyset, error) {
	return call[Keyset](ctx, c, http.MethodPost, "/v1/keysets", "", "", r)
}

// MoveKeyset takes a keyset on to its next state.
func (c *Client) MoveKeyset(ctx context.Context, id string, r KeysetMove) (Keyset, error) {
	return call[Keyset](ctx, c, http.MethodPut, "/v1/keysets/"+url.PathEscape(id), "", "", r)
}

// Reconcile lets keysets go on that a restore has stopped.
func (c *Client) Reconcile(ctx context.Context, r ReconcileRequest) (ReconcileAnswer, error) {
	return call[ReconcileAnswer](ctx, c, http.MethodPost, "/v1/operator/reconcile", "", "", r)
}
