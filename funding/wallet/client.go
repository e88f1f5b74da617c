package wallet

import (
	"context"
	"errors"

	"github.com/coinop/coinop/funding/cashu"
)

// MintClient is what a wallet asks of a mint. A refusal is a *cashu.Error;
// any other error leaves open whether the mint has acted.
type MintClient interface {
	Info(ctx context.Context) (cashu.Info, error)
	Keysets(ctx context.Context) (cashu.KeysetsResponse, error)
	Keys(ctx context.Context, id cashu.KeysetID) (cashu.KeysResponse, error)
	Swap(ctx context.Context, request cashu.SwapRequest) (cashu.SignaturesResponse, error)
	CheckState(ctx context.Context, request cashu.CheckStateRequest) (cashu.CheckStateResponse, error)
	Restore(ctx context.Context, request cashu.RestoreRequest) (cashu.RestoreResponse, error)
	MintQuote(ctx context.Context, method, quote string) (cashu.MintQuote, error)
	Mint(ctx context.Context, method string, request cashu.MintRequest) (cashu.SignaturesResponse, error)
}

// IsRefusal reports whether a mint has definitely refused, so that nothing was
// spent.
func IsRefusal(err error) bool {
	var refusal *cashu.Error
	return errors.As(err, &refusal)
}
