package wallet

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding/cashu"
)

// NewQuoteKey makes a key to lock a mint quote to (NUT-20), so that the quote's
// id alone does not let anyone take its coins. The key follows from the
// recovery words and its number, which is written down.
func (w *Wallet) NewQuoteKey(ctx context.Context) (cashu.Point, error) {
	var public cashu.Point
	err := w.transact(ctx, func(tx local) error {
		var number int64
		if err := tx.QueryRow(`SELECT coalesce(max(number), 0) + 1 FROM quotekeys`).Scan(&number); err != nil {
			return err
		}
		var err error
		if public, err = w.quoteKey(number).Public(); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO quotekeys (pubkey, number) VALUES (?, ?)`, public[:], number)
		return err
	})
	if err != nil {
		return cashu.Point{}, fmt.Errorf("make a quote's key: %w", err)
	}
	return public, nil
}

func (w *Wallet) quoteKey(number int64) cashu.Scalar {
	mac := hmac.New(sha256.New, w.seed)
	mac.Write([]byte("coinop/1/quote"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(number)))
	return cashu.Scalar(mac.Sum(nil))
}

// Issue takes the coins of a paid quote. The quote must be locked to a key of
// this wallet, or to none.
func (w *Wallet) Issue(ctx context.Context, mintURL, method string, quote cashu.MintQuote) (cashu.Units, error) {
	var number int64
	if quote.Pubkey != nil {
		err := w.file.QueryRowContext(ctx, `SELECT number FROM quotekeys WHERE pubkey = ?`, quote.Pubkey[:]).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, fmt.Errorf("issue: quote %s is locked to a key that is not this wallet's", quote.Quote)
		}
		if err != nil {
			return 0, fmt.Errorf("issue: %w", err)
		}
	}
	have, err := w.haveOf(ctx, mintURL, quote.Unit)
	if err != nil {
		return 0, fmt.Errorf("issue: %w", err)
	}
	p, err := w.prepare(ctx, KindMint, Order{
		Mint: mintURL, Unit: quote.Unit, Outputs: spread(quote.Amount, have, spreadIssue), Free: true,
		Method: "POST", Path: "/v1/mint/" + method, Purpose: "issued against a quote",
	}, Secret{}, func(d Draft) ([]byte, error) {
		request := cashu.MintRequest{Quote: quote.Quote, Outputs: d.Outputs}
		if number != 0 {
			if err := request.Sign(w.quoteKey(number)); err != nil {
				return nil, err
			}
		}
		return json.Marshal(request)
	})
	if err != nil {
		return 0, err
	}
	if err := w.send(ctx, p); err != nil {
		return 0, fmt.Errorf("issue: %w", err)
	}
	return quote.Amount, nil
}

// haveOf counts the free coins of a unit's active keyset by amount.
func (w *Wallet) haveOf(ctx context.Context, mintURL, unit string) (map[cashu.Units]int, error) {
	mint, err := mintOf(ctx, w.file, mintURL)
	if err != nil {
		return nil, err
	}
	sets, err := keysetsOf(ctx, w.file, mint)
	if err != nil {
		return nil, err
	}
	active, err := activeOf(sets, unit)
	if err != nil {
		return nil, err
	}
	return countCoins(ctx, w.file, active.id)
}
