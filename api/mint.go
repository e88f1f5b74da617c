package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// mintRoutes are the protocol's own calls, for any wallet: its paths, its JSON, its errors. They carry no ambient
// right of anybody, so pages of other sites may call them: wallets live in web pages too.
func (a *API) mintRoutes() {
	a.mintCall("GET /mint/v1/info", a.mintInfo)
	a.mintCall("GET /mint/v1/keysets", a.mintKeysets)
	a.mintCall("GET /mint/v1/keys", a.mintKeys)
	a.mintCall("GET /mint/v1/keys/{id}", a.mintKeys)
	a.mintCall("POST /mint/v1/mint/quote/{method}", a.mintNoQuote)
	a.mintCall("GET /mint/v1/mint/quote/{method}/{quote}", a.mintQuote)
	a.mintCall("POST /mint/v1/mint/{method}", a.mintMint)
	a.mintCall("POST /mint/v1/swap", a.mintSwap)
	a.mintCall("POST /mint/v1/checkstate", a.mintCheckState)
	a.mintCall("POST /mint/v1/restore", a.mintRestore)
	a.meltRoutes()
	a.mintCall("/mint/", func(*http.Request) (any, error) {
		return nil, fail(codeNotFound, "the mint has no such call; see /mint/v1/info")
	})
	a.mux.HandleFunc("OPTIONS /mint/", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	})
}

// mintCall registers a call that answers JSON, and whose refusals are the protocol's.
func (a *API) mintCall(pattern string, call func(r *http.Request) (any, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		body, err := call(r)
		if err == nil {
			err = a.answer(w, http.StatusOK, 0, body)
		}
		if err != nil {
			a.mintRefuse(w, r, err)
		}
	})
}

// mintRefuse answers as the protocol does: 400 with a number and a sentence. What is no refusal (no leader, unknown
// outcome, too busy) is a problem of ours, since a wallet must not take it for one.
func (a *API) mintRefuse(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *cashu.Error
	var ours *machine.Refusal
	var problem *client.Problem
	switch {
	case errors.As(err, &refusal):
	case errors.As(err, &ours):
		refusal = cashu.Refuse(protocolCode(ours.Code), "%s", ours.Detail)
	case errors.As(err, &problem) && problem.Code == codeBody:
		refusal = cashu.Refuse(cashu.CodeMalformed, "%s", problem.Detail)
	default:
		a.refuse(w, r, err)
		return
	}
	if err := a.answer(w, http.StatusBadRequest, 0, refusal); err != nil {
		a.log.Error("encode refusal", "error", err)
	}
}

// protocolCode is the protocol's number of a refusal by the machine.
func protocolCode(code machine.Code) cashu.Code {
	switch code {
	case machine.CodeCoinsSpent:
		return cashu.CodeSpent
	case machine.CodeCoinsTwice:
		return cashu.CodeInputsTwice
	case machine.CodeOutputUsed:
		return cashu.CodeOutputsSigned
	case machine.CodeOutputsTwice:
		return cashu.CodeOutputsTwice
	case machine.CodeKeysetUnknown:
		return cashu.CodeKeysetUnknown
	case machine.CodeKeysetInactive, machine.CodeKeysetStopped:
		return cashu.CodeKeysetInactive
	case machine.CodeUnbalanced:
		return cashu.CodeUnbalanced
	case machine.CodeQuoteUnpaid:
		return cashu.CodeQuoteUnpaid
	case machine.CodeQuoteIssued:
		return cashu.CodeQuoteIssued
	case machine.CodeQuoteExpired:
		return cashu.CodeQuoteExpired
	case machine.CodeQuoteUnknown:
		return cashu.CodeQuoteUnknown
	}
	return cashu.CodeMalformed
}

// readMint reads a body. Wallets send fields that are not ours to know, so they are let be.
func readMint(r *http.Request, into any) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return bodyRefusal(err)
	}
	return nil
}

func bodyRefusal(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return cashu.Refuse(cashu.CodeMalformed, "%s: %s cannot be read", kind.Field, kind.Value)
	}
	return cashu.Refuse(cashu.CodeMalformed, "%v", err)
}

func (a *API) mintKeysets(r *http.Request) (any, error) {
	out := cashu.KeysetsResponse{Keysets: []cashu.KeysetInfo{}}
	v := a.recentView(r.Context())
	for _, k := range v.Keysets() {
		out.Keysets = append(out.Keysets, keysetAt(v, k).Info())
	}
	return out, nil
}

