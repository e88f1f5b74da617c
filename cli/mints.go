package cli

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
)

// mints are one mint's addresses: the cluster's servers. Each call goes to the first that answers; what one of them
// may have done already, another answers as the first would have, so asking on is safe.
type mints []wallet.MintClient

// mintWait is how long a server has for an answer of the mint before the next one is tried.
const mintWait = 10 * time.Second

// newMints makes the mint's calls through the connections that the others go through too.
func newMints(connections http.RoundTripper, servers []string) mints {
	client := &http.Client{Timeout: mintWait, Transport: connections}
	var m mints
	for _, s := range servers {
		m = append(m, wallet.NewHTTPMint(client, s+mintPath))
	}
	return m
}

// first asks one after the other until one answers or refuses.
func first[T any](ctx context.Context, m mints, ask func(wallet.MintClient) (T, error)) (T, error) {
	var (
		failed []error
		none   T
	)
	for _, one := range m {
		answer, err := ask(one)
		if err == nil || wallet.IsRefusal(err) || ctx.Err() != nil {
			return answer, err
		}
		failed = append(failed, err)
	}
	return none, errors.Join(failed...)
}

func (m mints) Info(ctx context.Context) (cashu.Info, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.Info, error) { return c.Info(ctx) })
}

func (m mints) Keysets(ctx context.Context) (cashu.KeysetsResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.KeysetsResponse, error) { return c.Keysets(ctx) })
}

func (m mints) Keys(ctx context.Context, id cashu.KeysetID) (cashu.KeysResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.KeysResponse, error) { return c.Keys(ctx, id) })
}

func (m mints) Swap(ctx context.Context, r cashu.SwapRequest) (cashu.SignaturesResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.SignaturesResponse, error) { return c.Swap(ctx, r) })
}

func (m mints) CheckState(ctx context.Context, r cashu.CheckStateRequest) (cashu.CheckStateResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.CheckStateResponse, error) { return c.CheckState(ctx, r) })
}

func (m mints) Restore(ctx context.Context, r cashu.RestoreRequest) (cashu.RestoreResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.RestoreResponse, error) { return c.Restore(ctx, r) })
}

func (m mints) MintQuote(ctx context.Context, method, quote string) (cashu.MintQuote, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.MintQuote, error) { return c.MintQuote(ctx, method, quote) })
}

func (m mints) Mint(ctx context.Context, method string, r cashu.MintRequest) (cashu.SignaturesResponse, error) {
	return first(ctx, m, func(c wallet.MintClient) (cashu.SignaturesResponse, error) { return c.Mint(ctx, method, r) })
}
