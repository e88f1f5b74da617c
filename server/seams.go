package server

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/mint"
)

// members answers operators' questions about the servers.
type members struct{ s *Server }

func (m members) Members(ctx context.Context) (client.ServerList, error) {
	n := m.s.node
	view := n.View()
	cluster := view.Cluster()
	list := client.ServerList{
		ClusterID: fmt.Sprintf("%x", cluster[:]), Unit: view.Unit(), Term: n.Term(), Index: view.Index(), Version: m.s.config.Version,
	}
	leader, _ := n.Leader()
	voters, alarms := n.Voters(), n.Alarms(ctx)
	for _, s := range n.Servers() {
		if s.Removed {
			continue
		}
		list.Servers = append(list.Servers, client.Server{
			ID: s.ID, HTTP: s.HTTP, Cluster: s.Cluster, Leader: s.ID == leader.ID, Voter: voters[s.ID], Self: s.ID == n.ID(),
			Alarm: alarms[s.ID],
		})
	}
	return list, nil
}

func (m members) RemoveServer(ctx context.Context, id string) error {
	return m.s.node.RemoveServer(ctx, id)
}

func (m members) JoinToken(ctx context.Context, kind string, ttl time.Duration) (string, error) {
	return m.s.node.JoinToken(ctx, kind, ttl)
}

// NewKeyset is part of [api.Cluster].
func (m members) NewKeyset(number mint.KeysetNumber, unit string, inputFeePPK uint32, expiry time.Time) (machine.KeysetSpec, error) {
	epochs, err := mint.ReadSealed(filepath.Join(m.s.config.Dir, secretFile))
	if err != nil {
		return machine.KeysetSpec{}, fmt.Errorf("make a keyset: %w", err)
	}
	newest := slices.MaxFunc(epochs, func(a, b mint.Epoch) int { return cmp.Compare(a.Number, b.Number) })
	keyset, err := mint.Define(newest, number, unit, inputFeePPK, expiry.Unix())
	if err != nil {
		return machine.KeysetSpec{}, fmt.Errorf("make a keyset: %w", err)
	}
	return keysetSpec(keyset), nil
}
