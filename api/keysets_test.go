package api_test

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// members is the part of a cluster that makes keysets; the world's keyring has them at once.
type members struct {
	api.Cluster
	w **world
}

func (m members) NewKeyset(number mint.KeysetNumber, unit string, fee uint32, expiry time.Time) (machine.KeysetSpec, error) {
	epoch, w := mint.Epoch{Number: 1, Secret: mint.Secret{1}}, *m.w
	k, err := mint.Define(epoch, number, unit, fee, expiry.Unix())
	if err != nil {
		return machine.KeysetSpec{}, err
	}
	spec := machine.KeysetSpec{Number: number, ID: k.ID, Epoch: 1, InputFeePPK: fee, FinalExpiry: expiry.Unix()}
	for _, key := range k.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	w.ring, err = mint.NewKeyring([]mint.Epoch{epoch}, []mint.Keyset{w.keys, k})
	return spec, err
}

func newKeysetWorld(t *testing.T) (*world, *client.Client) {
	var w *world
	w = newWorld(t, func(c *api.Config) { c.Cluster = members{w: &w} })
	return w, w.client(operatorToken)
}

func refusedAs(t *testing.T, err error, status int, code string) {
	t.Helper()
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != status || p.Code != code || p.Do == "" {
		t.Errorf("%v, want %d %s", err, status, code)
	}
}

func TestAnOperatorMakesAKeysetOnceAndLetsTheOldOneRetire(t *testing.T) {
	ctx := context.Background()
	w, op := newKeysetWorld(t)
	fee := uint32(200)
	made, err := op.NewKeyset(ctx, client.KeysetNew{Number: 2, InputFeePPK: &fee, LifeMs: 86_400_000})
	if err != nil || made.Number != 2 || made.State != "active" || made.InputFeePPK != 200 || made.Expires == nil {
		t.Fatalf("%+v, %v", made, err)
	}
	again, err := op.NewKeyset(ctx, client.KeysetNew{Number: 2, InputFeePPK: &fee, LifeMs: 86_400_000})
	if err != nil || again.Keyset != made.Keyset {
		t.Fatalf("the same request again: %+v, %v", again, err)
	}
	_, err = op.NewKeyset(ctx, client.KeysetNew{Number: 9})
	refusedAs(t, err, http.StatusUnprocessableEntity, "invalid")
	_, err = w.c.NewKeyset(ctx, client.KeysetNew{Number: 3})
	refusedAs(t, err, http.StatusUnauthorized, "token_missing")

	old := string(w.keys.ID)
	moved, err := op.MoveKeyset(ctx, old, client.KeysetMove{State: "retiring"})
	if err != nil || moved.State != "retiring" {
		t.Fatalf("%+v, %v", moved, err)
	}
	_, err = op.MoveKeyset(ctx, "01ab", client.KeysetMove{State: "retiring"})
	refusedAs(t, err, http.StatusNotFound, "not_found")
	_, err = op.MoveKeyset(ctx, old, client.KeysetMove{State: "active"})
	refusedAs(t, err, http.StatusUnprocessableEntity, "body")
	list, err := w.c.KeysetList(ctx)
	if err != nil || len(list.Keysets) != 2 || list.Keysets[0].State != "retiring" || list.Keysets[1].Keyset != made.Keyset {
		t.Fatalf("%+v, %v", list, err)
	}
}

func TestReconcilingGoesByKeysetAndNeedsAnOperator(t *testing.T) {
	ctx := context.Background()
	w, op := newKeysetWorld(t)
	none, err := op.Reconcile(ctx, client.ReconcileRequest{})
	if err != nil || len(none.Going)+len(none.Stopped) != 0 {
		t.Fatalf("nothing is stopped: %+v, %v", none, err)
	}
	_, err = w.c.Reconcile(ctx, client.ReconcileRequest{})
	refusedAs(t, err, http.StatusUnauthorized, "token_missing")
	_, err = op.Reconcile(ctx, client.ReconcileRequest{Keysets: []string{"01ab"}})
	refusedAs(t, err, http.StatusNotFound, "not_found")
}

func TestAnOperatorRemovesANodeThatHasNoWork(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	op := w.client(operatorToken)
	refusedAs(t, w.c.RemoveNode(ctx, "n1"), http.StatusUnauthorized, "token_missing")
	refusedAs(t, op.RemoveNode(ctx, "n7"), http.StatusNotFound, "node_unknown")
	if err := op.RemoveNode(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	list, err := w.c.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Nodes {
		if n.Node == "n1" && n.State != "removed" {
			t.Errorf("n1 is %s", n.State)
		}
	}
}

func TestNodesAreListedByName(t *testing.T) {
	w := newWorld(t, nil)
	for i, name := range []string{"n10", "a1", "n2"} {
		join := machine.TokenHash{byte(20 + i)}
		w.does(&machine.Token{Hash: join, Role: machine.RoleJoinExecutor, Until: w.at + 1000})
		w.does(&machine.NodeJoin{Token: join, Name: name, Pool: "default", Cert: [32]byte{byte(30 + i)}, Facts: machine.NodeFacts{
			Has: scheduler.Resources{CPUMilli: 1000, Memory: 1 << 30}, Drivers: []string{"process"},
		}})
	}
	list, err := w.c.Nodes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Nodes {
		names = append(names, n.Node)
	}
	if got := len(names); got != 4 || names[0] != "a1" || names[1] != "n1" || names[2] != "n2" || names[3] != "n10" {
		t.Fatalf("listed %v: people count n2 before n10", names)
	}
}

func TestAnIndexOfAnotherClusterIsNotWaitedFor(t *testing.T) {
	w := newWorld(t, nil)
	ask := func(cluster string, index uint64) (int, string) {
		req, err := http.NewRequest(http.MethodGet, w.http.URL+"/v1/pools", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		req.Header.Set(client.HeaderIndex, strconv.FormatUint(index, 10))
		req.Header.Set(client.HeaderCluster, cluster)
		resp, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get(client.HeaderCluster)
	}
	id := machine.ClusterID{1}
	own := hex.EncodeToString(id[:])
	if status, cluster := ask("00ff", 1_000_000); status != http.StatusOK || cluster != own {
		t.Errorf("another cluster's index: %d of %s", status, cluster)
	}
	if status, _ := ask(own, w.View().Index()); status != http.StatusOK {
		t.Errorf("what is applied: %d", status)
	}
	if status, _ := ask(own, w.View().Index()+1); status == http.StatusOK {
		t.Error("an answer came from before what the client has seen")
	}
}
