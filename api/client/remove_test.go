package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestARemovedServerMayOweTheAnswer(t *testing.T) {
	members, asked := `{"servers":[{"id":"s1"},{"id":"s2"}]}`, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write([]byte(members))
			return
		}
		if asked++; asked == 1 && r.URL.Path == "/v1/servers/s1" {
			members = `{"servers":[{"id":"s2"}]}`
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"status":404,"code":"server_unknown"}`))
	}))
	defer s.Close()
	c, err := New(Config{Servers: []string{s.Listener.Addr().String()}, Patience: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.RemoveServer(t.Context(), "s1")
	if err != nil || len(list.Servers) != 1 || asked != 2 {
		t.Errorf("the lost answer: %+v, %v after %d requests", list, err, asked)
	}
	var p *Problem
	if _, err := c.RemoveServer(t.Context(), "s3"); !errors.As(err, &p) || p.Code != "server_unknown" {
		t.Errorf("a server that never was: %v", err)
	}
}
