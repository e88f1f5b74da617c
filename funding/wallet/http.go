package wallet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coinop/coinop/funding/cashu"
)

// answerBytesMax bounds what a mint may answer.
const answerBytesMax = 8 << 20

// HTTPMint reaches a mint at <URL>/v1/….
type HTTPMint struct {
	url    string
	client *http.Client
}

// NewHTTPMint makes the client for a mint's URL.
func NewHTTPMint(client *http.Client, mintURL string) *HTTPMint {
	return &HTTPMint{url: strings.TrimRight(mintURL, "/"), client: client}
}

// Info asks what the mint is.
func (m *HTTPMint) Info(ctx context.Context) (out cashu.Info, err error) {
	return out, m.call(ctx, http.MethodGet, "info", nil, &out)
}

// Keysets lists all keysets.
func (m *HTTPMint) Keysets(ctx context.Context) (out cashu.KeysetsResponse, err error) {
	return out, m.call(ctx, http.MethodGet, "keysets", nil, &out)
}

// Keys gives the keys of one keyset.
func (m *HTTPMint) Keys(ctx context.Context, id cashu.KeysetID) (out cashu.KeysResponse, err error) {
	return out, m.call(ctx, http.MethodGet, "keys/"+url.PathEscape(string(id)), nil, &out)
}

// Swap changes coins for others.
func (m *HTTPMint) Swap(ctx context.Context, request cashu.SwapRequest) (out cashu.SignaturesResponse, err error) {
	return out, m.call(ctx, http.MethodPost, "swap", request, &out)
}

// CheckState asks which coins are spent.
func (m *HTTPMint) CheckState(ctx context.Context, request cashu.CheckStateRequest) (out cashu.CheckStateResponse, err error) {
	return out, m.call(ctx, http.MethodPost, "checkstate", request, &out)
}

// Restore asks for signatures made before.
func (m *HTTPMint) Restore(ctx context.Context, request cashu.RestoreRequest) (out cashu.RestoreResponse, err error) {
	return out, m.call(ctx, http.MethodPost, "restore", request, &out)
}

// MintQuote asks how a quote stands.
func (m *HTTPMint) MintQuote(ctx context.Context, method, quote string) (out cashu.MintQuote, err error) {
	return out, m.call(ctx, http.MethodGet, "mint/quote/"+url.PathEscape(method)+"/"+url.PathEscape(quote), nil, &out)
}

// Mint takes the coins of a paid quote.
func (m *HTTPMint) Mint(ctx context.Context, method string, request cashu.MintRequest) (out cashu.SignaturesResponse, err error) {
	return out, m.call(ctx, http.MethodPost, "mint/"+url.PathEscape(method), request, &out)
}

func (m *HTTPMint) call(ctx context.Context, method, path string, in, out any) error {
	err := m.exchange(ctx, method, path, in, out)
	if err != nil {
		return fmt.Errorf("%s %s/v1/%s: %w", method, m.url, path, err)
	}
	return nil
}

func (m *HTTPMint) exchange(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, m.url+"/v1/"+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	if err != nil {
		return err
	}
	if len(raw) > answerBytesMax {
		return fmt.Errorf("the answer is longer than %d bytes", answerBytesMax)
	}
	if response.StatusCode == http.StatusOK {
		return cashu.DecodeJSON(raw, out)
	}
	return refusal(response.StatusCode, raw)
}

// refusal tells a definite no from an unknown outcome: only an answer of class
// 4xx with a code is a no. A proxy's 4xx has none, a 5xx may come after the deed.
func refusal(status int, raw []byte) error {
	var said cashu.Error
	if status >= 400 && status < 500 && cashu.DecodeJSON(raw, &said) == nil && said.Code != 0 {
		return &said
	}
	text := strings.TrimSpace(string(raw[:min(len(raw), 200)]))
	return errors.New(strings.TrimSpace(fmt.Sprintf("status %d %s", status, text)))
}
