package wallet

import (
	"context"
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

const (
	restoreBatch = 100
	// restoreGap is how many counters in a row may be unsigned before the search
	// ends. Payments that were refused and blanks that stayed empty leave gaps.
	restoreGap = 1000
	// restoreMargin is left free after the last one found: blanks still pending
	// there are not shown by the mint and must not be used again. It is smaller
	// than the gap, so that a later restore still bridges it.
	restoreMargin = 500
)

// Restored says what a restore has found in a mint.
type Restored struct {
	Coins  int
	Amount map[string]cashu.Units // by unit
}

// Restore finds the wallet's coins at a mint again, from the recovery words
// alone (NUT-09 and 13). It may be repeated: change that is signed later is
// found by a later one.
func (w *Wallet) Restore(ctx context.Context, mintURL string) (Restored, error) {
	found := Restored{Amount: make(map[string]cashu.Units)}
	if err := w.Use(ctx, mintURL); err != nil {
		return found, fmt.Errorf("restore: %w", err)
	}
	mint, err := mintOf(ctx, w.file, mintURL)
	if err != nil {
		return found, fmt.Errorf("restore: %w", err)
	}
	sets, err := keysetsOf(ctx, w.file, mint)
	if err != nil {
		return found, fmt.Errorf("restore: %w", err)
	}
	client := w.config.Mint(normal(mintURL))
	for _, set := range sets {
		if !set.listed {
			continue
		}
		if err := w.restoreKeyset(ctx, client, set, &found); err != nil {
			return found, fmt.Errorf("restore keyset %s: %w", set.id, err)
		}
	}
	return found, nil
}

func (w *Wallet) restoreKeyset(ctx context.Context, client MintClient, set keyset, found *Restored) error {
	var last uint64
	any := false
	for start := uint64(0); start < last+restoreGap; start += restoreBatch {
		outputs := make([]output, restoreBatch)
		for i := range outputs {
			o, err := w.derive(set.id, start+uint64(i), 0)
			if err != nil {
				return err
			}
			outputs[i] = o
		}
		answer, err := client.Restore(ctx, cashu.RestoreRequest{Outputs: messages(outputs)})
		if err != nil {
			return err
		}
		pairs, err := pairUp(answer)
		if err != nil {
			return err
		}
		var coins []cashu.Proof
		for _, o := range outputs {
			signature, ok := pairs[o.message.B_]
			if !ok {
				continue
			}
			coin, err := w.unblind(o, signature, set)
			if err != nil {
				return fmt.Errorf("coin %d: %w", o.counter, err)
			}
			coins, last, any = append(coins, coin), o.counter, true
		}
		if err := w.addUnspent(ctx, client, set, coins, found); err != nil {
			return err
		}
	}
	if !any {
		return nil
	}
	return w.transact(ctx, func(tx local) error {
		_, err := tx.Exec(`UPDATE keysets SET counter = max(counter, ?1), mirror = min(mirror, -?1 - 1) WHERE id = ?2`, int64(last+1+restoreMargin), set.id)
		return err
	})
}

// addUnspent stores those coins that the mint says are unspent.
func (w *Wallet) addUnspent(ctx context.Context, client MintClient, set keyset, coins []cashu.Proof, found *Restored) error {
	if len(coins) == 0 {
		return nil
	}
	var ask cashu.CheckStateRequest
	for _, coin := range coins {
		ask.Ys = append(ask.Ys, coin.Y())
	}
	answer, err := client.CheckState(ctx, ask)
	if err != nil {
		return err
	}
	states := make(map[cashu.Point]cashu.CoinState, len(answer.States))
	for _, entry := range answer.States {
		states[entry.Y] = entry.State
	}
	var unspent []cashu.Proof
	for i, coin := range coins {
		if states[ask.Ys[i]] == cashu.CoinUnspent {
			unspent = append(unspent, coin)
		}
	}
	return w.transact(ctx, func(tx local) error {
		var added cashu.Units
		for _, coin := range unspent {
			one, err := storeCoins(tx, []cashu.Proof{coin})
			if err != nil {
				return err
			}
			if one > 0 {
				found.Coins++
			}
			added += one
		}
		found.Amount[set.unit] += added
		if added == 0 {
			return nil
		}
		return w.record(tx, set.mint, Payment{Unit: set.unit, Purpose: "restored"}, "restore", int64(added))
	})
}
