package wallet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

// Prune asks the mint which free coins were spent elsewhere, by another wallet
// with the same words or a copy of the folder, and forgets those. Without it a
// wallet would offer them again and again and be refused. It says what they
// were worth.
func (w *Wallet) Prune(ctx context.Context, mintURL string) (cashu.Units, error) {
	var lost cashu.Units
	mint, err := mintOf(ctx, w.file, mintURL)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	sets, err := keysetsOf(ctx, w.file, mint)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	client := w.config.Mint(normal(mintURL))
	for _, set := range sets {
		coins, err := freeCoins(ctx, w.file, []keyset{set}, set.unit)
		if err != nil {
			return lost, fmt.Errorf("prune: %w", err)
		}
		for len(coins) > 0 {
			lot := coins[:min(len(coins), restoreBatch)]
			coins = coins[len(lot):]
			gone, err := w.pruneLot(ctx, client, set, lot)
			if err != nil {
				return lost, fmt.Errorf("prune: %w", err)
			}
			lost += gone
		}
	}
	return lost, nil
}

func (w *Wallet) pruneLot(ctx context.Context, client MintClient, set keyset, lot []candidate) (cashu.Units, error) {
	var ask cashu.CheckStateRequest
	secrets := make(map[cashu.Point]string, len(lot))
	for _, coin := range lot {
		y := cashu.HashToCurve([]byte(coin.secret))
		ask.Ys = append(ask.Ys, y)
		secrets[y] = coin.secret
	}
	answer, err := client.CheckState(ctx, ask)
	if err != nil {
		return 0, err
	}
	var lost int64
	err = w.transact(ctx, func(tx local) error {
		for _, entry := range answer.States {
			secret, ours := secrets[entry.Y]
			if !ours || entry.State != cashu.CoinSpent {
				continue
			}
			// It may have been reserved meanwhile: then its payment decides.
			var amount int64
			err := tx.QueryRow(`DELETE FROM coins WHERE secret = ? AND payment IS NULL RETURNING amount`, secret).Scan(&amount)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			lost += amount
		}
		return w.record(tx, set.mint, Payment{Unit: set.unit, Purpose: "spent elsewhere"}, "prune", -lost)
	})
	return cashu.Units(lost), err
}
