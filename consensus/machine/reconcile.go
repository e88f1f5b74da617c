package machine

import "github.com/coinop/coinop/funding/mint"

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
