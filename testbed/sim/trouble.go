package sim

import (
	"bytes"
	"math/rand/v2"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/mint"
)

// trouble is what goes wrong again and again in a life. A little of most of them is in every life; the seed says what there
// is much of.
type trouble int

const (
	reportsLost trouble = iota
	reportsLate
	reportsTwice
	leadersChange
	restarts
	nodesLost
	keysetsRefused
	replays
	newerBuilds
	troubleKinds
)

// String is what the summary calls it.
func (t trouble) String() string {
	return [troubleKinds]string{
		"reports lost", "reports late", "reports twice", "leaders change", "restarts", "nodes lost", "keysets refused", "replays", "newer builds",
	}[t]
}

// troublesOf draws the troubles of a life: none in every fourth, otherwise up to three.
func troublesOf(seed uint64) (set [troubleKinds]bool) {
	dice := rand.New(rand.NewPCG(seed, 0xbad))
	if dice.IntN(4) == 0 {
		return set
	}
	for range 1 + dice.IntN(3) {
		set[dice.IntN(len(set))] = true
	}
	return set
}

// beset lets one of the life's troubles happen now and then, and says whether it did.
func (w *world) beset() bool {
	var mine []trouble
	for kind, on := range w.troubles {
		if on {
			mine = append(mine, trouble(kind))
		}
	}
	kind, ok := one(w, mine)
	if !ok || !w.chance(6) {
		return false
	}
	switch kind {
	case reportsLate, reportsTwice:
		w.hearEcho()
	case leadersChange:
		w.changeLeader()
	case restarts:
		if w.heavy() {
			w.restart()
		}
	case nodesLost:
		w.lease()
	case keysetsRefused:
		w.refuseKeysets()
	case replays:
		w.again()
	case newerBuilds:
		w.raiseFormat()
	default:
		return false // reports are lost when they are sent
	}
	return true
}

// heavy says whether it is time again for what reads and writes the whole state: seldom, and ever more so, as with looks.
func (w *world) heavy() bool {
	if w.entries < w.light {
		return false
	}
	w.light = w.entries + max(w.FullEach/2, w.entries/looksApart)
	return true
}

// arrives says whether a batch of reports comes through at once. One that does not is said again with the next report, as
// executors do; it may still arrive later.
func (b *reports) arrives() bool {
	if b.troubles[reportsTwice] && b.chance(25) {
		b.echoes = append(b.echoes, b.entry)
	}
	late := b.troubles[reportsLate] && b.chance(25)
	if late {
		b.echoes = append(b.echoes, b.entry)
	}
	if len(b.echoes) > 16 {
		b.echoes = b.echoes[1:]
	}
	if !late && !(b.troubles[reportsLost] && b.chance(25)) {
		return true
	}
	for _, undo := range b.undo {
		undo()
	}
	return false
}

// hearEcho has a report arrive that is old: in any order, and perhaps for the second time.
func (w *world) hearEcho() {
	if len(w.echoes) == 0 {
		return
	}
	w.now = max(w.now, w.view.At())
	i := w.dice.IntN(len(w.echoes))
	echo := w.echoes[i]
	w.echoes = append(w.echoes[:i], w.echoes[i+1:]...)
	var undo []func()
	for _, said := range echo.Runs {
		r := w.runsByID[said.Run]
		if r == nil {
			undo = append(undo, func() {})
			continue
		}
		start, ended := r.start, r.ended
		undo = append(undo, func() { r.start, r.ended = start, ended })
		if said.Started != nil && start == 0 {
			r.start = *said.Started
		}
		if said.Ended != nil {
			r.ended = said.Ended
		}
	}
	a, ok := answer[machine.ReportAnswer](w, w.propose(echo))
	if !ok {
		w.fail("answer", "a late report was refused")
		return
	}
	for _, refused := range a.Refused {
		undo[refused.Item]()
		if refused.Code != machine.CodeRunUnknown && refused.Code != machine.CodeInvalid {
			w.fail("answer", "a late report of run %d was refused as %s", echo.Runs[refused.Item].Run, refused.Code)
		}
	}
}

// changeLeader brings a leader, perhaps one that takes cluster time on by hours without a word from any machine. What the
// one before it had decided comes after all: by what was true when it took office, stamped by a clock that is behind.
func (w *world) changeLeader() {
	view := w.old
	w.old = w.view
	if w.chance(30) {
		w.now += between(w, 0, day)
		w.pulse()
	}
	if view == nil {
		return
	}
	w.behind = between(w, 0, 12*hour)
	defer func() { w.behind = 0 }()
	w.place(view)
	w.reprice(view)
	if entry, due := view.Due(w.now); due {
		w.mayRefuse(w.propose(entry))
	}
}

