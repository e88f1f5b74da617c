package machine

import (
	"crypto/sha256"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Event is one thing that happened, for the book and for those who follow. Events are numbered
// without a gap and chained by hash. None holds a coin, a blinded output, a key's hash, a job's
// command or an address.
type Event struct {
	Seq     uint64            `cbor:"1,keyasint"`
	Index   uint64            `cbor:"2,keyasint"` // of the log entry
	At      funding.Millis    `cbor:"3,keyasint"`
	Kind    EventKind         `cbor:"4,keyasint"`
	Job     scheduler.JobID   `cbor:"5,keyasint,omitempty"`
	Task    int32             `cbor:"6,keyasint,omitempty"`
	Run     scheduler.RunID   `cbor:"7,keyasint,omitempty"`
	Pot     funding.PotID     `cbor:"8,keyasint,omitempty"`
	Deposit funding.DepositID `cbor:"9,keyasint,omitempty"`
	Node    scheduler.NodeID  `cbor:"10,keyasint,omitempty"`
	Pool    scheduler.PoolID  `cbor:"11,keyasint,omitempty"`
	Refund  funding.RefundID  `cbor:"12,keyasint,omitempty"`
	Amount  funding.Amount    `cbor:"13,keyasint,omitempty"`
	Rate    funding.Rate      `cbor:"14,keyasint,omitempty"`
	Weight  funding.Weight    `cbor:"15,keyasint,omitempty"`
	Debit   string            `cbor:"16,keyasint,omitempty"` // of a transfer: the accounts
	Credit  string            `cbor:"17,keyasint,omitempty"`
	Reason  scheduler.Reason  `cbor:"18,keyasint,omitempty"`
	Exit    int32             `cbor:"19,keyasint,omitempty"`
	Until   funding.Millis    `cbor:"20,keyasint,omitempty"` // what is announced happens then
	Text    string            `cbor:"21,keyasint,omitempty"`
	Body    []byte            `cbor:"22,keyasint,omitempty"` // CBOR of what the book keeps of a finished job or run
	Hash    [32]byte          `cbor:"23,keyasint"`           // over the hash before it and all fields above
}

// EventKind names what happened; the list is appended to.
type EventKind string

// What happens.
const (
	EventSubmitted     EventKind = "submitted"
	EventQueued        EventKind = "queued" // again, after a fault
	EventOnHold        EventKind = "on_hold"
	EventReleased      EventKind = "released"
	EventPlaced        EventKind = "placed"
	EventStarted       EventKind = "started"
	EventPaused        EventKind = "paused"
	EventResumed       EventKind = "resumed"
	EventSuspended     EventKind = "suspended"
	EventStored        EventKind = "stored"   // the servers have what a suspended run was; with a reason, they alone
	EventExtended      EventKind = "extended" // its time limit
	EventLowFunds      EventKind = "low_funds"
	EventNotice        EventKind = "notice"
	EventRunEnded      EventKind = "run_ended"
	EventEnded         EventKind = "ended" // the whole job
	EventForgotten     EventKind = "forgotten"
	EventDeposit       EventKind = "deposit"
	EventSettled       EventKind = "settled"
	EventRefunded      EventKind = "refunded"
	EventClaimable     EventKind = "claimable"
	EventTransfer      EventKind = "transfer"
	EventPotCreated    EventKind = "pot_created"
	EventPotClosed     EventKind = "pot_closed"
	EventPrice         EventKind = "price"
	EventPool          EventKind = "pool"
	EventNodeJoined    EventKind = "node_joined"
	EventNodeUp        EventKind = "node_up"
	EventNodeDraining  EventKind = "node_draining"
	EventNodeLost      EventKind = "node_lost"
	EventNodeRemoved   EventKind = "node_removed"
	EventQuarantined   EventKind = "node_quarantined"
	EventServerJoined  EventKind = "server_joined"
	EventServerRemoved EventKind = "server_removed"
	EventToken         EventKind = "token"
	EventKeyset        EventKind = "keyset"
	EventFormat        EventKind = "format"
	EventReconciled    EventKind = "reconciled"
	EventMintURL       EventKind = "mint_url"
	EventInit          EventKind = "init"
)

// ChainHash is the hash that an event must carry after the one before it; the book checks it.
func ChainHash(before [32]byte, e Event) ([32]byte, error) {
	e.Hash = [32]byte{}
	body, err := encoder.Marshal(e)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(append(before[:], body...)), nil
}
