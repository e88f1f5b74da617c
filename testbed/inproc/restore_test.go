package inproc

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/server"
)

// Three servers are lost; the recovery words and a snapshot make a first one, and two join it. What was is there on all of
// them, and no old coin is taken by any before an operator has reconciled.
func TestAWholeClusterComesBackFromWordsAndASnapshot(t *testing.T) {
	Play(t, 3, 1, func(c *Cluster) {
		t := c.T
		u, ctx := c.User, t.Context()
		u.Issue(1_000)
		before := c.balance()
		e := &errand{user: u, api: u.API}
		errands["change"](e)
		if err := e.whole(before); err != nil {
			t.Fatal(err)
		}
		receipt, last := u.Receipt(e.job), c.Leader().View()
		var saved bytes.Buffer
		_, err := u.API.Snapshot(ctx, &saved)
		u.must(err)
		words, err := server.RecoveryWords(c.Servers[0].Config.Dir)
		u.must(err)
		c.Executors[0].Stop() // its certificate is the lost cluster's
		c.Executors = nil
		for _, s := range c.Servers {
			s.Kill()
		}
		c.HealAll()

		c.dir = filepath.Join(c.dir, "again")
		u.must(os.MkdirAll(c.dir, 0o700))
		file := filepath.Join(c.dir, "saved")
		u.must(os.WriteFile(file, saved.Bytes(), 0o600))
		c.Servers = nil
		first := c.planServer()
		first.Config.Bootstrap, first.Config.Restore = nil, &server.Restore{Snapshot: file, Words: words[0].Words}
		first.Start()
		<-first.Ready()
		c.addServer()
		c.addServer()

		for _, s := range c.Servers {
			api := c.apiOf(u.http, s)
			r, err := api.Receipt(ctx, e.job.Job, e.job.Secret.Key("view"))
			if err != nil || r.ChargedMicro != receipt.ChargedMicro || r.RefundedMicro != receipt.RefundedMicro {
				t.Errorf("%s has the receipt %+v, %v", s, r, err)
			}
			if v := s.View(); v.Seq() < last.Seq() || v.Index() < last.Index() {
				t.Errorf("%s is at entry %d, event %d; the lost cluster was at %d, %d", s, v.Index(), v.Seq(), last.Index(), last.Seq())
			}
			if k := s.View().Keysets(); len(k) != 1 || !k[0].Stopped {
				t.Errorf("%s takes coins as if nothing had happened since", s)
			}
			var again client.SubmitAnswer
			if err := api.Send(ctx, e.request, &again); err != nil || again.Job != e.job.Job {
				t.Errorf("%s answers the old submission with %+v, %v", s, again, err)
			}
		}
		if err := u.Wallet.Swap(ctx, u.Mint, "", nil); !wallet.IsRefusal(err) {
			t.Errorf("coins of a stopped keyset: %v", err)
		}
		_, err = c.apiOf(u.http, c.Servers...).Reconcile(ctx, client.ReconcileRequest{})
		u.must(err)
		u.Pot(100)
		c.Until("all have made the same of it", func() bool { // what was before the snapshot is in no book any more
			a, b, d := c.Servers[0].View(), c.Servers[1].View(), c.Servers[2].View()
			return a.Index() == b.Index() && b.Index() == d.Index() && a.Sum() == b.Sum() && b.Sum() == d.Sum()
		})
	})
}
