package wallet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Complete writes down a payment's success: its coins are gone, the signatures
// on its outputs are coins, and its blanks wait for the change. Called again it
// changes nothing. Signatures that are wrong or missing leave the payment open.
func (w *Wallet) Complete(ctx context.Context, id string, signatures []cashu.BlindSignature) error {
	return w.CompleteAs(ctx, id, 0, signatures)
}

// CompleteAs is Complete, and writes down in the same breath which job or pot
// the payment's secret is for: one wait for the disk instead of two.
func (w *Wallet) CompleteAs(ctx context.Context, id string, number int64, signatures []cashu.BlindSignature) error {
	err := w.complete(ctx, id, number, signatures)
	if err != nil {
		return fmt.Errorf("complete payment %s: %w", id, err)
	}
	return nil
}

func (w *Wallet) complete(ctx context.Context, id string, number int64, signatures []cashu.BlindSignature) error {
	outputs, err := w.outputsOf(ctx, w.file, id, false)
	if err != nil {
		return err
	}
	p, mint, err := headOf(ctx, w.file, id)
	if err != nil || p.State == StatePaid || p.State == StateDone {
		return err
	}
	if len(signatures) != len(outputs) {
		return fmt.Errorf("the mint sent %d signatures for %d outputs", len(signatures), len(outputs))
	}
	// The curve's part is done before the file is locked: others are waiting.
	coins, err := w.unblindAll(ctx, mint, outputs, signatures)
	if err != nil {
		return err
	}
	return w.transact(ctx, func(tx local) error {
		p, mint, err := headOf(ctx, tx, id) // another may have been faster
		if err != nil || p.State == StatePaid || p.State == StateDone {
			return err
		}
		if p.State == StateRefused {
			return errors.New("it was written down as refused")
		}
		spent, err := spendReserved(tx, id)
		if err != nil {
			return err
		}
		gained, err := storeCoins(tx, coins)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE payments SET state = iif(EXISTS (SELECT 1 FROM outputs WHERE payment = ?1 AND blank = 1), ?2, ?3) WHERE id = ?1`,
			id, StatePaid, StateDone); err != nil {
			return err
		}
		if number != 0 {
			if _, err := tx.Exec(`UPDATE secrets SET number = ? WHERE payment = ?`, number, id); err != nil {
				return err
			}
		}
		return w.record(tx, mint, p, string(p.Kind), int64(gained)-int64(spent))
	})
}

// spendReserved forgets a payment's coins and says what they were worth.
func spendReserved(tx local, id string) (cashu.Units, error) {
	var spent int64
	if err := tx.QueryRow(`SELECT coalesce(sum(amount), 0) FROM coins WHERE payment = ?`, id).Scan(&spent); err != nil {
		return 0, err
	}
	_, err := tx.Exec(`DELETE FROM coins WHERE payment = ?`, id)
	return cashu.Units(spent), err
}

// Refused writes down that a payment was definitely not taken: its coins are
// free again, its secret is forgotten. The counters stay where they are.
func (w *Wallet) Refused(ctx context.Context, id string) error {
	err := w.transact(ctx, func(tx local) error {
		p, _, err := headOf(ctx, tx, id)
		if err != nil {
			return err
		}
		switch p.State {
		case StateRefused:
			return nil
		case StatePaid, StateDone:
			return errors.New("it was written down as paid")
		}
		for _, text := range []string{
			`UPDATE coins SET payment = NULL WHERE payment = ?`,
			`DELETE FROM outputs WHERE payment = ?`,
			`DELETE FROM secrets WHERE payment = ?`,
			`UPDATE payments SET state = 'refused', request = x'' WHERE id = ?`,
		} {
			if _, err := tx.Exec(text, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give up payment %s: %w", id, err)
	}
	return nil
}

// Unfinished takes over the payments whose process has ended without an answer,
// and lists them: each is to be sent again as it is, and then completed or
// refused. Two processes never get the same one.
func (w *Wallet) Unfinished(ctx context.Context) ([]Payment, error) {
	if idle, err := w.idle(ctx); idle || err != nil {
		return nil, err
	}
	var list []Payment
	err := w.transact(ctx, func(tx local) error {
		if err := w.adopt(ctx, tx); err != nil {
			return err
		}
		ids, err := column(ctx, tx, `SELECT id FROM payments WHERE state = 'open' AND kind = 'job' AND owner = ? ORDER BY id`, w.owner.id)
		if err != nil {
			return err
		}
		for _, id := range ids {
			p, err := w.readPayment(ctx, tx, id)
			if err != nil {
				return err
			}
			p.Again = true
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for unfinished payments: %w", err)
	}
	return list, nil
}

// idle reports whether no payment is open, as is mostly so: then there is
// nothing to take over and nothing to wait for.
func (w *Wallet) idle(ctx context.Context) (bool, error) {
	var open bool
	err := w.file.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM payments WHERE state = 'open')`).Scan(&open)
	if err != nil {
		return false, fmt.Errorf("look for open payments: %w", err)
	}
	return !open, nil
}

// adopt makes the open payments of owners that are gone ours.
func (w *Wallet) adopt(ctx context.Context, tx local) error {
	owners, err := column(ctx, tx, `SELECT DISTINCT owner FROM payments WHERE state = 'open' AND owner != ? ORDER BY owner`, w.owner.id)
	if err != nil {
		return err
	}
	for _, other := range owners {
		gone, err := w.owner.gone(other)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if _, err := tx.Exec(`UPDATE payments SET owner = ? WHERE state = 'open' AND owner = ?`, w.owner.id, other); err != nil {
			return err
		}
	}
	return nil
}

// Collect writes down the change of a payment: signatures on the first of its
// blanks, in order. final says that no more will come. Called again it changes
// nothing.
func (w *Wallet) Collect(ctx context.Context, id string, signatures []cashu.BlindSignature, final bool) (cashu.Units, error) {
	gained, err := w.collect(ctx, id, signatures, final)
	if err != nil {
		return 0, fmt.Errorf("collect the change of payment %s: %w", id, err)
	}
	return gained, nil
}

func (w *Wallet) collect(ctx context.Context, id string, signatures []cashu.BlindSignature, final bool) (gained cashu.Units, err error) {
	p, mint, err := headOf(ctx, w.file, id)
	if err != nil {
		return 0, err
	}
	if p.State == StateOpen || p.State == StateRefused {
		return 0, fmt.Errorf("it is %s, not paid", p.State)
	}
	blanks, err := w.outputsOf(ctx, w.file, id, true)
	if err != nil {
		return 0, err
	}
	coins, err := w.unblindAll(ctx, mint, blanks, signatures)
	if err != nil {
		return 0, err
	}
	err = w.transact(ctx, func(tx local) error {
		p, mint, err := headOf(ctx, tx, id) // another may have been faster
		if err != nil {
			return err
		}
		gained, err = w.addChange(tx, mint, p, coins, final)
		return err
	})
	return gained, err
}

func (w *Wallet) addChange(tx local, mint int64, p Payment, coins []cashu.Proof, final bool) (cashu.Units, error) {
	if p.State == StateDone { // collected before; its coins may be spent by now
		return 0, nil
	}
	gained, err := storeCoins(tx, coins)
	if err != nil {
		return 0, err
	}
	if final {
		if _, err := tx.Exec(`UPDATE payments SET state = 'done' WHERE id = ?`, p.ID); err != nil {
			return 0, err
		}
	}
	if gained == 0 {
		return 0, nil
	}
	return gained, w.record(tx, mint, p, "change", int64(gained))
}

// waiting is a payment whose blanks may still be signed.
type waiting struct {
	id     string
	blanks []output
}

// waitingAt lists a mint's payments that wait for their change.
func (w *Wallet) waitingAt(ctx context.Context, mint int64) ([]waiting, error) {
	rows, err := w.file.QueryContext(ctx, `SELECT `+outputColumns+` FROM payments p JOIN outputs o ON o.payment = p.id AND o.blank = 1
		WHERE p.state = 'paid' AND p.mint = ? ORDER BY p.id, o.place`, mint)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []waiting
	for rows.Next() {
		id, o, err := readOutput(rows)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 || list[len(list)-1].id != id {
			list = append(list, waiting{id: id})
		}
		last := &list[len(list)-1]
		last.blanks = append(last.blanks, o)
	}
	return list, rows.Err()
}

// CollectChange asks the mint which blanks were signed meanwhile (NUT-09) and
// writes down the coins. It needs no key of the jobs. A payment's change is
// given all at once, so one with any signature is done.
func (w *Wallet) CollectChange(ctx context.Context, mintURL string) (cashu.Units, error) {
	ask, err := w.ChangeToCollect(ctx, mintURL)
	if err != nil || ask == nil {
		return 0, err
	}
	return ask(ctx)
}

// ChangeToCollect is the first part of CollectChange, for those who prepare
// another payment meanwhile: it reads what to ask for, and returns the rest. That
// is nil where no change is expected.
func (w *Wallet) ChangeToCollect(ctx context.Context, mintURL string) (ask func(context.Context) (cashu.Units, error), err error) {
	mint, err := mintOf(ctx, w.file, mintURL)
	if err != nil {
		return nil, fmt.Errorf("look for change: %w", err)
	}
	list, err := w.waitingAt(ctx, mint)
	if err != nil {
		return nil, fmt.Errorf("look for change: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return func(ctx context.Context) (total cashu.Units, err error) {
		client := w.config.Mint(normal(mintURL))
		for _, batch := range batches(list, restoreBatch) {
			gained, err := w.askForBatch(ctx, client, mint, batch)
			total += gained
			if err != nil {
				return total, fmt.Errorf("collect change: %w", err)
			}
		}
		return total, nil
	}, nil
}

func (w *Wallet) askForBatch(ctx context.Context, client MintClient, mint int64, batch []waiting) (cashu.Units, error) {
	var request cashu.RestoreRequest
	for _, p := range batch {
		request.Outputs = append(request.Outputs, messages(p.blanks)...)
	}
	answer, err := client.Restore(ctx, request)
	if err != nil {
		return 0, err
	}
	signed, err := pairUp(answer)
	if err != nil {
		return 0, err
	}
	return w.collectBatch(ctx, mint, batch, signed)
}

// collectBatch writes down the change of several payments at once. One that the
// mint has signed wrongly does not keep the others from theirs.
func (w *Wallet) collectBatch(ctx context.Context, mint int64, batch []waiting, signed map[cashu.Point]cashu.BlindSignature) (total cashu.Units, err error) {
	var wrong []error
	coins := make(map[string][]cashu.Proof, len(batch))
	for _, p := range batch {
		var signatures []cashu.BlindSignature
		for _, blank := range p.blanks {
			signature, ok := signed[blank.message.B_]
			if !ok {
				break
			}
			signatures = append(signatures, signature)
		}
		if len(signatures) == 0 {
			continue
		}
		found, err := w.unblindAll(ctx, mint, p.blanks, signatures)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("of payment %s: %w", p.id, err))
			continue
		}
		coins[p.id] = found
	}
	if len(coins) == 0 {
		return 0, errors.Join(wrong...)
	}
	err = w.transact(ctx, func(tx local) error {
		for _, p := range batch {
			found, ok := coins[p.id]
			if !ok {
				continue
			}
			p, mint, err := headOf(ctx, tx, p.id) // another may have been faster
			if err != nil {
				return err
			}
			gained, err := w.addChange(tx, mint, p, found, true)
			if err != nil {
				return err
			}
			total += gained
		}
		return nil
	})
	if err != nil {
		total = 0
	}
	return total, errors.Join(append(wrong, err)...)
}

