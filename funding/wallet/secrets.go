package wallet

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Held is a secret with what it is for.
type Held struct {
	Secret  Secret
	Mint    string
	Kind    string // "job", "pot"
	Number  int64  // zero until the answer has told it
	Name    string
	Payment string
	At      time.Time
}

// ErrNoSecret says that a job or pot was not made from this wallet.
var ErrNoSecret = errors.New("this wallet has no key for it")

// SetNumber writes down which job or pot a payment's secret belongs to.
func (w *Wallet) SetNumber(ctx context.Context, payment string, number int64) error {
	err := w.transact(ctx, func(tx local) error {
		_, err := tx.Exec(`UPDATE secrets SET number = ? WHERE payment = ?`, number, payment)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the number of payment %s: %w", payment, err)
	}
	return nil
}

// SecretOf finds the secret of a job or pot by its number.
func (w *Wallet) SecretOf(ctx context.Context, mintURL, kind string, number int64) (Held, error) {
	list, err := w.secrets(ctx, mintURL, `AND s.kind = ? AND s.number = ? AND s.number != 0 ORDER BY s.at DESC LIMIT 1`, kind, number)
	if err != nil {
		return Held{}, fmt.Errorf("find the key of %s %d: %w", kind, number, err)
	}
	if len(list) == 0 {
		return Held{}, fmt.Errorf("find the key of %s %d: %w", kind, number, ErrNoSecret)
	}
	return list[0], nil
}

// Secrets lists all secrets of a kind, the newest first.
func (w *Wallet) Secrets(ctx context.Context, mintURL, kind string) ([]Held, error) {
	list, err := w.secrets(ctx, mintURL, `AND s.kind = ? ORDER BY s.at DESC, s.payment DESC`, kind)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return list, nil
}

func (w *Wallet) secrets(ctx context.Context, mintURL, where string, args ...any) ([]Held, error) {
	mint, err := mintOf(ctx, w.file, mintURL)
	if err != nil {
		return nil, err
	}
	rows, err := w.file.QueryContext(ctx, `SELECT s.secret, m.url, s.kind, s.number, s.name, s.payment, s.at
		FROM secrets s JOIN mints m ON m.id = s.mint WHERE s.mint = ? `+where, append([]any{mint}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Held
	for rows.Next() {
		var h Held
		var raw []byte
		var at int64
		if err := rows.Scan(&raw, &h.Mint, &h.Kind, &h.Number, &h.Name, &h.Payment, &at); err != nil {
			return nil, err
		}
		if len(raw) != len(h.Secret) {
			return nil, fmt.Errorf("the secret of %s %d is damaged", h.Kind, h.Number)
		}
		h.Secret, h.At = Secret(raw), time.UnixMilli(at)
		list = append(list, h)
	}
	return list, rows.Err()
}
