package server

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

// Files of a server's folder that are this package's.
const (
	secretFile   = "mint.secret"    // the mint's epochs, sealed
	operatorFile = "operator.token" // the first operator's token, of the founder only
	clusterFile  = "cluster.id"     // of the founder, until its first entry is applied
)

// Founding is what a new cluster begins with.
type Founding struct {
	Unit        string             // empty: credit
	Pools       []scheduler.Pool   // none: one default pool
	InputFeePPK uint32             // of the first keyset
	MintURL     string             // the mint's one public URL; empty: each server names itself
	Words       func(words string) // is told the mint's recovery words, once
}

const stateFormat = 1

// devPauseGrace is short, so that a paused stream can be watched to its end.
const devPauseGrace = 60_000

// DevFounding is what a cluster on one machine begins with: its pool takes that machine's users without a token, and
// nothing costs a fee.
func DevFounding() *Founding {
	pool := scheduler.DefaultPool("default")
	pool.Loopback = true
	pool.PauseGrace = devPauseGrace
	return &Founding{Pools: []scheduler.Pool{pool}}
}

// found makes the first entry of a new cluster. What is drawn for it is kept in the folder, so that a founder that
// was killed before its first entry makes the same one again.
func found(dir string, f Founding, now time.Time) (*machine.Init, error) {
	epoch, fresh, err := firstEpoch(dir)
	if err != nil {
		return nil, err
	}
	cluster, err := keptOrDrawn(filepath.Join(dir, clusterFile), func() string {
		var id [16]byte
		rand.Read(id[:]) // never fails
		return hex.EncodeToString(id[:])
	})
	if err != nil {
		return nil, err
	}
	token, err := keptOrDrawn(filepath.Join(dir, operatorFile), func() string { return "coinop-operator-" + rand.Text() })
	if err != nil {
		return nil, err
	}
	init := &machine.Init{Unit: f.Unit, Format: stateFormat, Pools: f.Pools, Operator: sha256.Sum256([]byte(token))}
	if f.MintURL != "" {
		if init.MintURL, err = client.ParseMintURL(f.MintURL); err != nil {
			return nil, fmt.Errorf("found a cluster: %w", err)
		}
	}
	if init.Unit == "" {
		init.Unit = "credit"
	}
	if len(init.Pools) == 0 {
		init.Pools = []scheduler.Pool{scheduler.DefaultPool("default")}
	}
	if _, err := hex.Decode(init.Cluster[:], []byte(cluster)); err != nil || len(cluster) != 32 {
		return nil, fmt.Errorf("found a cluster: %s holds no cluster id", filepath.Join(dir, clusterFile))
	}
	keyset, err := mint.Define(epoch, 1, init.Unit, f.InputFeePPK, now.Unix()+mint.KeysetLife)
	if err != nil {
		return nil, fmt.Errorf("found a cluster: %w", err)
	}
	init.Keyset = keysetSpec(keyset)
	if fresh && f.Words != nil {
		words, err := mint.Words(epoch.Secret)
		if err != nil {
			return nil, fmt.Errorf("found a cluster: %w", err)
		}
		f.Words(words)
	}
	return init, nil
}

// firstEpoch reads the mint's secret, or draws it.
func firstEpoch(dir string) (epoch mint.Epoch, fresh bool, err error) {
	path := filepath.Join(dir, secretFile)
	epochs, err := mint.ReadSealed(path)
	switch {
	case err == nil && len(epochs) > 0:
		return epochs[0], false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return epoch, false, fmt.Errorf("read the mint's secret: %w", err)
	}
	epoch.Number = 1
	rand.Read(epoch.Secret[:]) // never fails
	if err := mint.WriteSealed(path, []mint.Epoch{epoch}); err != nil {
		return epoch, false, fmt.Errorf("write the mint's secret: %w", err)
	}
	return epoch, true, nil
}

// keptOrDrawn reads a one-line file that its owner alone can read, or makes it.
func keptOrDrawn(path string, draw func() string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	text := draw()
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return text, os.Rename(part, path)
}

// keysetSpec is a keyset's public side as an entry brings it.
func keysetSpec(k mint.Keyset) machine.KeysetSpec {
	spec := machine.KeysetSpec{
		Number: k.Number, ID: k.ID, Epoch: k.Epoch, InputFeePPK: k.InputFeePPK, FinalExpiry: k.FinalExpiry,
	}
	for _, key := range k.Keys {
		spec.Keys = append(spec.Keys, key.Point)
	}
	return spec
}