// keysetAt is a keyset as it is to be seen now: past its end it is not active, whatever an entry has said.
func keysetAt(v *machine.View, k *machine.KeysetRecord) mint.Keyset {
	seen := k.Keyset
	seen.State = k.StateAt(int64(v.At()))
	if k.Stopped && seen.State == mint.KeysetActive {
		seen.State = mint.KeysetRetiring
	}
	return seen
}

func (a *API) mintKeys(r *http.Request) (any, error) {
	out := cashu.KeysResponse{Keysets: []cashu.KeysetKeys{}}
	v := a.recentView(r.Context())
	want := r.PathValue("id")
	for _, k := range v.Keysets() {
		seen := keysetAt(v, k)
		if want == "" && seen.State == mint.KeysetActive || want != "" && string(k.ID) == want {
			out.Keysets = append(out.Keysets, seen.WithKeys())
		}
	}
	if want != "" && len(out.Keysets) == 0 {
		return nil, cashu.Refuse(cashu.CodeKeysetUnknown, "there is no keyset %.66s", want)
	}
	return out, nil
}

func (a *API) mintNoQuote(r *http.Request) (any, error) {
	return nil, cashu.Refuse(cashu.CodeMintingDisabled,
		"this mint sells no coins by %.40q: ask its operator, or somebody who has some", r.PathValue("method"))
}

func parseQuoteID(text string) (machine.QuoteID, error) {
	var id machine.QuoteID
	if len(text) != 2*len(id) {
		return id, cashu.Refuse(cashu.CodeQuoteUnknown, "there is no quote %.64q", text)
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return id, cashu.Refuse(cashu.CodeQuoteUnknown, "there is no quote %.64q", text)
	}
	return id, nil
}

func findQuote(v *machine.View, text, method string) (*machine.Quote, error) {
	id, err := parseQuoteID(text)
	if err != nil {
		return nil, err
	}
	q, ok := v.Quote(id)
	if !ok || q.Rail != method {
		return nil, cashu.Refuse(cashu.CodeQuoteUnknown, "there is no quote %.64q by %.40q", text, method)
	}
	return q, nil
}

func quoteView(v *machine.View, q *machine.Quote) cashu.MintQuote {
	out := cashu.MintQuote{Quote: hexOf(q.ID[:]), Request: q.Ext, Amount: q.Amount, Unit: v.Unit(), Pubkey: q.Lock}
	switch q.State {
	case machine.QuotePaid:
		out.State = cashu.QuotePaid
	case machine.QuoteIssued:
		out.State = cashu.QuoteIssued
	default:
		out.State = cashu.QuoteUnpaid
	}
	if q.Until != 0 {
		expiry := int64(q.Until) / 1000
		out.Expiry = &expiry
	}
	return out
}

func (a *API) mintQuote(r *http.Request) (any, error) {
	v, err := a.linear(r.Context())
	if err != nil {
		return nil, err
	}
	q, err := findQuote(v, r.PathValue("quote"), r.PathValue("method"))
	if err != nil {
		return nil, err
	}
	return quoteView(v, q), nil
}

func (a *API) mintMint(r *http.Request) (any, error) {
	ctx := r.Context()
	var in cashu.MintRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	v, err := a.linear(ctx)
	if err != nil {
		return nil, err
	}
	q, err := findQuote(v, in.Quote, r.PathValue("method"))
	if err != nil {
		return nil, err
	}
	if q.Lock != nil {
		if err := in.VerifySignature(*q.Lock); err != nil {
			return nil, err
		}
	}
	command := &machine.Mint{Quote: q.ID}
	command.Request.Fingerprint, err = fingerprint(v, "POST /mint/v1/mint", client.Payment{Outputs: in.Outputs}, in.Quote)
	if err != nil {
		return nil, err
	}
	if _, known := v.Asked(command.Request.Fingerprint); !known {
		if command.Outputs, err = allowed(v, a.limits.Coins, in.Outputs); err != nil {
			return nil, err
		}
		if _, _, err := propose[machine.MintAnswer](ctx, a, command); err != nil {
			return nil, err
		}
	}
	return a.signatures(ctx, in.Outputs)
}

func (a *API) signatures(ctx context.Context, outputs []cashu.BlindedMessage) (any, error) {
	// Nothing is paid for signatures: swaps and mints cost a fee at most, and asked for again they cost nothing. So the
	// address has the points before they are made, and not each of its requests at once.
	if err := a.addresses.pace(ctx, callerOf(ctx).addr, a.limits.AddressWork+len(outputs)); err != nil {
		return nil, err
	}
	signatures, err := a.sign(ctx, outputs)
	if err != nil {
		return nil, err
	}
	return cashu.SignaturesResponse{Signatures: signatures}, nil
}