// batches cuts payments into lots of at most so many blanks.
func batches(list []waiting, max int) [][]waiting {
	var lots [][]waiting
	count := max
	for _, p := range list {
		if count+len(p.blanks) > max {
			lots = append(lots, nil)
			count = 0
		}
		count += len(p.blanks)
		lots[len(lots)-1] = append(lots[len(lots)-1], p)
	}
	return lots
}

func pairUp(answer cashu.RestoreResponse) (map[cashu.Point]cashu.BlindSignature, error) {
	if len(answer.Outputs) != len(answer.Signatures) {
		return nil, fmt.Errorf("the mint restored %d outputs with %d signatures", len(answer.Outputs), len(answer.Signatures))
	}
	pairs := make(map[cashu.Point]cashu.BlindSignature, len(answer.Outputs))
	for i, o := range answer.Outputs {
		pairs[o.B_] = answer.Signatures[i]
	}
	return pairs, nil
}

// headOf reads a payment without its outputs and blanks, and its mint.
func headOf(ctx context.Context, q query, id string) (Payment, int64, error) {
	p := Payment{ID: id}
	var mint, pay, fee, at, sealed int64
	var secret []byte
	err := q.QueryRowContext(ctx, `SELECT url, mint, kind, state, purpose, unit, pay, fee, method, path, request, secret, at, payments.seal
		FROM payments JOIN mints ON mints.id = mint WHERE payments.id = ?`, id).
		Scan(&p.Mint, &mint, &p.Kind, &p.State, &p.Purpose, &p.Unit, &pay, &fee, &p.Method, &p.Path, &p.Request, &secret, &at, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, 0, errors.New("there is no such payment")
	}
	if err != nil {
		return p, 0, err
	}
	if p.State == StateOpen && sealed != sealOfPayment(p, mint, pay, fee, at, secret) {
		return p, 0, broken("payment %s", id)
	}
	p.Pay, p.Fee, p.At = cashu.Units(pay), cashu.Units(fee), time.UnixMilli(at)
	copy(p.Secret[:], secret)
	return p, mint, nil
}

// readPayment reads a payment with all that was promised for it.
func (w *Wallet) readPayment(ctx context.Context, q query, id string) (Payment, error) {
	p, _, err := headOf(ctx, q, id)
	if err != nil {
		return p, err
	}
	for _, blank := range []bool{false, true} {
		list, err := w.outputsOf(ctx, q, id, blank)
		if err != nil {
			return p, err
		}
		if blank {
			p.Blanks = messages(list)
		} else {
			p.Outputs = messages(list)
		}
	}
	return p, nil
}

// sealOfPayment is over what is sent, and why: a request that is not the stored one must not be sent again.
func sealOfPayment(p Payment, mint, pay, fee, at int64, secret []byte) int64 {
	return seal(p.ID, mint, p.Kind, p.Purpose, p.Unit, pay, fee, p.Method, p.Path, p.Request, secret, at)
}

// column reads one column of text.
func column(ctx context.Context, q query, text string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, rows.Err()
}
