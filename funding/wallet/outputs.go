package wallet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/coinop/coinop/funding/cashu"
)

// ErrForged says that a mint's signature is not of the key that it publishes.
var ErrForged = errors.New("the mint cheats or is broken")

// output is a blinded output with the counter that it is derived from.
type output struct {
	message cashu.BlindedMessage
	counter uint64
	secret  string
	r       cashu.Scalar
}

func messages(outputs []output) []cashu.BlindedMessage {
	list := make([]cashu.BlindedMessage, len(outputs))
	for i, o := range outputs {
		list[i] = o.message
	}
	return list
}

// makeOutputs advances the keyset's counter and derives outputs for amounts;
// zero is a blank. A counter is never used twice, whatever becomes of the
// payment: an output that the mint has seen must not come again.
func (w *Wallet) makeOutputs(tx local, set keyset, amounts []cashu.Units) ([]output, error) {
	if len(amounts) == 0 {
		return nil, nil
	}
	_, err := tx.Exec(`UPDATE keysets SET counter = counter + ?1, mirror = mirror - ?1 WHERE id = ?2`, len(amounts), set.id)
	if err != nil {
		return nil, fmt.Errorf("advance counter: %w", err)
	}
	var end, mirror int64
	if err := tx.QueryRow(`SELECT counter, mirror FROM keysets WHERE id = ?`, set.id).Scan(&end, &mirror); err != nil {
		return nil, fmt.Errorf("advance counter: %w", err)
	}
	if end != ^mirror {
		return nil, fmt.Errorf("advance counter: %w", broken("that of keyset %s", set.id))
	}
	outputs := make([]output, len(amounts))
	err = onCores(len(amounts), func(i int) (err error) {
		outputs[i], err = w.derive(set.id, uint64(end)-uint64(len(amounts))+uint64(i), amounts[i])
		return err
	})
	return outputs, err
}

// onCores does n pieces of work on the curve, as many at once as there are
// cores, and returns the first error by number.
func onCores(n int, work func(i int) error) error {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		errs    = make([]error, n)
	)
	share := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			errs[i] = work(i)
		}
	}
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		workers.Go(share)
	}
	share()
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Wallet) derive(id cashu.KeysetID, counter uint64, amount cashu.Units) (output, error) {
	secret, r, err := cashu.Derive(w.seed, id, counter)
	if err != nil {
		return output{}, err
	}
	blinded, err := cashu.Blind([]byte(secret), r)
	if err != nil {
		return output{}, err
	}
	return output{message: cashu.BlindedMessage{Amount: amount, ID: id, B_: blinded}, counter: counter, secret: secret, r: r}, nil
}

