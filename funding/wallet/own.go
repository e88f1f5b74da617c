package wallet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coinop/coinop/funding/cashu"
)

// send sends one of the wallet's own requests and writes down the answer. A
// mint that does not repeat answers says on the second try that the coins are
// spent; then the signatures are asked for by restore.
func (w *Wallet) send(ctx context.Context, p Payment) error {
	client := w.config.Mint(p.Mint)
	signatures, err := exchange(ctx, client, p)
	if used(err) {
		found, whole, failed := w.recover(ctx, client, p)
		switch {
		case failed != nil:
			err = failed // not known yet, so nothing is given up
		case whole:
			signatures, err = found, nil
		}
	}
	if err == nil {
		return w.Complete(ctx, p.ID, signatures)
	}
	if IsRefusal(err) {
		return errors.Join(err, w.Refused(ctx, p.ID))
	}
	return fmt.Errorf("the outcome is unknown and nothing is lost, it is asked for again at the next start: %w", err)
}

func exchange(ctx context.Context, client MintClient, p Payment) ([]cashu.BlindSignature, error) {
	if p.Kind == KindMint {
		var request cashu.MintRequest
		if err := json.Unmarshal(p.Request, &request); err != nil {
			return nil, err
		}
		answer, err := client.Mint(ctx, strings.TrimPrefix(p.Path, "/v1/mint/"), request)
		return answer.Signatures, err
	}
	var request cashu.SwapRequest
	if err := json.Unmarshal(p.Request, &request); err != nil {
		return nil, err
	}
	answer, err := client.Swap(ctx, request)
	return answer.Signatures, err
}

// used reports whether a refusal may mean that the request was taken before.
func used(err error) bool {
	for _, code := range []cashu.Code{cashu.CodeSpent, cashu.CodeOutputsSigned, cashu.CodeQuoteIssued} {
		if errors.Is(err, &cashu.Error{Code: code}) {
			return true
		}
	}
	return false
}

// recover asks for all of a payment's signatures by restore. whole is false
// where the mint has not signed them, so that the refusal stands.
func (w *Wallet) recover(ctx context.Context, client MintClient, p Payment) (list []cashu.BlindSignature, whole bool, err error) {
	answer, err := client.Restore(ctx, cashu.RestoreRequest{Outputs: p.Outputs})
	if err != nil {
		return nil, false, fmt.Errorf("ask for signatures made before: %v", err)
	}
	pairs, err := pairUp(answer)
	if err != nil {
		return nil, false, err
	}
	signatures := make([]cashu.BlindSignature, len(p.Outputs))
	for i, o := range p.Outputs {
		signature, ok := pairs[o.B_]
		if !ok {
			return nil, false, nil
		}
		signatures[i] = signature
	}
	return signatures, true, nil
}

