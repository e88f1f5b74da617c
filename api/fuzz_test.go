package api

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/coinop/coinop/api/client"
)

// FuzzBodies: a body is read, or refused with a problem that says what to do; what is read can be written and read again.
func FuzzBodies(f *testing.F) {
	f.Add([]byte(`{"spec":{"argv":["true"],"pool":"default"},"pay":10,"inputs":[],"blanks":[]}`))
	f.Add([]byte(`{"spec":{"argv":["true"]},"spec":{}}`))
	f.Add([]byte(`{"units":5,"pubkey":"02"}`))
	f.Add([]byte(`{"Units":5}`))
	f.Add([]byte(`{"jobs":[{"job":1,"key":"0a"}],"state":"done","labels":{"team":"film"}}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, fresh := range []func() any{
			func() any { return new(client.SubmitRequest) }, func() any { return new(client.IssueRequest) },
			func() any { return new(client.OwnRequest) },
		} {
			into := fresh()
			if err := decode(body, into); err != nil {
				var problem *client.Problem
				if !errors.As(err, &problem) || problem.Status < 400 || problem.Status > 499 || problem.Code == "" || problem.Do == "" {
					t.Fatalf("%T is refused with %#v", into, err)
				}
				continue
			}
			if r, ok := into.(*client.IssueRequest); ok && r.Pubkey.IsZero() {
				continue // no key was given, which the call refuses; none can be written
			}
			text, err := json.Marshal(into)
			if err != nil {
				t.Fatal(err)
			}
			if err := decode(text, fresh()); err != nil {
				t.Fatalf("%T was read and written as %s: %v", into, text, err)
			}
		}
	})
}
