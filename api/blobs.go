package api

import (
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/blobs"
)

func (a *API) blobRoutes() {
	for _, b := range []struct {
		id, method, summary string
		h                   handler
		request             any
		status              int
		answer              any
	}{
		{"blob-put", http.MethodPut, "Send bytes under their SHA-256, for the inputs of a job", a.putBlob, []byte(nil), http.StatusCreated, client.Blob{}},
		{"blob", http.MethodGet, "Bytes by their SHA-256: whoever knows it may have them", a.getBlob, nil, http.StatusOK, []byte(nil)},
		{"blob-has", http.MethodHead, "Whether the servers have these bytes", a.getBlob, nil, http.StatusOK, nil},
	} {
		if b.method != http.MethodHead { // a route for GET takes HEAD too
			a.handle(b.method+" /v1/blobs/{sha256}", b.h)
		}
		a.document(huma.Operation{
			OperationID: b.id, Method: b.method, Path: "/v1/blobs/{sha256}", Tags: []string{"files"}, Summary: b.summary,
			Parameters: []*huma.Param{pathParam("sha256", "string")},
		}, b.request, b.status, b.answer)
	}
}

func (a *API) blobOf(r *http.Request) (blobs.Digest, error) {
	if a.config.Blobs == nil {
		return blobs.Digest{}, fail(codeNotHere, "this server keeps no files")
	}
	digest, err := parseHash("sha256", r.PathValue("sha256"))
	return digest, err
}

func (a *API) putBlob(w http.ResponseWriter, r *http.Request) error {
	digest, err := a.blobOf(r)
	if err != nil {
		return err
	}
	callerOf(r.Context()).owes(a.limits.AddressWork)
	if r.ContentLength > a.limits.BlobBytes {
		return fail(codeTooLarge, "%d bytes, the limit is %d", r.ContentLength, a.limits.BlobBytes)
	}
	size, err := a.config.Blobs.Put(r.Context(), digest, http.MaxBytesReader(w, r.Body, a.limits.BlobBytes))
	if err != nil {
		return err
	}
	return a.answer(w, http.StatusCreated, 0, client.Blob{SHA256: hexOf(digest[:]), Size: size})
}

func (a *API) getBlob(w http.ResponseWriter, r *http.Request) error {
	digest, err := a.blobOf(r)
	if err != nil {
		return err
	}
	body, size, err := a.config.Blobs.Get(r.Context(), digest)
	if err != nil {
		return err
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	// A page must never be shown under our name out of what a task wrote.
	h.Set("Content-Disposition", "attachment")
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil {
		// The status is sent: only a broken connection tells the client that this is not all.
		panic(http.ErrAbortHandler)
	}
	return nil
}
