package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

// An answer that was cut off or is empty tells nothing, whatever its status: the request is sent again.
func TestAnAnswerWithoutAWordIsNone(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
		case 2:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"job":`))
		default:
			_, _ = w.Write([]byte(`{"job":7}`))
		}
	}))
	defer s.Close()
	api, err := client.New(client.Config{Servers: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	var answer client.SubmitAnswer
	if err := api.Send(context.Background(), client.Outbound{Method: "POST", Path: "/v1/jobs"}, &answer); err != nil || answer.Job != 7 {
		t.Errorf("job %d, %v", answer.Job, err)
	}
	never := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer never.Close()
	api, err = client.New(client.Config{Servers: []string{never.URL}, Patience: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var unknown *client.Unknown
	if err := api.Send(context.Background(), client.Outbound{Method: "POST", Path: "/v1/jobs"}, &answer); !errors.As(err, &unknown) {
		t.Errorf("an empty answer: %v", err)
	}
}