// outputsOf reads a payment's outputs, or its blanks, in order.
func (w *Wallet) outputsOf(ctx context.Context, q query, payment string, blank bool) ([]output, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+outputColumns+` FROM outputs o WHERE payment = ? AND blank = ? ORDER BY place`, payment, blank)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []output
	for rows.Next() {
		_, o, err := readOutput(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// outputColumns are what readOutput reads, of outputs as o.
const outputColumns = `o.payment, o.blank, o.place, o.keyset, o.counter, o.amount, o.b, o.seal`

func readOutput(rows *sql.Rows) (payment string, o output, err error) {
	var blank, place, counter, amount, sealed int64
	var b []byte
	if err := rows.Scan(&payment, &blank, &place, &o.message.ID, &counter, &amount, &b, &sealed); err != nil {
		return "", o, err
	}
	if sealed != seal(payment, blank, place, o.message.ID, counter, amount, b) {
		return "", o, broken("output %d of payment %s", place+1, payment)
	}
	o.counter, o.message.Amount = uint64(counter), cashu.Units(amount)
	return payment, o, o.message.B_.UnmarshalBinary(b)
}

// unblind checks a mint's signature on an output and makes the coin of it. The
// coin keeps its proof, so that whoever receives it can check it.
func (w *Wallet) unblind(o output, signature cashu.BlindSignature, set keyset) (cashu.Proof, error) {
	key, ok := set.keys.For(signature.Amount)
	if !ok || signature.ID != o.message.ID {
		return cashu.Proof{}, fmt.Errorf("the mint signed for %d of keyset %s, which was not asked", signature.Amount, signature.ID)
	}
	if o.message.Amount != 0 && signature.Amount != o.message.Amount {
		return cashu.Proof{}, fmt.Errorf("the mint signed for %d where %d was asked", signature.Amount, o.message.Amount)
	}
	if err := signature.VerifyDLEQ(key, o.message.B_); err != nil {
		// Not wrapped: it is no refusal, the coins that paid for it are gone.
		return cashu.Proof{}, fmt.Errorf("%w: %v", ErrForged, err)
	}
	secret, r, err := cashu.Derive(w.seed, o.message.ID, o.counter)
	if err != nil {
		return cashu.Proof{}, err
	}
	c, err := cashu.Unblind(signature.C_, r, key)
	if err != nil {
		return cashu.Proof{}, err
	}
	return cashu.Proof{Amount: signature.Amount, ID: o.message.ID, Secret: secret, C: c,
		DLEQ: &cashu.DLEQ{E: signature.DLEQ.E, S: signature.DLEQ.S, R: &r}}, nil
}

// unblindAll makes coins of the signatures on the first outputs, in order.
func (w *Wallet) unblindAll(ctx context.Context, mint int64, outputs []output, signatures []cashu.BlindSignature) ([]cashu.Proof, error) {
	if len(signatures) > len(outputs) {
		return nil, fmt.Errorf("the mint sent %d signatures for %d outputs", len(signatures), len(outputs))
	}
	sets, err := keysetsOf(ctx, w.file, mint)
	if err != nil {
		return nil, err
	}
	coins := make([]cashu.Proof, len(signatures))
	err = onCores(len(signatures), func(i int) error {
		set, err := findKeyset(sets, outputs[i].message.ID)
		if err != nil {
			return err
		}
		if coins[i], err = w.unblind(outputs[i], signatures[i], set); err != nil {
			return fmt.Errorf("output %d: %w", i+1, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return coins, nil
}

// storeCoins adds coins; those that are there already are left as they are.
func storeCoins(tx local, coins []cashu.Proof) (added cashu.Units, err error) {
	for _, coin := range coins {
		var e, s, r []byte
		if coin.DLEQ != nil && coin.DLEQ.R != nil {
			e, s, r = coin.DLEQ.E[:], coin.DLEQ.S[:], coin.DLEQ.R[:]
		}
		result, err := tx.Exec(`INSERT INTO coins (secret, keyset, amount, c, e, s, r, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			coin.Secret, coin.ID, int64(coin.Amount), coin.C[:], e, s, r, seal(coin.Secret, coin.ID, int64(coin.Amount), coin.C[:], e, s, r))
		if err != nil {
			return 0, fmt.Errorf("store coin: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		if n == 1 {
			added += coin.Amount
		}
	}
	return added, nil
}

// readCoin reads a coin with its proof.
func readCoin(tx local, secret string) (cashu.Proof, error) {
	coin := cashu.Proof{Secret: secret}
	var amount, sealed int64
	var c, e, s, r []byte
	err := tx.QueryRow(`SELECT keyset, amount, c, e, s, r, seal FROM coins WHERE secret = ?`, secret).Scan(&coin.ID, &amount, &c, &e, &s, &r, &sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && sealed != seal(secret, coin.ID, amount, c, e, s, r) {
		err = broken("a coin of %d", amount)
	}
	if err != nil {
		return coin, fmt.Errorf("read coin: %w", err)
	}
	coin.Amount = cashu.Units(amount)
	if err := coin.C.UnmarshalBinary(c); err != nil {
		return coin, err
	}
	if len(e) == 32 && len(s) == 32 && len(r) == 32 {
		factor := cashu.Scalar(r)
		coin.DLEQ = &cashu.DLEQ{E: cashu.Scalar(e), S: cashu.Scalar(s), R: &factor}
	}
	return coin, nil
}
