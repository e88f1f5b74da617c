package api

import (
	"context"
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
)

type mintURLInput struct{ Body client.MintURL }

type mintURLOutput struct{ Body client.MintURL }

// setMintURL gives the mint its one public URL. The same again changes nothing.
func (a *API) setMintURL(ctx context.Context, in *mintURLInput) (*mintURLOutput, error) {
	_, token, err := a.asOperator(ctx)
	if err != nil {
		return nil, err
	}
	url := in.Body.URL
	if url != "" {
		if url, err = client.ParseMintURL(url); err != nil {
			return nil, fail(string(machine.CodeInvalid), "url: %v", err)
		}
	}
	answer, _, err := propose[machine.MintURLAnswer](ctx, a, &machine.MintURL{URL: url, Token: token})
	if err != nil {
		return nil, err
	}
	return &mintURLOutput{client.MintURL{URL: answer.URL}}, nil
}

// mintURL is where wallets find the mint: the one URL that the operator has said, or else what this request came by.
func (a *API) mintURL(r *http.Request) string {
	if url := a.recentView(r.Context()).MintURL(); url != "" {
		return url
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + "/mint"
}