// refuseKeysets asks for keysets that cannot be, pays with some that are gone, and restores a state from before: all
// keysets stand still until the operator says that they may go on.
func (w *world) refuseKeysets() {
	var gone []mint.KeysetNumber
	for _, k := range w.view.Keysets() {
		if k.StateAt(int64(w.now)) != mint.KeysetActive {
			gone = append(gone, k.Number)
		}
	}
	old, any := one(w, gone)
	switch n := w.dice.IntN(5); {
	case n == 0:
		spec, err := define(mint.KeysetNumber(w.keysets)+2, 0)
		if err != nil {
			w.fail("world", "%v", err)
		}
		w.refused(machine.Keyset{New: &spec, Token: operator()}, machine.CodeStale)
	case n == 1:
		w.refused(machine.Keyset{Number: mint.KeysetNumber(w.keysets) + 1, State: mint.KeysetRetiring}, machine.CodeKeysetUnknown)
	case n == 2 && any:
		w.tricked(between[cashu.Units](w, 1, 500), func(p *machine.Payment) {
			p.Donate, p.Coins.NeedBlanks, p.Coins.Blanks = false, 0, nil
			for range mint.BlanksNeeded(p.Coins.Pay) {
				p.Coins.Blanks = append(p.Coins.Blanks, mint.Allowed{B_: w.point(), Keyset: old})
			}
			w.spend(p, machine.CodeBlanksInvalid, machine.CodeKeysetInactive)
		})
	case n == 3 && any:
		if closed, _ := w.view.KeysetByNumber(old); closed.StateAt(int64(w.now)) == mint.KeysetClosed {
			w.tricked(between[cashu.Units](w, 1, 500), func(p *machine.Payment) {
				p.Coins.Inputs[0].Keyset = old
				w.spend(p, machine.CodeKeysetInactive, machine.CodeUnbalanced)
			})
		}
	case n == 4:
		w.stopKeysets()
	}
}

// stopKeysets begins anew from a saved state, as after the loss of all servers.
func (w *world) stopKeysets() {
	if _, ok := w.m.(*machine.Machine); !ok || w.Alone || !w.heavy() {
		return
	}
	var saved bytes.Buffer
	if err := machine.StopKeysets(bytes.NewReader(w.snapshot(w.view)), &saved); err != nil {
		w.fail("I12", "%v", err)
		return
	}
	for _, m := range []func(*machine.Machine){func(m *machine.Machine) { w.m = m }, func(m *machine.Machine) { w.second = m }} {
		restored, err := machine.Restore(bytes.NewReader(saved.Bytes()))
		if err != nil {
			w.fail("I12", "%v", err)
			return
		}
		m(restored)
	}
	w.twin, w.view = nil, w.m.View()
	w.tricked(between[cashu.Units](w, 1, 500), func(p *machine.Payment) { w.spend(p, machine.CodeKeysetStopped) })
	w.reportAll()
	w.pulse()
	all := machine.Reconcile{Token: operator()}
	for _, k := range w.view.Keysets() {
		all.Keysets = append(all.Keysets, k.Number)
	}
	w.mayRefuse(w.propose(all))
}

// raiseFormat has a server of a newer build say what it reads, on a machine of its own: the entry that raises the format
// stops this build there and changes nothing.
func (w *world) raiseFormat() {
	newer := machine.Format{Format: machine.FormatMax + 1}
	w.refused(newer, machine.CodeStale)
	if !w.heavy() {
		return
	}
	m, err := machine.Restore(bytes.NewReader(w.snapshot(w.view)))
	if err != nil {
		w.fail("I12", "%v", err)
		return
	}
	apply := func(c machine.Command) machine.Result {
		entry, err := machine.Encode(w.now, c)
		if err != nil {
			w.fail("format", "%v", err)
		}
		return m.Apply(m.View().Index()+1, entry)
	}
	if r := apply(machine.Server{ID: "newer", Cert: keyOf("cert", "newer"), Reads: newer.Format}); r.Code != machine.OK {
		w.fail("answer", "a server of a newer build was refused: %s %s", r.Code, r.Detail)
	}
	before := w.snapshot(m.View())
	if r := apply(newer); r.Newer == nil || !bytes.Equal(before, w.snapshot(m.View())) {
		w.fail("atomic", "this build went on from an entry that raises the format beyond it: %s", r.Code)
	}
}
