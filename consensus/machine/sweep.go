package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// sweepPiece is how many records one entry of a leader looks at.
const sweepPiece = 2000

// SweepDue says what there is to propose while closed keysets have left something, and false where they have not.
func (v *View) SweepDue(at funding.Millis) (Keyset, bool) {
	due := false
	v.keysetRows.ascend(0, func(number mint.KeysetNumber, _ int64) bool {
		record, ok := v.keysets.get(number)
		due = !ok || record.StateAt(int64(at)) == mint.KeysetClosed
		return !due
	})
	return Keyset{Sweep: sweepPiece}, due
}

// sweep looks at some more of the records that belong to keysets, and forgets those of closed
// ones: their coins cannot be spent, so nobody can ask again. It goes on where the last one
// stopped and says whether there is more to look at. Bounded, because a keyset leaves millions.
func (tx *Tx) sweep(records int32) bool {
	from := Sweep{Table: tx.spent.number}
	if tx.meta.Swept != nil {
		from = *tx.meta.Swept
	}
	left := int(records)
	if from.Table == tx.spent.number {
		var more bool
		if from.Spent, more = sweepTable(tx.spent, from.Spent, &left, func(_ cashu.SpentKey, number mint.KeysetNumber) bool { return tx.closed(number) }); !more {
			from.Table = tx.outputs.number
		}
	}
	if from.Table == tx.outputs.number && left > 0 {
		var more bool
		if from.Point, more = sweepTable(tx.outputs, from.Point, &left, func(_ cashu.Point, o mint.Output) bool {
			return o.Status == mint.OutputSigned && tx.closed(o.Keyset)
		}); !more {
			from.Table = tx.requests.number
			from.Key = requestKey{Scope: scopeOfCoins}
		}
	}
	if from.Table == tx.requests.number && left > 0 {
		var more bool
		if from.Key, more = sweepTable(tx.requests, from.Key, &left, func(_ requestKey, kept keptRequest) bool {
			keyset := withCoins(kept).Keyset
			return keyset != 0 && tx.closed(keyset)
		}); !more {
			tx.meta.Swept = nil
			return false
		}
	}
	tx.meta.Swept = &from
	return true
}

// sweepTable looks at up to left records from a key on, and gives the key to go on with.
func sweepTable[K comparable, V any](t *table[K, V], from K, left *int, over func(K, V) bool) (next K, more bool) {
	var gone []K
	t.scan(from, func(key K, value V) bool {
		if *left == 0 {
			next, more = key, true
			return false
		}
		*left--
		if over(key, value) {
			gone = append(gone, key)
		}
		return true
	})
	for _, key := range gone {
		t.del(key)
	}
	return next, more
}

func (tx *Tx) closed(number mint.KeysetNumber) bool {
	record, ok := tx.keysets.get(number)
	return !ok || record.StateAt(int64(tx.at)) == mint.KeysetClosed
}
