package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/mint"
)

// Epoch is one of the mint's secrets as words.
type Epoch struct {
	Epoch uint32 `json:"epoch"`
	Words string `json:"words"`
}

// RecoveryWords reads the mint's secrets from a server's folder.
func RecoveryWords(dir string) ([]Epoch, error) {
	epochs, err := mint.ReadSealed(filepath.Join(dir, secretFile))
	if err != nil {
		return nil, fmt.Errorf("read recovery words: %w", err)
	}
	var list []Epoch
	for _, e := range epochs {
		words, err := mint.Words(e.Secret)
		if err != nil {
			return nil, fmt.Errorf("read recovery words: %w", err)
		}
		list = append(list, Epoch{uint32(e.Number), words})
	}
	return list, nil
}

// Restore is a saved state that a new first server takes up.
type Restore struct {
	Snapshot string // file
	Words    string // the mint's recovery words, of the first epoch
}

// prepare writes the mint's secret into the new server's folder and stops the saved keysets: coins may have moved
// since the snapshot, so nothing is signed in them until an operator reconciles.
func (r Restore) prepare(dir string) (snapshot string, err error) {
	stopped := filepath.Join(dir, "restore.snapshot")
	if _, err := os.Stat(filepath.Join(dir, secretFile)); err == nil {
		return "", fmt.Errorf("restore into %s: it holds a server already", dir)
	}
	secret, err := mint.SecretFromWords(r.Words)
	if err != nil {
		return "", err
	}
	saved, err := os.Open(r.Snapshot)
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	defer saved.Close()
	out, err := os.OpenFile(stopped, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	err = machine.StopKeysets(saved, out)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	return stopped, mint.WriteSealed(filepath.Join(dir, secretFile), []mint.Epoch{{Number: 1, Secret: secret}})
}

// restore replaces the new cluster's empty state once this server leads.
func (s *Server) restore(ctx context.Context) error {
	f, err := os.Open(s.restoreFrom)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	if err := s.node.SnapshotRestore(ctx, f); err != nil {
		return err
	}
	return os.Remove(s.restoreFrom)
}
