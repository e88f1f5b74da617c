package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	Words    string // the mint's recovery words: of the first epoch alone, or of each as RecoveryWords has them
}

// restoreFile is the saved state in the new server's folder until it has been taken up, so that a server that was
// killed meanwhile goes on with it.
const restoreFile = "restore.snapshot"

// prepare writes the mint's secret into the new server's folder and stops the saved keysets: coins may have moved
// since the snapshot, so nothing is signed in them until an operator reconciles. Nothing is written for good before
// the words were found to be those of the snapshot's keys.
func (r Restore) prepare(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, secretFile)); err == nil {
		return fmt.Errorf("restore into %s: it holds a server already; `coinop server --dir %s` starts it", dir, dir)
	}
	epochs, err := parseWords(r.Words)
	if err != nil {
		return err
	}
	saved, err := os.Open(r.Snapshot)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer saved.Close()
	part := filepath.Join(dir, restoreFile+".part")
	if err := stopInto(part, saved, epochs); err != nil {
		return errors.Join(fmt.Errorf("restore %s: %w", r.Snapshot, err), os.RemoveAll(part))
	}
	if err := os.Rename(part, filepath.Join(dir, restoreFile)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return mint.WriteSealed(filepath.Join(dir, secretFile), epochs)
}

// stopInto writes a saved state with all its keysets stopped, and checks that the secrets are the ones of its keys.
func stopInto(path string, saved io.Reader, epochs []mint.Epoch) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := machine.StopKeysets(saved, out); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m, err := machine.Restore(out)
	if err != nil {
		return err
	}
	var keysets []mint.Keyset
	for _, k := range m.View().Keysets() {
		keysets = append(keysets, k.Keyset)
	}
	if _, err := mint.NewKeyring(epochs, keysets); err != nil {
		return fmt.Errorf("the recovery words do not fit: %w", err)
	}
	return nil
}

// parseWords reads what RecoveryWords has given, as `secret export` prints it or as JSON, or the bare words of the
// first epoch.
func parseWords(text string) ([]mint.Epoch, error) {
	list := []Epoch{}
	switch text = strings.TrimSpace(text); {
	case strings.HasPrefix(text, "["):
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, fmt.Errorf("read recovery words: %w", err)
		}
	case strings.HasPrefix(text, "epoch "):
		for _, part := range strings.Split("\n"+text, "\nepoch ")[1:] {
			head, words, _ := strings.Cut(part, ":")
			number, err := strconv.ParseUint(head, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("read recovery words: %.20q is no number of an epoch", head)
			}
			list = append(list, Epoch{uint32(number), words})
		}
	default:
		list = append(list, Epoch{1, text})
	}
	var epochs []mint.Epoch
	for _, e := range list {
		secret, err := mint.SecretFromWords(e.Words)
		if err != nil {
			return nil, fmt.Errorf("epoch %d: %w", e.Epoch, err)
		}
		if e.Epoch == 0 || slices.ContainsFunc(epochs, func(o mint.Epoch) bool { return o.Number == mint.EpochNumber(e.Epoch) }) {
			return nil, fmt.Errorf("read recovery words: epoch %d is there twice, or is none", e.Epoch)
		}
		epochs = append(epochs, mint.Epoch{Number: mint.EpochNumber(e.Epoch), Secret: secret})
	}
	if len(epochs) == 0 {
		return nil, errors.New("read recovery words: there are none")
	}
	slices.SortFunc(epochs, func(a, b mint.Epoch) int { return cmp.Compare(a.Number, b.Number) })
	return epochs, nil
}

// toRestore is the saved state that this folder's server has yet to take up, or empty.
func toRestore(dir string) string {
	path := filepath.Join(dir, restoreFile)
	for _, needed := range []string{path, filepath.Join(dir, secretFile)} {
		if _, err := os.Stat(needed); err != nil {
			return ""
		}
	}
	return path
}

// restore replaces the new cluster's empty state once this server leads, and lets in the operator whose token lies
// in this folder: the one of the lost cluster's may be lost too.
func (s *Server) restore(ctx context.Context) error {
	f, err := os.Open(s.restoreFrom)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	if err := s.node.SnapshotRestore(ctx, f); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(s.config.Dir, operatorFile))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	result, err := s.node.Propose(ctx, &machine.Token{
		Hash: sha256.Sum256([]byte(strings.TrimSpace(string(token)))), Role: machine.RoleOperator, Name: "made when a snapshot was restored",
	})
	if err := errors.Join(err, result.Err()); err != nil {
		return fmt.Errorf("restore: let the operator in: %w", err)
	}
	return os.Remove(s.restoreFrom)
}

// Stopped lists the keysets that wait for an operator since a restore.
func (s *Server) Stopped() []string {
	var ids []string
	for _, k := range s.node.View().Keysets() {
		if k.Stopped {
			ids = append(ids, string(k.ID))
		}
	}
	return ids
}
