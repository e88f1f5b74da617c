package machine

import (
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding"
)

// Tx is one entry's look at the state: what it reads is the state with its own changes, and what
// it writes lies in the tables' overlays until the entry has succeeded.
type Tx struct {
	*state
	index  uint64
	at     funding.Millis
	before meta    // to fall back to
	events []Event // numbered, not yet chained
}

// emit tells the world of one thing that happened. Number, entry and time are filled in.
func (tx *Tx) emit(e Event) {
	tx.meta.Seq++
	e.Seq, e.Index, e.At = tx.meta.Seq, tx.index, tx.at
	tx.events = append(tx.events, e)
}

// Balance is part of [funding.Balances].
func (tx *Tx) Balance(a funding.Account) funding.Amount {
	amount, _ := tx.balances.get(a)
	return amount
}

// post moves money, all of it or none, and tells the book of each transfer. What names the job,
// the pot and the deposit that it is about.
func (tx *Tx) post(what Event, transfers ...funding.Transfer) error {
	changes, err := funding.Post(tx, transfers...)
	if errors.Is(err, funding.ErrOverdrawn) {
		return refuse(CodeOverdrawn, "%v", err)
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	for _, change := range changes {
		tx.balances.put(change.Account, change.Balance)
	}
	for _, t := range transfers {
		what.Kind, what.Amount, what.Text = EventTransfer, t.Amount, t.Code.String()
		what.Debit, what.Credit = t.Debit.String(), t.Credit.String()
		tx.emit(what)
	}
	return nil
}

// merge makes the entry's changes the state.
func (tx *Tx) merge() {
	for _, t := range tx.tables() {
		t.merge()
	}
}

// drop forgets the entry's changes.
func (tx *Tx) drop() {
	for _, t := range tx.tables() {
		t.drop()
	}
	tx.meta = tx.before
	tx.events = nil
}

// chain gives each event its hash.
func (tx *Tx) chain() error {
	for i := range tx.events {
		hash, err := ChainHash(tx.meta.Chain, tx.events[i])
		if err != nil {
			return fmt.Errorf("chain event %d: %w", tx.events[i].Seq, err)
		}
		tx.events[i].Hash, tx.meta.Chain = hash, hash
	}
	return nil
}