func (a *API) mintSwap(r *http.Request) (any, error) {
	ctx := r.Context()
	var in cashu.SwapRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	if len(in.Inputs) == 0 || len(in.Outputs) == 0 {
		return nil, cashu.Refuse(cashu.CodeMalformed, "a swap needs inputs and outputs")
	}
	command, _, err := decided(ctx, a, a.node.View(), func(v *machine.View) (*machine.Swap, error) { return a.readSwap(ctx, v, in) })
	if err != nil {
		return nil, err
	}
	if command != nil {
		if _, _, err := propose[machine.SwapAnswer](ctx, a, command); err != nil {
			return nil, err
		}
	}
	return a.signatures(ctx, in.Outputs)
}

// readSwap makes the entry; none where it was carried out before.
func (a *API) readSwap(ctx context.Context, v *machine.View, in cashu.SwapRequest) (*machine.Swap, error) {
	payment := client.Payment{Inputs: in.Inputs, Outputs: in.Outputs}
	command := &machine.Swap{}
	var err error
	if command.Request.Fingerprint, err = fingerprint(v, "POST /mint/v1/swap", payment, nil); err != nil {
		return nil, err
	}
	if _, known := v.Asked(command.Request.Fingerprint); known {
		return nil, nil
	}
	command.Coins, err = a.admit(ctx, v, mintRequest(v, payment))
	return command, err
}

func (a *API) mintCheckState(r *http.Request) (any, error) {
	var in cashu.CheckStateRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	if len(in.Ys) > a.limits.ChecksMax {
		return nil, cashu.Refuse(cashu.CodeInputsMax, "%d points in one request, the limit is %d", len(in.Ys), a.limits.ChecksMax)
	}
	v, err := a.linear(r.Context())
	if err != nil {
		return nil, err
	}
	out := cashu.CheckStateResponse{States: make([]cashu.StateEntry, len(in.Ys))}
	for i, y := range in.Ys {
		out.States[i] = cashu.StateEntry{Y: y, State: cashu.CoinUnspent}
		if v.IsSpent(cashu.SpentKeyOf(y)) {
			out.States[i].State = cashu.CoinSpent
		}
	}
	return out, nil
}

func (a *API) mintRestore(r *http.Request) (any, error) {
	var in cashu.RestoreRequest
	if err := readMint(r, &in); err != nil {
		return nil, err
	}
	if len(in.Outputs) > a.limits.OutputsMax {
		return nil, cashu.Refuse(cashu.CodeOutputsMax, "%d outputs in one request, the limit is %d", len(in.Outputs), a.limits.OutputsMax)
	}
	callerOf(r.Context()).owes(a.limits.AddressWork)
	v, err := a.linear(r.Context())
	if err != nil {
		return nil, err
	}
	points := make([]cashu.Point, len(in.Outputs))
	for i, o := range in.Outputs {
		points[i] = o.B_
	}
	outputs, signatures, err := a.signedOf(r.Context(), v, points)
	if err != nil {
		return nil, err
	}
	if outputs == nil {
		outputs, signatures = []cashu.BlindedMessage{}, []cashu.BlindSignature{}
	}
	return cashu.RestoreResponse{Outputs: outputs, Signatures: signatures}, nil
}

func (a *API) mintInfo(r *http.Request) (any, error) {
	v := a.recentView(r.Context())
	yes, no := true, false
	life := uint64(mint.KeysetLife) // requests with coins are known as long as their keyset
	supported := cashu.NutSetting{Supported: &yes}
	info := cashu.Info{
		Name: "coinop", Version: "coinop/" + a.config.Version, Time: int64(a.clusterNow(v)) / 1000,
		Description: "Coins of this cluster, in " + v.Unit() + "; they pay for its jobs.",
		Nuts: map[string]cashu.NutSetting{
			// No method: coins are sold by no public way, see mintNoQuote.
			"4": {Methods: []cashu.MethodSetting{}, Disabled: &no},
			"5": {Methods: []cashu.MethodSetting{{Method: meltMethod, Unit: v.Unit()}}, Disabled: &no},
			"7": supported, "8": supported, "9": supported, "12": supported, "20": supported,
			"19": {TTL: &life, CachedEndpoints: []cashu.CachedEndpoint{
				{Method: http.MethodPost, Path: "/v1/swap"}, {Method: http.MethodPost, Path: "/v1/mint/" + voucher},
				{Method: http.MethodPost, Path: "/v1/melt/" + meltMethod},
			}},
		},
	}
	info.URLs = []string{a.mintURL(r)}
	return info, nil
}
