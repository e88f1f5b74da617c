package wallet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Kind says what a payment is for.
type Kind string

// The kinds; all but KindJob are sent by the wallet itself.
const (
	KindJob     Kind = "job"     // whatever the caller sends: a job, a deposit, a pot
	KindSwap    Kind = "swap"    // coins for other coins of the wallet
	KindReceive Kind = "receive" // a token's coins for coins of the wallet
	KindMint    Kind = "mint"    // a paid quote for coins
)

// State says how far a payment has come.
type State string

// A payment is open until its answer is written down; then it waits for its
// change, if it has blanks.
const (
	StateOpen    State = "open"
	StatePaid    State = "paid"    // taken by the mint; blanks may still be signed
	StateDone    State = "done"    // nothing more to come
	StateRefused State = "refused" // definitely not taken; its coins are free again
)

// Order says what is to be paid.
type Order struct {
	Mint    string      // the mint's URL
	Unit    string      // empty: the unit of the mint's first active keyset
	Pay     cashu.Units // zero where only the secret and the request matter
	Purpose string      // for the history, in the user's words
	Method  string      // of the request that will be sent
	Path    string
	// Name and SecretKind say what the secret will be for: "job", "pot".
	Name       string
	SecretKind string
	// NoBlanks leaves the blanks out, for a payment whose change comes back
	// otherwise or not at all.
	NoBlanks bool
	// Outputs that are not change: the caller knows their amounts, and Pay does
	// not contain them.
	Outputs []cashu.Units
	// Free says that the Outputs are owed to the wallet, as a refund is: no coins
	// are taken for them.
	Free bool
}

// Draft is what the request is to be made of.
type Draft struct {
	ID      string // a ULID, to be sent as the idempotency key
	Secret  Secret
	Inputs  []cashu.Proof
	Outputs []cashu.BlindedMessage
	Blanks  []cashu.BlindedMessage
	Fee     cashu.Units
}

// Payment is a request that was written down, with all that is needed to send
// it again.
type Payment struct {
	ID      string
	Mint    string
	Kind    Kind
	State   State
	Purpose string
	Unit    string
	Pay     cashu.Units
	Fee     cashu.Units
	Method  string
	Path    string
	Request []byte
	Secret  Secret
	Outputs []cashu.BlindedMessage
	Blanks  []cashu.BlindedMessage
	At      time.Time
	// Again says that it may have been sent before and been taken. Then only an
	// answer of the mint is a refusal: that it cannot be reached, or has no time
	// now, says nothing about the first time.
	Again bool
}

// ErrShort says that the wallet has too little.
type ErrShort struct {
	Need  cashu.Units // without fees
	Free  cashu.Units
	Tied  cashu.Units // expected back from payments that are under way
	Units string
}

func (e *ErrShort) Error() string {
	return fmt.Sprintf("the wallet has %d %s free, and %d are needed with fees on top (%d more are tied up in payments under way)",
		e.Free, e.Units, e.Need, e.Tied)
}

// Prepare reserves coins, derives outputs for the exact change and blanks for
// the later one, lets build make the request from them, and stores all of it in
// one transaction. Only then may it be sent. Where the coins are tied up in
// other payments it waits for them for a while.
//
// build runs inside the transaction: it must be quick and not use the wallet.
func (w *Wallet) Prepare(ctx context.Context, order Order, build func(Draft) ([]byte, error)) (Payment, error) {
	draw := make([]byte, len(Secret{}))
	if _, err := io.ReadFull(w.config.Random, draw); err != nil {
		return Payment{}, fmt.Errorf("draw a secret: %w", err)
	}
	return w.prepare(ctx, KindJob, order, Secret(draw), build)
}

func (w *Wallet) prepare(ctx context.Context, kind Kind, order Order, secret Secret, build func(Draft) ([]byte, error)) (Payment, error) {
	deadline := w.config.Now().Add(w.config.Wait)
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, 200*time.Millisecond) {
		var payment Payment
		err := w.transact(ctx, func(tx local) (err error) {
			payment, err = w.reserve(ctx, tx, kind, order, secret, build)
			return err
		})
		if err == nil {
			return payment, nil
		}
		var short *ErrShort
		if !errors.As(err, &short) || short.Tied == 0 || short.Free+short.Tied < short.Need || !w.config.Now().Before(deadline) {
			return Payment{}, fmt.Errorf("prepare payment: %w", err)
		}
		if err := pause(ctx, delay); err != nil {
			return Payment{}, fmt.Errorf("prepare payment: wait for coins under way: %w", err)
		}
	}
}

