package api

import (
	"runtime"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/mint"
)

// Limits bound what one request, one address and all of them together may cost this server. What bounds what is asked
// for is enforced by the pure parts, so that every replica refuses alike: names, sizes and tasks in scheduler/limits.go,
// coins in funding/mint/check.go, which is repeated here, entries and records beside their kinds in consensus/machine.
//
// An address has a purse of points that fills by itself. Every request takes one; what makes the server work and pays
// nothing takes more when it ends, and may leave the address owing. Signatures of swaps wait until it has theirs. So whoever
// pays is bounded by the first alone.
type Limits struct {
	HeaderBytes int           // of a request: keys, tokens and a payment's coins fit; net/http adds 4 KiB
	BodyBytes   int64         // of a request in JSON: a script of 64 KiB, 256 coins and as many outputs need a tenth
	ValuesMax   int           // of a request in JSON, of all depths: a thousand files and 256 coins are half of it
	BlobBytes   int64         // of one blob; it goes to the disk as it comes
	HeaderTime  time.Duration // to shake hands and send the headers
	BodyTime    time.Duration // to send a body in JSON, or the next bytes of a blob
	WriteTime   time.Duration // for a client to take what was written, piece by piece: a place is not held by not reading
	IdleTime    time.Duration // a connection without a request
	RefusalTime time.Duration // until an address that owes is told so; see Retry-After
	AnswerTime  time.Duration // until the outcome of a proposal counts as unknown
	WaitMax     time.Duration // the longest a request may wait for a job
	StreamsMax  int           // logs, events, commands in tasks and connections to them at once: each holds a goroutine, two buffers, and a place at its node
	ConnectsMax int           // connections to the ports of one job at once
	ConnsMax    int           // connections at once, of all; half of the files that a process may have open

	Coins        mint.Limits // the sizes of one payment
	CurveWorkers int         // coins are checked on so many processors, so that the log always has one
	CurveQueue   int         // requests that may wait for them; more are told to come again

	AddressRate    float64 // points a second of one address, or of one /64; this machine's own are not metered
	AddressBurst   int     // points of a purse that is full
	AddressWork    int     // points of a request that was refused, or worked and paid nothing: swaps, quotes, walks
	AddressFlight  int     // requests of one address at once: times BodyBytes, they are its memory
	AddressStreams int     // of StreamsMax
	AddressConns   int     // of ConnsMax
	AddressesMax   int     // remembered; when full, those that have rested longest are forgotten

	JobsPage   int // the most jobs, events or prices in one answer
	ChecksMax  int // points of one checkstate: a look-up each
	OutputsMax int // outputs of one restore: a signature each, a tenth of a second in all
	RunsShown  int // of one job: what was before them is in the events
}

// DefaultLimits are generous to people and small to a server.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes: 32 << 10,
		BodyBytes:   1 << 20,
		ValuesMax:   16_384,
		BlobBytes:   64 << 30,
		HeaderTime:  10 * time.Second,
		BodyTime:    30 * time.Second,
		WriteTime:   30 * time.Second,
		IdleTime:    2 * time.Minute,
		RefusalTime: time.Second,
		AnswerTime:  15 * time.Second,
		WaitMax:     30 * time.Second,
		StreamsMax:  2000,
		ConnectsMax: 64,
		ConnsMax:    10_000,

		Coins:        mint.DefaultLimits(),
		CurveWorkers: max(1, runtime.GOMAXPROCS(0)-1),
		CurveQueue:   256,

		AddressRate:    1000,
		AddressBurst:   2000,
		AddressWork:    10,
		AddressFlight:  128,
		AddressStreams: 100,
		AddressConns:   512,
		AddressesMax:   10_000,

		JobsPage:   client.JobsMax,
		ChecksMax:  1000,
		OutputsMax: 1000,
		RunsShown:  100,
	}
}
