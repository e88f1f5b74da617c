package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A server that stops ends the contexts of its requests. None of them may look as if it had succeeded.
func TestAServerThatStopsAnswersNothingWithSuccess(t *testing.T) {
	w := newWorld(t, nil)
	ended, stop := context.WithCancel(context.Background())
	stop()
	for _, path := range []string{"/v1/jobs", "/v1/pots", "/mint/v1/swap", "/v1/nowhere"} {
		request := httptest.NewRequestWithContext(ended, http.MethodPost, path, strings.NewReader("{}"))
		request.Header.Set("Content-Type", "application/json")
		request.Host = strings.TrimPrefix(w.http.URL, "http://")
		answer := httptest.NewRecorder()
		w.api.ServeHTTP(answer, request)
		if answer.Code < 400 || answer.Body.Len() == 0 {
			t.Errorf("%s: %d %q", path, answer.Code, answer.Body)
		}
	}
}
