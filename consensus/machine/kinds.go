// Package machine decides what each log entry means.
package machine

// Kind names what an entry does. Kinds are listed here, never renumbered, never reused; any
// change in what Apply does for one is a new kind (DESIGN.md section 7.3).
type Kind uint16

// Since is the format with which a kind came. A state of an older format refuses its entries, as the builds do that know
// nothing of the kind, so that servers of both builds stay alike until the format is raised.
func (k Kind) Since() uint32 {
	return 1 // of all kinds so far; a later one is told apart here, and raises FormatMax
}

// What clients ask for.
const (
	KindSubmit    Kind = 1  // coins or a pot's money, and a job
	KindDeposit   Kind = 2  // coins into a pot, by its fund id
	KindPotCreate Kind = 3  // a pot for many jobs
	KindPotClose  Kind = 4  // no more jobs; what is left goes back when its jobs have ended
	KindSwap      Kind = 5  // NUT-03
	KindMintQuote Kind = 6  // a quote, paid or not (operator issue: paid, locked by NUT-20)
	KindMint      Kind = 7  // NUT-04: a paid quote becomes allowed outputs
	KindClaim     Kind = 8  // a claimable balance becomes allowed outputs
	KindCancel    Kind = 9  // the owner ends a job
	KindOnHold    Kind = 10 // hold and release
	KindJobCap    Kind = 11 // the owner's limit on what others can add
)

// What the leader decides.
const (
	KindPlace   Kind = 32 // tasks to nodes, one batch
	KindReport  Kind = 33 // what executors said: starts and ends of runs, one batch
	KindPrice   Kind = 34 // a pool's new price
	KindPulse   Kind = 35 // what time has brought about: money's end, limits, grace, lost leases, daily settlements, expiries
	KindForget  Kind = 36 // finished jobs leave memory
	KindPanic   Kind = 37 // reserved: an entry that was refused by a panic is named
	KindChecked Kind = 38 // reserved
)

// What operators and the cluster do.
const (
	KindInit       Kind = 64 // the first entry: cluster id, unit, first pool, first keyset, operator token
	KindPoolSet    Kind = 65
	KindNodeJoin   Kind = 66 // a join token spent by an executor
	KindNodeUpdate Kind = 67 // what a node has changed
	KindNodeState  Kind = 68 // drain, undrain, remove
	KindToken      Kind = 69 // a token of a role, by its hash; or revoked
	KindKeyset     Kind = 70 // a new keyset, or a keyset's new state
	KindServer     Kind = 71 // a server's public facts: id, addresses, certificate; or removed
	KindFormat     Kind = 72 // every voter reads this format
	KindReconcile  Kind = 73 // after a restore: the operator lets old keysets go on
	KindMintURL    Kind = 74 // the one public URL of the mint
)
