package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Handler answers other servers: PUT and GET /blobs/DIGEST, on this server's own bytes. It belongs
// on the cluster port, where only servers get through.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /blobs/{digest}", s.servePut)
	mux.HandleFunc("GET /blobs/{digest}", s.serveGet)
	return mux
}

func (s *Store) servePut(w http.ResponseWriter, r *http.Request) {
	d, err := ParseDigest(r.PathValue("digest"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.room(max(r.ContentLength, 0)); err != nil {
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	switch _, err = s.PutLocal(r.Context(), d, r.Body); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrDiskFull):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	case errors.Is(err, ErrMismatch):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, ErrTooBig):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Store) serveGet(w http.ResponseWriter, r *http.Request) {
	d, err := ParseDigest(r.PathValue("digest"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, size, err := s.GetLocal(r.Context(), d)
	if errors.Is(err, ErrMissing) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	// An error in the middle cuts the connection: the reader sees too few bytes or a wrong digest.
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// HTTPPeer is another server's store behind its Handler.
type HTTPPeer struct {
	ID     string
	Base   string // http://HOST
	Client *http.Client
}

// Name is the server's id.
func (p HTTPPeer) Name() string { return p.ID }

// Put sends bytes.
func (p HTTPPeer) Put(ctx context.Context, d Digest, size int64, r io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.Base+"/blobs/"+d.String(), r)
	if err != nil {
		return fmt.Errorf("put blob %s: %w", d, err)
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return fmt.Errorf("put blob %s: %w", d, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	return fmt.Errorf("put blob %s: %w", d, refusal(resp))
}

// Get asks for bytes.
func (p HTTPPeer) Get(ctx context.Context, d Digest) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Base+"/blobs/"+d.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("get blob %s: %w", d, err)
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("get blob %s: %w", d, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, resp.ContentLength, nil
	}
	defer resp.Body.Close()
	return nil, 0, fmt.Errorf("get blob %s: %w", d, refusal(resp))
}

func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // what of it came is good enough for a message
	said := strings.TrimSpace(string(text))
	switch resp.StatusCode {
	case http.StatusNotFound:
		return ErrMissing
	case http.StatusInsufficientStorage:
		return fmt.Errorf("%w (it says: %s)", ErrDiskFull, said)
	case http.StatusUnprocessableEntity:
		return fmt.Errorf("%w (it says: %s)", ErrMismatch, said)
	case http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w (it says: %s)", ErrTooBig, said)
	}
	return fmt.Errorf("it answers %s: %s", resp.Status, said)
}
