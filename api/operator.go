package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

func (a *API) operatorRoutes() {
	register(a, operation("issue", http.MethodPost, "/v1/operator/issue", "operator", "Issue coins: a paid quote, locked to a key"), a.issue)
	register(a, operation("token-create", http.MethodPost, "/v1/tokens", "operator", "Give a token a role, or make a join token"), a.createToken)
	register(a, operation("tokens", http.MethodGet, "/v1/tokens", "operator", "Tokens, by the beginning of their hash"), a.listTokens)
	register(a, operation("token-revoke", http.MethodDelete, "/v1/tokens/{token}", "operator", "End a token"), a.revokeToken)
	register(a, operation("servers", http.MethodGet, "/v1/servers", "cluster", "The members of the cluster"), a.listServers)
	register(a, operation("server-remove", http.MethodDelete, "/v1/servers/{server}", "operator", "Remove a member"), a.removeServer)
	register(a, operation("mint-url", http.MethodPut, "/v1/operator/mint-url", "operator", "Give the mint its one public URL, or none"), a.setMintURL)
	a.handle("GET /v1/snapshot", a.snapshot)
	a.document(huma.Operation{
		OperationID: "snapshot", Method: http.MethodGet, Path: "/v1/snapshot", Tags: []string{"operator"},
		Summary: "The whole state, checksummed; no secret of the mint is in it",
	}, nil, http.StatusOK, []byte(nil))
}

// voucher is the rail by which an operator issues coins against nothing but its word.
const voucher = "voucher"

type issueInput struct{ Body client.IssueRequest }

type quoteStateOutput struct{ Body cashu.MintQuote }

// issue makes a paid quote. Its id follows from the request, so that the same request again names the same quote;
// that it can be known does no harm, since only the holder of the key can mint it.
func (a *API) issue(ctx context.Context, in *issueInput) (*quoteStateOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	token, err := a.operator(ctx, v)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	if c.request == ([16]byte{}) {
		return nil, fail(codeBody, "an issue needs an Idempotency-Key, so that it is not made twice")
	}
	if in.Body.Units <= 0 || in.Body.Units > int64(mint.PayMax) {
		return nil, fail(codeAmount, "units: %d is not from 1 to %d", in.Body.Units, mint.PayMax)
	}
	if in.Body.Pubkey.IsZero() {
		return nil, fail(string(machine.CodeInvalid), "pubkey: is missing")
	}
	id := quoteID(c.request, in.Body.Units, in.Body.Pubkey)
	lock := in.Body.Pubkey
	if _, known := v.Quote(id); !known {
		_, result, err := propose[machine.MintQuoteAnswer](ctx, a, &machine.MintQuote{
			Quote: id, Rail: voucher, Amount: cashu.Units(in.Body.Units), Paid: true, Lock: &lock, Token: token,
		})
		if err != nil {
			return nil, err
		}
		if v, err = a.settled(ctx, result.Index); err != nil {
			return nil, err
		}
	}
	q, ok := v.Quote(id)
	if !ok {
		return nil, consensus.ErrUnknown
	}
	return &quoteStateOutput{quoteView(v, q)}, nil
}

func quoteID(key [16]byte, units int64, pubkey cashu.Point) machine.QuoteID {
	text := append([]byte("coinop/1/issue/"), key[:]...)
	text = strconv.AppendInt(text, units, 10)
	sum := sha256.Sum256(append(text, pubkey[:]...))
	return machine.QuoteID(sum[:16])
}

type tokenCreateInput struct{ Body client.TokenRequest }

type tokenAnswerOutput struct{ Body client.TokenAnswer }

func (a *API) createToken(ctx context.Context, in *tokenCreateInput) (*tokenAnswerOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	by, err := a.operator(ctx, v)
	if err != nil {
		return nil, err
	}
	if in.Body.TTLMs < 0 {
		return nil, fail(string(machine.CodeInvalid), "ttl_ms: %d is negative", in.Body.TTLMs)
	}
	role := machine.RoleOperator
	switch in.Body.Role {
	case "server", "executor":
		return a.joinToken(ctx, in.Body)
	case "submit":
		role = machine.RoleSubmit
	case "view":
		role = machine.RoleView
	}
	hash, err := parseHash("sha256", in.Body.SHA256)
	if err != nil {
		return nil, err
	}
	command := &machine.Token{Hash: hash, Role: role, Name: in.Body.Note, By: by}
	if in.Body.TTLMs > 0 {
		command.Until = a.clusterNow(v) + funding.Millis(in.Body.TTLMs)
	}
	if known, ok := v.Token(hash); !ok || known.Role != role {
		if _, _, err := propose[machine.TokenAnswer](ctx, a, command); err != nil {
			return nil, err
		}
	}
	return &tokenAnswerOutput{client.TokenAnswer{ID: tokenID(hash)}}, nil
}