// Resume sends again what the wallet itself has left unfinished: swaps, tokens
// being received, quotes being minted. Every start calls it first, sends again
// what [Wallet.Unfinished] lists, and calls [Wallet.CollectChange].
func (w *Wallet) Resume(ctx context.Context) error {
	if idle, err := w.idle(ctx); idle || err != nil {
		return err
	}
	var ids []string
	err := w.transact(ctx, func(tx local) (err error) {
		if err = w.adopt(ctx, tx); err != nil {
			return err
		}
		ids, err = column(ctx, tx, `SELECT id FROM payments WHERE state = 'open' AND kind != 'job' AND owner = ? ORDER BY id`, w.owner.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	var failed []error
	for _, id := range ids {
		p, err := w.readPayment(ctx, w.file, id)
		if err == nil {
			err = w.send(ctx, p)
		}
		if err != nil && !IsRefusal(err) {
			failed = append(failed, fmt.Errorf("resume %s %s: %w", p.Kind, id, err))
		}
	}
	return errors.Join(failed...)
}

// Swap changes coins of the wallet so that it has coins of the amounts given.
func (w *Wallet) Swap(ctx context.Context, mintURL, unit string, amounts []cashu.Units) error {
	p, err := w.prepare(ctx, KindSwap, Order{
		Mint: mintURL, Unit: unit, Outputs: amounts, Purpose: "change coins", Method: "POST", Path: "/v1/swap",
	}, Secret{}, func(d Draft) ([]byte, error) {
		return json.Marshal(cashu.SwapRequest{Inputs: d.Inputs, Outputs: d.Outputs})
	})
	if err != nil {
		return err
	}
	if err := w.send(ctx, p); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	return nil
}

// Receive takes a token's coins by swapping them at once, so that the sender
// cannot spend them any more. The mint must be known, by the token's URL or by
// its keysets: see [Wallet.Use].
func (w *Wallet) Receive(ctx context.Context, text string) (cashu.Units, error) {
	token, err := cashu.DecodeToken(text)
	if err != nil {
		return 0, err
	}
	if token.Mint, err = w.mintOfToken(ctx, token); err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	inputs, worth, set, err := w.inspect(ctx, token)
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	have, err := countCoins(ctx, w.file, set.id)
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	p, err := w.prepare(ctx, KindReceive, Order{
		Mint: token.Mint, Unit: set.unit, Outputs: spread(worth, have, spreadIssue), Free: true, Method: "POST", Path: "/v1/swap",
		Purpose: strings.TrimSpace("received " + token.Memo),
	}, Secret{}, func(d Draft) ([]byte, error) {
		return json.Marshal(cashu.SwapRequest{Inputs: cashu.Bare(inputs), Outputs: d.Outputs})
	})
	if err != nil {
		return 0, err
	}
	if err := w.send(ctx, p); err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	return worth, nil
}

// mintOfToken is the URL under which the wallet knows a token's mint. A token
// may name another address of it: then its keysets tell, which are the mint.
func (w *Wallet) mintOfToken(ctx context.Context, token cashu.Token) (string, error) {
	_, unknown := mintOf(ctx, w.file, token.Mint)
	if !errors.Is(unknown, ErrMintUnknown) {
		return token.Mint, unknown
	}
	url := ""
	for _, coin := range token.Proofs {
		// An id may be written short, as a prefix.
		found, err := column(ctx, w.file, `SELECT DISTINCT url FROM keysets JOIN mints ON mints.id = mint
			WHERE substr(keysets.id, 1, length(?1)) = ?1`, coin.ID)
		if err != nil {
			return "", err
		}
		if len(found) != 1 || url != "" && found[0] != url {
			return "", unknown
		}
		url = found[0]
	}
	if url == "" {
		return "", unknown
	}
	return url, nil
}

// inspect checks what can be seen of a token without the mint, and says what
// is left of it after the fee.
func (w *Wallet) inspect(ctx context.Context, token cashu.Token) (inputs []cashu.Proof, worth cashu.Units, active keyset, err error) {
	mint, err := mintOf(ctx, w.file, token.Mint)
	if err != nil {
		return nil, 0, keyset{}, err
	}
	sets, err := keysetsOf(ctx, w.file, mint)
	if err != nil {
		return nil, 0, keyset{}, err
	}
	known := make([]cashu.KeysetID, len(sets))
	for i, set := range sets {
		known[i] = set.id
	}
	var thousandths uint64
	unit := token.Unit
	for i, coin := range token.Proofs {
		if coin.ID, err = coin.ID.Resolve(known); err != nil {
			return nil, 0, keyset{}, err
		}
		set, err := findKeyset(sets, coin.ID)
		if err != nil {
			return nil, 0, keyset{}, err
		}
		if unit == "" {
			unit = set.unit
		}
		if set.unit != unit {
			return nil, 0, keyset{}, fmt.Errorf("coin %d is in %s, the token says %s", i+1, set.unit, unit)
		}
		key, ok := set.keys.For(coin.Amount)
		if !ok {
			return nil, 0, keyset{}, fmt.Errorf("coin %d is worth %d, which its keyset does not have", i+1, coin.Amount)
		}
		if coin.DLEQ != nil {
			if err := coin.VerifyDLEQ(key); err != nil {
				return nil, 0, keyset{}, fmt.Errorf("coin %d: %w", i+1, err)
			}
		}
		thousandths += set.fee
		worth += coin.Amount
		inputs = append(inputs, coin)
	}
	fee := cashu.Units((thousandths + 999) / 1000)
	if worth <= fee {
		return nil, 0, keyset{}, fmt.Errorf("the token is worth %d and the mint's fee for it is %d", worth, fee)
	}
	active, err = activeOf(sets, unit)
	return inputs, worth - fee, active, err
}

// Token is a token that was sent, and is kept in case it is never received.
type Token struct {
	ID     string
	Amount cashu.Units
	Text   string
}

// Send makes a token of coins worth exactly an amount, swapping first where the
// wallet has no such coins. The token names the mint by its public URL where
// there is one, else by the URL it is known by here. It can be had again with
// [Wallet.Sent].
func (w *Wallet) Send(ctx context.Context, mintURL, unit string, amount cashu.Units, memo, public string) (Token, error) {
	for try := 0; ; try++ {
		token, err := w.takeExact(ctx, mintURL, unit, amount, memo, public)
		if err == nil || !errors.Is(err, errInexact) || try == 3 {
			return token, err
		}
		if err := w.Swap(ctx, mintURL, unit, cashu.Split(amount)); err != nil {
			return Token{}, err
		}
	}
}

var errInexact = errors.New("send: there are no coins of exactly this amount")

func (w *Wallet) takeExact(ctx context.Context, mintURL, unit string, amount cashu.Units, memo, public string) (Token, error) {
	if amount == 0 {
		return Token{}, errors.New("send: the amount is zero")
	}
	var token Token
	err := w.transact(ctx, func(tx local) error {
		mint, err := mintOf(ctx, tx, mintURL)
		if err != nil {
			return err
		}
		sets, err := keysetsOf(ctx, tx, mint)
		if err != nil {
			return err
		}
		active, err := activeOf(sets, unit)
		if err != nil {
			return err
		}
		coins, err := freeCoins(ctx, tx, sets, active.unit)
		if err != nil {
			return err
		}
		for i := range coins {
			coins[i].fee = 0 // the receiver pays it
		}
		chosen, _, ok := choose(coins, amount)
		if !ok {
			return shortage(ctx, tx, active, coins, amount)
		}
		out := cashu.Token{Mint: normal(cmp.Or(public, mintURL)), Unit: active.unit, Memo: memo}
		for _, coin := range chosen {
			proof, err := readCoin(tx, coin.secret)
			if err != nil {
				return err
			}
			out.Proofs = append(out.Proofs, proof)
		}
		if sum, err := cashu.SumProofs(out.Proofs); err != nil || sum != amount {
			return errInexact
		}
		token, err = w.storeToken(tx, mint, amount, out)
		return err
	})
	if err != nil && !errors.Is(err, errInexact) {
		err = fmt.Errorf("send: %w", err)
	}
	return token, err
}

func (w *Wallet) storeToken(tx local, mint int64, amount cashu.Units, out cashu.Token) (Token, error) {
	id, err := w.newID()
	if err != nil {
		return Token{}, err
	}
	text, err := cashu.EncodeToken(out)
	if err != nil {
		return Token{}, err
	}
	for _, proof := range out.Proofs {
		if _, err := tx.Exec(`DELETE FROM coins WHERE secret = ?`, proof.Secret); err != nil {
			return Token{}, err
		}
	}
	at := w.config.Now().UnixMilli()
	if _, err := tx.Exec(`INSERT INTO tokens (id, mint, amount, token, at) VALUES (?, ?, ?, ?, ?)`, id, mint, int64(amount), text, at); err != nil {
		return Token{}, err
	}
	p := Payment{ID: id, Unit: out.Unit, Purpose: strings.TrimSpace("sent " + out.Memo)}
	return Token{ID: id, Amount: amount, Text: text}, w.record(tx, mint, p, "send", -int64(amount))
}

// Sent lists the tokens sent, the newest first. A token that nobody has
// received can be received back.
func (w *Wallet) Sent(ctx context.Context) ([]Token, error) {
	rows, err := w.file.QueryContext(ctx, `SELECT id, amount, token FROM tokens ORDER BY id DESC LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	defer rows.Close()
	var list []Token
	for rows.Next() {
		var token Token
		var amount int64
		if err := rows.Scan(&token.ID, &amount, &token.Text); err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		token.Amount = cashu.Units(amount)
		list = append(list, token)
	}
	return list, rows.Err()
}
