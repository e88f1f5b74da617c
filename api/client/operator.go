package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Nodes lists machines.
func (c *Client) Nodes(ctx context.Context) (NodeList, error) {
	return call[NodeList](ctx, c, http.MethodGet, "/v1/nodes", "", "", nil)
}

// NodesVerbose lists the machines with what is known of each driver.
func (c *Client) NodesVerbose(ctx context.Context) (NodeList, error) {
	return call[NodeList](ctx, c, http.MethodGet, "/v1/nodes?verbose=true", "", "", nil)
}

// Node shows one machine.
func (c *Client) Node(ctx context.Context, name string) (Node, error) {
	return call[Node](ctx, c, http.MethodGet, nodePath(name, ""), "", "", nil)
}

// Drain lets a node take no more work.
func (c *Client) Drain(ctx context.Context, name string, r DrainRequest) (Node, error) {
	return call[Node](ctx, c, http.MethodPost, nodePath(name, "/drain"), "", "", r)
}

// Undrain lets it work again.
func (c *Client) Undrain(ctx context.Context, name string) (Node, error) {
	return call[Node](ctx, c, http.MethodPost, nodePath(name, "/undrain"), "", "", nil)
}

// RemoveNode forgets a node that has no work.
func (c *Client) RemoveNode(ctx context.Context, name string) error {
	if _, err := c.Node(ctx, name); err != nil {
		return err
	}
	_, err := call[Node](ctx, c, http.MethodDelete, nodePath(name, ""), "", "", nil)
	var p *Problem
	if errors.As(err, &p) && p.Code == codeNodeUnknown {
		return nil // by an earlier attempt, whose answer was lost
	}
	return err
}

func nodePath(name, rest string) string { return "/v1/nodes/" + url.PathEscape(name) + rest }

// Pools lists pools with their prices.
func (c *Client) Pools(ctx context.Context) (PoolList, error) {
	return call[PoolList](ctx, c, http.MethodGet, "/v1/pools", "", "", nil)
}

// Prices is a pool's price over time.
func (c *Client) Prices(ctx context.Context, pool string, since time.Time) (Prices, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	return call[Prices](ctx, c, http.MethodGet, "/v1/pools/"+url.PathEscape(pool)+"/prices"+query(q), "", "", nil)
}

// SetPool changes a pool or makes it.
func (c *Client) SetPool(ctx context.Context, pool string, r PoolSet) (Pool, error) {
	return call[Pool](ctx, c, http.MethodPut, "/v1/pools/"+url.PathEscape(pool), "", "", r)
}

// Issue makes a paid quote, locked to a key.
func (c *Client) Issue(ctx context.Context, key string, r IssueRequest) (cashu.MintQuote, error) {
	return call[cashu.MintQuote](ctx, c, http.MethodPost, "/v1/operator/issue", key, "", r)
}

// CreateToken gives a role to a token that the caller has made, or makes a join token.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (TokenAnswer, error) {
	return call[TokenAnswer](ctx, c, http.MethodPost, "/v1/tokens", "", "", r)
}

// Tokens lists tokens, without the tokens themselves.
func (c *Client) Tokens(ctx context.Context) (TokenList, error) {
	return call[TokenList](ctx, c, http.MethodGet, "/v1/tokens", "", "", nil)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := call[TokenAnswer](ctx, c, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), "", "", nil)
	return err
}

// ServerList lists the members of the cluster.
func (c *Client) ServerList(ctx context.Context) (ServerList, error) {
	return call[ServerList](ctx, c, http.MethodGet, "/v1/servers", "", "", nil)
}

// RemoveServer removes a member. A leader that removes itself may leave before it has answered; asked again, the others
// do not know the member any more.
func (c *Client) RemoveServer(ctx context.Context, id string) (ServerList, error) {
	before, err := c.ServerList(ctx)
	if err != nil {
		return ServerList{}, err
	}
	after, err := call[ServerList](ctx, c, http.MethodDelete, "/v1/servers/"+url.PathEscape(id), "", "", nil)
	var p *Problem
	if errors.As(err, &p) && p.Code == codeServerUnknown && slices.ContainsFunc(before.Servers, func(s Server) bool { return s.ID == id }) {
		return c.ServerList(ctx)
	}
	return after, err
}

// MintURL is PUT /v1/operator/mint-url: the one URL by which tokens and payment requests name the mint, whichever
// server has made them.
type MintURL struct {
	URL string `json:"url" doc:"empty: each server names itself"`
}

// ParseMintURL reads a mint's URL as all wallets understand it.
func ParseMintURL(text string) (string, error) {
	a, err := ParseAddress(text)
	switch {
	case err != nil || !strings.Contains(text, "://"):
		return "", fmt.Errorf("%.100q is not a URL: write https://HOST/mint", text)
	case a.Pin != nil:
		return "", fmt.Errorf("%.100q names a fingerprint, which other wallets do not understand", text)
	}
	return a.URL, nil
}

// SetMintURL gives the mint its one public URL.
func (c *Client) SetMintURL(ctx context.Context, m MintURL) (MintURL, error) {
	return call[MintURL](ctx, c, http.MethodPut, "/v1/operator/mint-url", "", "", m)
}

// Totals are the cluster's books.
func (c *Client) Totals(ctx context.Context) (Totals, error) {
	return call[Totals](ctx, c, http.MethodGet, "/v1/totals", "", "", nil)
}

// Snapshot writes the whole state to w.
func (c *Client) Snapshot(ctx context.Context, w io.Writer) (int64, error) {
	return c.copyTo(ctx, Outbound{Method: http.MethodGet, Path: "/v1/snapshot"}, w)
}