// joinTokenTTL is how long a join token holds unless it is asked for less.
const joinTokenTTL = time.Hour

func (a *API) joinToken(ctx context.Context, in client.TokenRequest) (*tokenAnswerOutput, error) {
	if a.config.Cluster == nil {
		return nil, fail(codeNotHere, "this server makes no join tokens")
	}
	ttl := joinTokenTTL
	if in.TTLMs > 0 {
		ttl = min(ttl, time.Duration(in.TTLMs)*time.Millisecond)
	}
	token, err := a.config.Cluster.JoinToken(ctx, in.Role, ttl)
	if err != nil {
		return nil, err
	}
	return &tokenAnswerOutput{client.TokenAnswer{Token: token}}, nil
}

func tokenID(hash machine.TokenHash) string { return hexOf(hash[:8]) }

type tokensOutput struct{ Body client.TokenList }

func (a *API) listTokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	v := a.node.View()
	if _, err := a.operator(ctx, v); err != nil {
		return nil, err
	}
	out := &tokensOutput{client.TokenList{Tokens: []client.Token{}}}
	for _, t := range v.Tokens() {
		out.Body.Tokens = append(out.Body.Tokens, client.Token{
			ID: tokenID(t.Hash), Role: roleWord(t.Role), Note: t.Name, Created: clock(t.Made), Expires: clockOf(t.Until), Used: t.Used,
		})
	}
	return out, nil
}

type tokenInput struct {
	Token string `path:"token" doc:"its id: the first 16 hex digits of its SHA-256, or all of them"`
}

func (a *API) revokeToken(ctx context.Context, in *tokenInput) (*tokenAnswerOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	by, err := a.operator(ctx, v)
	if err != nil {
		return nil, err
	}
	id := strings.ToLower(in.Token)
	if len(id) < 16 {
		return nil, fail(string(machine.CodeInvalid), "token: want its id of 16 hex digits, not %d", len(id))
	}
	for _, t := range v.Tokens() {
		if !strings.HasPrefix(hexOf(t.Hash[:]), id) {
			continue
		}
		if _, _, err := propose[machine.TokenAnswer](ctx, a, &machine.Token{Hash: t.Hash, Role: t.Role, Revoked: true, By: by}); err != nil {
			return nil, err
		}
		return &tokenAnswerOutput{client.TokenAnswer{ID: tokenID(t.Hash)}}, nil
	}
	return nil, fail(string(machine.CodeTokenUnknown), "there is no token %.64q", in.Token)
}

type serversOutput struct{ Body client.ServerList }

func (a *API) listServers(ctx context.Context, _ *struct{}) (*serversOutput, error) {
	v := a.node.View()
	cluster := v.Cluster()
	if a.config.Cluster != nil {
		list, err := a.config.Cluster.Members(ctx)
		if err != nil {
			return nil, err
		}
		list.Unit, list.Index, list.Version, list.ClusterID = v.Unit(), v.Index(), a.config.Version, hexOf(cluster[:])
		list.MintURL = v.MintURL()
		return &serversOutput{list}, nil
	}
	out := &serversOutput{client.ServerList{
		ClusterID: hexOf(cluster[:]), Unit: v.Unit(), Index: v.Index(), Version: a.config.Version, MintURL: v.MintURL(), Servers: []client.Server{},
	}}
	for _, s := range v.Servers() {
		out.Body.Servers = append(out.Body.Servers, client.Server{ID: s.ID, HTTP: s.HTTP, Cluster: s.Cluster})
	}
	return out, nil
}

type serverInput struct {
	Server string `path:"server"`
}

func (a *API) removeServer(ctx context.Context, in *serverInput) (*serversOutput, error) {
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := a.operator(ctx, v); err != nil {
		return nil, err
	}
	if a.config.Cluster == nil {
		return nil, fail(codeNotHere, "this server cannot remove members")
	}
	if _, ok := v.Server(in.Server); !ok {
		return nil, fail(string(machine.CodeServerUnknown), "there is no server %.64q", in.Server)
	}
	if err := a.config.Cluster.RemoveServer(ctx, in.Server); err != nil {
		return nil, err
	}
	return a.listServers(ctx, nil)
}

// snapshot writes the state while entries go on being applied.
func (a *API) snapshot(w http.ResponseWriter, r *http.Request) error {
	v, err := a.linear(r.Context())
	if err != nil {
		return err
	}
	if _, err := a.operator(r.Context(), v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(client.HeaderIndex, strconv.FormatUint(v.Index(), 10))
	w.WriteHeader(http.StatusOK)
	if err := machine.Snapshot(v, w); err != nil {
		// The status is sent: only a broken connection tells the client that this is not all.
		panic(http.ErrAbortHandler)
	}
	return nil
}
