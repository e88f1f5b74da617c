package machine

import (
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// Submit brings a job and its money: coins, a pot's money, or coins into a pot that exists.
// One entry spends the coins, opens or charges the pot and queues the job, or does none of it.
type Submit struct {
	Request   RequestID           `cbor:"1,keyasint"`
	Payment   *Payment            `cbor:"2,keyasint,omitempty"` // nil: the pot pays alone
	Pot       funding.PotID       `cbor:"3,keyasint,omitempty"` // zero: a pot is opened for this job
	Spend     funding.KeyHash     `cbor:"4,keyasint,omitzero"`  // hash of the spend key shown for Pot
	Keys      funding.Keys        `cbor:"5,keyasint"`
	Pool      scheduler.PoolID    `cbor:"6,keyasint"`
	Need      scheduler.Resources `cbor:"7,keyasint"`
	Driver    string              `cbor:"8,keyasint"`
	Nodes     int32               `cbor:"9,keyasint,omitempty"` // at once; zero means one, more is refused until gangs exist
	Mode      funding.Mode        `cbor:"10,keyasint"`
	Bid       funding.Rate        `cbor:"11,keyasint,omitempty"` // decided by the server from pay, time and the pool's defaults
	TimeLimit funding.Millis      `cbor:"12,keyasint,omitempty"`
	Tasks     scheduler.TaskRange `cbor:"13,keyasint"`
	AtOnce    int32               `cbor:"14,keyasint,omitempty"`
	MaxTotal  funding.Amount      `cbor:"15,keyasint,omitempty"`
	CapOthers *funding.Amount     `cbor:"16,keyasint,omitempty"` // the most that others may add to the job's own pot; nil: as they like
	OnHold    bool                `cbor:"17,keyasint,omitempty"`
	Firm      bool                `cbor:"18,keyasint,omitempty"` // refused until firm runs exist
	Token     TokenHash           `cbor:"19,keyasint,omitzero"`  // the submit token shown, where the pool is trusted
	Loopback  bool                `cbor:"20,keyasint,omitempty"` // the request came from the server's own machine
	Work      []byte              `cbor:"21,keyasint"`           // scheduler.Work, encoded
}

// SubmitAnswer tells what became of it. A repeated request has the same answer.
type SubmitAnswer struct {
	Job     scheduler.JobID    `cbor:"1,keyasint"`
	Pot     funding.PotID      `cbor:"2,keyasint"`
	Fund    funding.FundID     `cbor:"3,keyasint"`
	Deposit funding.DepositID  `cbor:"4,keyasint,omitempty"` // the deposit's number in the pot, where coins came along
	State   scheduler.JobState `cbor:"5,keyasint"`
	Held    funding.Amount     `cbor:"6,keyasint"`
	Bid     funding.Rate       `cbor:"7,keyasint"`
	Weight  funding.Weight     `cbor:"8,keyasint"`
	Fee     funding.Amount     `cbor:"9,keyasint,omitempty"` // input fee and submit fee
	Index   uint64             `cbor:"10,keyasint"`          // of the entry that queued it
}

// Kind is part of [Command].
func (Submit) Kind() Kind { return KindSubmit }
