package wallet

import (
	"context"
	"fmt"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Movement is one line of the wallet's history.
type Movement struct {
	Number  int64
	At      time.Time
	Kind    string // job, swap, receive, mint, send, change, restore
	Mint    string
	Unit    string
	Amount  int64 // what the wallet has more by it; negative for what left it
	Purpose string
	Payment string
}

// record writes a line of history. Swaps that cost nothing are no movement.
func (w *Wallet) record(tx local, mint int64, p Payment, kind string, amount int64) error {
	if amount == 0 {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO history (at, kind, mint, unit, amount, purpose, payment) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		w.config.Now().UnixMilli(), kind, mint, p.Unit, amount, p.Purpose, p.ID)
	return err
}

// History lists movements, the newest first. The sum over all of a unit is the
// wallet's balance in it.
func (w *Wallet) History(ctx context.Context, limit int) ([]Movement, error) {
	rows, err := w.file.QueryContext(ctx, `SELECT number, at, kind, url, unit, amount, purpose, payment
		FROM history JOIN mints ON mints.id = mint ORDER BY number DESC LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close()
	var list []Movement
	for rows.Next() {
		var m Movement
		var at int64
		if err := rows.Scan(&m.Number, &at, &m.Kind, &m.Mint, &m.Unit, &m.Amount, &m.Purpose, &m.Payment); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		m.At = time.UnixMilli(at)
		list = append(list, m)
	}
	return list, rows.Err()
}

// Balance is what the wallet has at one mint in one unit.
type Balance struct {
	Mint string
	Unit string
	// Free can be spent now; Reserved is in payments without an answer yet; Lost
	// is of keysets that the mint does not list any more.
	Free     cashu.Units
	Reserved cashu.Units
	Lost     cashu.Units
	Coins    int
	// Waiting is how many payments may still bring change.
	Waiting int
}

// Balances lists what the wallet has, mint by mint.
func (w *Wallet) Balances(ctx context.Context) ([]Balance, error) {
	if err := w.checkCoins(ctx); err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	rows, err := w.file.QueryContext(ctx, `SELECT url, unit,
			coalesce(sum(amount) FILTER (WHERE listed AND payment IS NULL), 0),
			coalesce(sum(amount) FILTER (WHERE listed AND payment IS NOT NULL), 0),
			coalesce(sum(amount) FILTER (WHERE NOT listed), 0), count(secret),
			(SELECT count(*) FROM payments p WHERE p.state = 'paid' AND p.mint = mints.id AND p.unit = keysets.unit)
		FROM mints JOIN keysets ON keysets.mint = mints.id LEFT JOIN coins ON coins.keyset = keysets.id
		GROUP BY mints.id, unit ORDER BY mints.id, unit`)
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	defer rows.Close()
	var list []Balance
	for rows.Next() {
		var b Balance
		var free, reserved, lost int64
		if err := rows.Scan(&b.Mint, &b.Unit, &free, &reserved, &lost, &b.Coins, &b.Waiting); err != nil {
			return nil, fmt.Errorf("read balances: %w", err)
		}
		b.Free, b.Reserved, b.Lost = cashu.Units(free), cashu.Units(reserved), cashu.Units(lost)
		list = append(list, b)
	}
	return list, rows.Err()
}
