package client

import (
	"context"
	"fmt"
	"net/http"

	"github.com/coinop/coinop/funding/cashu"
)

// PrepareDeposit makes a deposit to be written down before it is sent. Bearer is a key of the pot where its
// owner pays, and empty for others.
func PrepareDeposit(fund, key, bearer string, r DepositRequest) (Outbound, error) {
	return Prepare(http.MethodPost, "/v1/funds/"+fund+"/deposits", key, bearer, r)
}

// PreparePot makes the request for a new pot, to be written down before it is sent.
func PreparePot(key string, r PotRequest) (Outbound, error) {
	return Prepare(http.MethodPost, "/v1/pots", key, "", r)
}

// PrepareClaim makes a claim to be written down before it is sent.
func PrepareClaim(refund uint64, key, claim string, r ClaimRequest) (Outbound, error) {
	return Prepare(http.MethodPost, fmt.Sprintf("/v1/refunds/%d", refund), key, claim, r)
}

// Deposit pays into a pot that is known by its fund id.
func (c *Client) Deposit(ctx context.Context, fund, key, bearer string, r DepositRequest) (PotAnswer, error) {
	return call[PotAnswer](ctx, c, http.MethodPost, "/v1/funds/"+fund+"/deposits", key, bearer, r)
}

// CreatePot opens a pot for many jobs.
func (c *Client) CreatePot(ctx context.Context, key string, r PotRequest) (PotAnswer, error) {
	return call[PotAnswer](ctx, c, http.MethodPost, "/v1/pots", key, "", r)
}

// Pot shows a pot; its deposits with the view or control key only.
func (c *Client) Pot(ctx context.Context, fund, bearer string) (Pot, error) {
	return call[Pot](ctx, c, http.MethodGet, "/v1/pots/"+fund, "", bearer, nil)
}

// ClosePot takes no more jobs and no more money; the rest comes back when its jobs have ended.
func (c *Client) ClosePot(ctx context.Context, fund, control string) (Pot, error) {
	return call[Pot](ctx, c, http.MethodDelete, "/v1/pots/"+fund, "", control, nil)
}

// PotChange collects the signatures for the blanks of a pot's own payments.
func (c *Client) PotChange(ctx context.Context, fund, view string) (Change, error) {
	return call[Change](ctx, c, http.MethodGet, "/v1/pots/"+fund+"/change", "", view, nil)
}

// Refunds lists what a claim key may take from a fund.
func (c *Client) Refunds(ctx context.Context, fund, claim string) (RefundList, error) {
	return call[RefundList](ctx, c, http.MethodGet, "/v1/funds/"+fund+"/refunds", "", claim, nil)
}

// Claim takes a refund as coins.
func (c *Client) Claim(ctx context.Context, refund uint64, key, claim string, r ClaimRequest) (Signatures, error) {
	return call[Signatures](ctx, c, http.MethodPost, fmt.Sprintf("/v1/refunds/%d", refund), key, claim, r)
}

// The mint's calls.

// MintInfo tells what the mint supports.
func (c *Client) MintInfo(ctx context.Context) (cashu.Info, error) {
	return call[cashu.Info](ctx, c, http.MethodGet, "/mint/v1/info", "", "", nil)
}

// Keysets lists the mint's keysets.
func (c *Client) Keysets(ctx context.Context) (cashu.KeysetsResponse, error) {
	return call[cashu.KeysetsResponse](ctx, c, http.MethodGet, "/mint/v1/keysets", "", "", nil)
}

// MintKeys are the public keys of the active keysets, or of the one that is named.
func (c *Client) MintKeys(ctx context.Context, id cashu.KeysetID) (cashu.KeysResponse, error) {
	path := "/mint/v1/keys"
	if id != "" {
		path += "/" + string(id)
	}
	return call[cashu.KeysResponse](ctx, c, http.MethodGet, path, "", "", nil)
}

// Swap turns coins into others.
func (c *Client) Swap(ctx context.Context, r cashu.SwapRequest) (cashu.SignaturesResponse, error) {
	return call[cashu.SignaturesResponse](ctx, c, http.MethodPost, "/mint/v1/swap", "", "", r)
}

// MintQuote tells how far a quote is.
func (c *Client) MintQuote(ctx context.Context, id string) (cashu.MintQuote, error) {
	return call[cashu.MintQuote](ctx, c, http.MethodGet, "/mint/v1/mint/quote/voucher/"+id, "", "", nil)
}

// Mint turns a paid quote into coins.
func (c *Client) Mint(ctx context.Context, r cashu.MintRequest) (cashu.SignaturesResponse, error) {
	return call[cashu.SignaturesResponse](ctx, c, http.MethodPost, "/mint/v1/mint/voucher", "", "", r)
}

// CheckState tells which coins are spent.
func (c *Client) CheckState(ctx context.Context, r cashu.CheckStateRequest) (cashu.CheckStateResponse, error) {
	return call[cashu.CheckStateResponse](ctx, c, http.MethodPost, "/mint/v1/checkstate", "", "", r)
}

// Restore gets signatures again.
func (c *Client) Restore(ctx context.Context, r cashu.RestoreRequest) (cashu.RestoreResponse, error) {
	return call[cashu.RestoreResponse](ctx, c, http.MethodPost, "/mint/v1/restore", "", "", r)
}