// reserve is the transaction of Prepare.
func (w *Wallet) reserve(ctx context.Context, tx local, kind Kind, order Order, secret Secret, build func(Draft) ([]byte, error)) (Payment, error) {
	mint, err := mintOf(ctx, tx, order.Mint)
	if err != nil {
		return Payment{}, err
	}
	sets, err := keysetsOf(ctx, tx, mint)
	if err != nil {
		return Payment{}, err
	}
	active, err := activeOf(sets, order.Unit)
	if err != nil {
		return Payment{}, err
	}
	id, err := w.newID()
	if err != nil {
		return Payment{}, err
	}
	if order.Free && order.Pay != 0 {
		return Payment{}, errors.New("a payment that is owed to the wallet pays nothing")
	}
	draft := Draft{ID: id, Secret: secret}
	amounts := append([]cashu.Units(nil), order.Outputs...)
	if !order.Free {
		var change cashu.Units
		if draft.Inputs, draft.Fee, change, err = takeCoins(ctx, tx, sets, active, order); err != nil {
			return Payment{}, err
		}
		have, err := countCoins(ctx, tx, active.id)
		if err != nil {
			return Payment{}, err
		}
		amounts = append(amounts, spread(change, have, spreadPayment)...)
	}
	blanks := 0
	if kind == KindJob && !order.NoBlanks {
		blanks = cashu.BlanksFor(order.Pay)
	}
	outputs, err := w.makeOutputs(tx, active, append(amounts, make([]cashu.Units, blanks)...))
	if err != nil {
		return Payment{}, err
	}
	draft.Outputs, draft.Blanks = messages(outputs[:len(amounts)]), messages(outputs[len(amounts):])
	request, err := build(draft)
	if err != nil {
		return Payment{}, fmt.Errorf("make the request: %w", err)
	}
	payment := Payment{
		ID: id, Mint: normal(order.Mint), Kind: kind, State: StateOpen, Purpose: order.Purpose, Unit: active.unit,
		Pay: order.Pay, Fee: draft.Fee, Method: order.Method, Path: order.Path, Request: request, Secret: secret,
		Outputs: draft.Outputs, Blanks: draft.Blanks, At: w.config.Now().Truncate(time.Millisecond),
	}
	if err := w.storePayment(tx, mint, payment, outputs, draft.Inputs); err != nil {
		return Payment{}, err
	}
	if order.SecretKind == "" {
		return payment, nil
	}
	_, err = tx.Exec(`INSERT INTO secrets (secret, mint, kind, number, name, payment, at) VALUES (?, ?, ?, 0, ?, ?, ?)`,
		secret[:], mint, order.SecretKind, order.Name, id, payment.At.UnixMilli())
	return payment, err
}

func (w *Wallet) storePayment(tx local, mint int64, p Payment, outputs []output, inputs []cashu.Proof) error {
	_, err := tx.Exec(`INSERT INTO payments (id, mint, kind, state, owner, purpose, unit, pay, fee, method, path, request, secret, at, seal)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.ID, mint, p.Kind, p.State, w.owner.id, p.Purpose, p.Unit, int64(p.Pay), int64(p.Fee), p.Method, p.Path,
		p.Request, p.Secret[:], p.At.UnixMilli(), sealOfPayment(p, mint, int64(p.Pay), int64(p.Fee), p.At.UnixMilli(), p.Secret[:]))
	if err != nil {
		return err
	}
	for i, o := range outputs {
		blank, place := 0, i
		if i >= len(p.Outputs) {
			blank, place = 1, i-len(p.Outputs)
		}
		_, err := tx.Exec(`INSERT INTO outputs (payment, blank, place, keyset, counter, amount, b, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			p.ID, blank, place, o.message.ID, int64(o.counter), int64(o.message.Amount), o.message.B_[:],
			seal(p.ID, blank, place, o.message.ID, int64(o.counter), int64(o.message.Amount), o.message.B_[:]))
		if err != nil {
			return err
		}
	}
	for _, proof := range inputs {
		if _, err := tx.Exec(`UPDATE coins SET payment = ? WHERE secret = ? AND payment IS NULL`, p.ID, proof.Secret); err != nil {
			return err
		}
	}
	return nil
}

