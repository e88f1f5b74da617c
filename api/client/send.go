package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answerMax bounds an answer that is read whole.
const answerMax = 64 << 20

// firstPause is before a request is repeated; it doubles.
const firstPause = 50 * time.Millisecond

// Outbound is a request as it is sent, and sent again: whoever pays writes it down first, since repeating it
// verbatim is how to learn what became of it.
type Outbound struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`             // with its query
	Key    string          `json:"key,omitempty"`    // Idempotency-Key
	Bearer string          `json:"bearer,omitempty"` // a key of a job or pot, hex
	Body   json.RawMessage `json:"body,omitempty"`
}

// Prepare makes a request of a body; nothing is sent.
func Prepare(method, path, idempotencyKey, bearer string, body any) (Outbound, error) {
	o := Outbound{Method: method, Path: path, Key: idempotencyKey, Bearer: bearer}
	if body == nil {
		return o, nil
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return o, fmt.Errorf("encode the request for %s: %w", path, err)
	}
	o.Body = raw
	return o, nil
}

// Send sends a request to the servers, one after the other, until one says what became of it, and decodes the
// answer into one that is not nil. Errors are *Problem (a server refused), *Unreachable (nothing was sent),
// *Unknown (it may have taken effect) or the context's.
func (c *Client) Send(ctx context.Context, o Outbound, answer any) error {
	deadline := time.Now().Add(c.patience)
	for {
		resp, err := c.open(ctx, o, "application/json")
		if err != nil {
			return err
		}
		raw, err := whole(resp, answer != nil)
		switch {
		case err == nil && answer == nil:
			return nil
		case err == nil:
			if err := json.Unmarshal(raw, answer); err != nil {
				return fmt.Errorf("read the answer of %s to %s %s: %w", resp.Request.URL.Host, o.Method, o.Path, err)
			}
			return nil
		case ctx.Err() != nil || time.Now().After(deadline):
			return &Unknown{Tried: []Attempt{{resp.Request.URL.Host, err}}}
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstPause):
		}
	}
}

var errNoWord = errors.New("the answer is empty")

// whole reads an answer to its end. One that was cut off, or is empty where a word is wanted, says nothing of what became
// of the request.
func whole(resp *http.Response, wanted bool) ([]byte, error) {
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err == nil && wanted && len(raw) == 0 {
		err = errNoWord
	}
	return raw, err
}

// open tries the servers in rounds and returns the first answer that is no error.
func (c *Client) open(ctx context.Context, o Outbound, accept string) (*http.Response, error) {
	deadline := time.Now().Add(c.patience)
	maybeSent := false
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		index, _ := c.position()
		resp, tried, again, err := c.round(ctx, o, accept, &maybeSent)
		if err != nil || resp != nil {
			return resp, err
		}
		if index > 0 && allBehind(tried) {
			c.forget(index)
		}
		if ctx.Err() != nil && !maybeSent {
			return nil, ctx.Err()
		}
		if ctx.Err() != nil || !again && !maybeSent || time.Now().Add(pause).After(deadline) {
			if maybeSent && o.Method != http.MethodGet && o.Method != http.MethodHead {
				return nil, &Unknown{Tried: tried}
			}
			return nil, &Unreachable{Tried: tried}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// allBehind reports whether every server that answered has waited in vain for what this client has seen.
func allBehind(tried []Attempt) bool {
	behind := false
	for _, t := range tried {
		var problem *Problem
		if !errors.As(t.Err, &problem) {
			continue
		}
		if problem.Code != CodeIndexAhead {
			return false
		}
		behind = true
	}
	return behind
}

// round asks each server once. Again says that one of them was there but could not answer yet.
func (c *Client) round(ctx context.Context, o Outbound, accept string, maybeSent *bool) (
	resp *http.Response, tried []Attempt, again bool, err error,
) {
	_, first := c.position()
	for i := range c.servers {
		n := (first + i) % len(c.servers)
		resp, err := c.once(ctx, n, o, accept)
		var problem *Problem
		switch {
		case err == nil:
			return resp, nil, false, nil
		case errors.As(err, &problem) && problem.Status == http.StatusServiceUnavailable:
			again = true
			// Any other 503 is from a server that did not try.
			*maybeSent = *maybeSent || problem.Code == CodeOutcomeUnknown
		case problem != nil:
			return nil, nil, false, problem
		case !neverSent(err):
			*maybeSent, again = true, true
		}
		tried = append(tried, Attempt{strings.TrimPrefix(c.servers[n], "http://"), err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, tried, again, nil
}

func (c *Client) once(ctx context.Context, server int, o Outbound, accept string) (*http.Response, error) {
	req, err := c.request(ctx, server, o.Method, o.Path, bytes.NewReader(o.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if len(o.Body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if o.Key != "" {
		req.Header.Set(HeaderIdempotencyKey, o.Key)
	}
	if o.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+o.Bearer)
	}
	return c.do(req, server)
}

func (c *Client) request(ctx context.Context, server int, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.servers[server]+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request %s %s: %w", method, path, err)
	}
	if cluster, index := c.Seen(); index > 0 {
		req.Header.Set(HeaderIndex, strconv.FormatUint(index, 10))
		if cluster != "" {
			req.Header.Set(HeaderCluster, cluster)
		}
	}
	if c.token != "" {
		req.Header.Set(HeaderToken, c.token)
	}
	return req, nil
}

// do sends once; an answer of 400 and above becomes a *Problem.
func (c *Client) do(req *http.Request, server int) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if index, err := strconv.ParseUint(resp.Header.Get(HeaderIndex), 10, 64); err == nil && resp.StatusCode < 500 {
		c.saw(resp.Header.Get(HeaderCluster), index, server)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	problem := &Problem{Server: req.URL.Host}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if strings.Contains(string(raw), "HTTP request to an HTTPS server") { // net/http's own words
		*problem = Problem{
			Title: "HTTPS", Code: "https", Server: req.URL.Host, Detail: req.URL.Host + " speaks HTTPS, and was asked over plain HTTP",
			Do: "write https://" + req.URL.Host + ", with the fingerprint that the server printed: https://" + req.URL.Host + "#sha256=...",
		}
	} else if err != nil || json.Unmarshal(raw, problem) != nil || problem.Code == "" {
		*problem = Problem{
			Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Code: "http", Server: req.URL.Host,
			Detail: fmt.Sprintf("%s answered %s to %s %s", req.URL.Host, resp.Status, req.Method, req.URL.Path),
			Do:     "check that this is the address of a coinop server",
		}
	}
	problem.Status = resp.StatusCode
	return nil, problem
}
