package api_test

import (
	"errors"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/mint"
)

func TestAServerWithoutKeysRefusesNothingForGood(t *testing.T) {
	keys := true
	var w *world
	w = newWorld(t, func(c *api.Config) {
		c.Keyring = func() *mint.Keyring {
			if keys {
				return w.ring
			}
			return nil
		}
	})
	p := w.purse()
	r := paid(p, p.issue(300), order(client.NewSecret()))
	keys = false
	var refusal *client.Problem
	if _, err := w.c.Submit(t.Context(), newKey(), "", r); err == nil || errors.As(err, &refusal) && refusal.Status != 503 {
		t.Errorf("a client that can ask others was told for good: %v", err)
	}
	keys = true
	if _, err := w.c.Submit(t.Context(), newKey(), "", r); err != nil {
		t.Error(err)
	}
}
