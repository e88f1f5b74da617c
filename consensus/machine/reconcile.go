package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
)

// Reconcile is an operator's word, after an old snapshot was restored, on the keysets that the
// restore stopped: these may go on, because no coin of theirs was spent or signed since.
type Reconcile struct {
	Keysets []mint.KeysetNumber `cbor:"1,keyasint"`
	Token   TokenHash           `cbor:"2,keyasint,omitzero"`
}

// ReconcileAnswer lists the keysets that are still stopped.
type ReconcileAnswer struct {
	Stopped []mint.KeysetNumber `cbor:"1,keyasint,omitempty"`
}

// Kind is part of [Command].
func (Reconcile) Kind() Kind { return KindReconcile }

func (c Reconcile) apply(tx *Tx, at funding.Millis) (any, error) {
	if err := tx.checkToken(c.Token, at, RoleOperator); err != nil {
		return nil, err
	}
	for _, number := range c.Keysets {
		record, ok := tx.keysets.get(number)
		if !ok {
			return nil, refuse(CodeKeysetUnknown, "there is no keyset number %d", number)
		}
		if !record.Stopped {
			continue
		}
		going := *record
		going.Stopped = false
		tx.keysets.put(number, &going)
		tx.emit(Event{Kind: EventReconciled, Text: string(record.ID)})
	}
	var answer ReconcileAnswer
	tx.keysets.scan(0, func(number mint.KeysetNumber, record *KeysetRecord) bool {
		if record.Stopped {
			answer.Stopped = append(answer.Stopped, number)
		}
		return true
	})
	return answer, nil
}
