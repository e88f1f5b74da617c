package image

import (
	"net/http"
	"strings"
)

// gated calls before ahead of each GET whose path contains part.
func gated(inner http.Handler, part string, before func()) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) {
			before()
		}
		inner.ServeHTTP(w, r)
	})
}