// takeCoins chooses free coins of a mint for a payment.
func takeCoins(ctx context.Context, tx local, sets []keyset, active keyset, order Order) (inputs []cashu.Proof, fee, change cashu.Units, err error) {
	wanted, err := cashu.Sum(append([]cashu.Units{order.Pay}, order.Outputs...), func(u cashu.Units) cashu.Units { return u })
	if err != nil {
		return nil, 0, 0, err
	}
	if wanted > 1<<62 {
		return nil, 0, 0, fmt.Errorf("%d is more than any wallet holds", wanted)
	}
	coins, err := freeCoins(ctx, tx, sets, active.unit)
	if err != nil {
		return nil, 0, 0, err
	}
	chosen, fee, ok := choose(coins, wanted)
	if !ok {
		return nil, 0, 0, shortage(ctx, tx, active, coins, wanted)
	}
	var total cashu.Units
	for _, coin := range chosen {
		proof, err := readCoin(tx, coin.secret)
		if err != nil {
			return nil, 0, 0, err
		}
		inputs = append(inputs, proof.Bare())
		total += proof.Amount
	}
	return inputs, fee, total - fee - wanted, nil
}

func shortage(ctx context.Context, q query, active keyset, coins []candidate, need cashu.Units) error {
	short := &ErrShort{Need: need, Units: active.unit}
	for _, coin := range coins {
		short.Free += coin.amount
	}
	var tied int64
	err := q.QueryRowContext(ctx, `SELECT coalesce(sum(o.amount), 0) FROM outputs o JOIN payments p ON p.id = o.payment
		WHERE p.state = 'open' AND p.mint = ? AND p.unit = ?`, active.mint, active.unit).Scan(&tied)
	if err != nil {
		return err
	}
	short.Tied = cashu.Units(tied)
	if short.Free+short.Tied >= need && short.Tied == 0 && len(coins) > inputsMax {
		return fmt.Errorf("the payment needs more than %d coins; swap the small ones for larger ones first", inputsMax)
	}
	return short
}

// freeCoins lists what can be spent at a mint: coins of keysets that it lists.
func freeCoins(ctx context.Context, q query, sets []keyset, unit string) ([]candidate, error) {
	var coins []candidate
	for _, set := range sets {
		if !set.listed || set.unit != unit {
			continue
		}
		more, err := freeCoinsOf(ctx, q, set)
		if err != nil {
			return nil, err
		}
		coins = append(coins, more...)
	}
	return coins, nil
}

func freeCoinsOf(ctx context.Context, q query, set keyset) ([]candidate, error) {
	rows, err := q.QueryContext(ctx, `SELECT secret, amount FROM coins WHERE keyset = ? AND payment IS NULL ORDER BY amount, secret`, set.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var coins []candidate
	for rows.Next() {
		coin := candidate{keyset: set.id, fee: set.fee, old: !set.active}
		var amount int64
		if err := rows.Scan(&coin.secret, &amount); err != nil {
			return nil, err
		}
		coin.amount = cashu.Units(amount)
		coins = append(coins, coin)
	}
	return coins, rows.Err()
}

func countCoins(ctx context.Context, q query, id cashu.KeysetID) (map[cashu.Units]int, error) {
	rows, err := q.QueryContext(ctx, `SELECT amount, count(*) FROM coins WHERE keyset = ? AND payment IS NULL GROUP BY amount`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have := make(map[cashu.Units]int)
	for rows.Next() {
		var amount int64
		var n int
		if err := rows.Scan(&amount, &n); err != nil {
			return nil, err
		}
		have[cashu.Units(amount)] = n
	}
	return have, rows.Err()
}
