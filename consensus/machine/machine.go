package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/coinop/coinop/funding"
)

// Machine is the replicated state and what entries do to it. Entries are applied by one goroutine,
// in the log's order; View may be called by any, and waits at most for the entry that is being
// applied.
type Machine struct {
	mu    sync.Mutex
	state *state
	view  *View // of the state as it is; nil once an entry has changed it
}

// New is a machine before its first entry.
func New() *Machine { return &Machine{state: newState()} }

// Result is what became of an entry: the same on every replica.
type Result struct {
	Index  uint64
	At     funding.Millis // cluster time of the entry
	Code   Code           // OK, or why it was refused
	Detail string         // what was wrong, in words; not part of Sum, so that words may improve
	Answer []byte         // CBOR of the kind's answer struct
	Events []Event
	Sum    [32]byte // over this result and all before it: replicas that differ have parted
	Newer  error    // [ErrNewer]: the entry was not applied, and none after it may be; else nil
	Panic  string   // where Code is [CodePanic]: what happened and where, for the log of this server alone
}

// Err is nil for an entry that was carried out, and the refusal otherwise.
func (r Result) Err() error {
	if r.Code == OK {
		return nil
	}
	return &Refusal{Code: r.Code, Detail: r.Detail}
}

// Apply carries out one entry or refuses it. A refused entry changes nothing but the index, the
// time and the checksum. Indexes must rise; an entry that comes again is a bug of the caller's and
// stops the replica. After an entry of a newer build ([ErrNewer]) the state stays as it was, index and all.
func (m *Machine) Apply(index uint64, entry []byte) Result { return m.ApplyRead(index, Read(entry)) }

// ApplyRead is Apply for an entry that has been read already: reading is a third of the work, needs no state, and can
// be done for the next entries meanwhile.
func (m *Machine) ApplyRead(index uint64, e Entry) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	if index <= s.meta.Index {
		panic(fmt.Sprintf("entry %d was applied after entry %d", index, s.meta.Index))
	}
	m.view = nil
	before := s.meta
	s.meta.Index = index
	r := Result{Index: index, Code: CodeFormat}
	err := e.err
	if err == nil && e.command.Kind().Since() > max(s.meta.Format, 1) {
		err = fmt.Errorf("kind %d came with format %d, the state's is %d", e.command.Kind(), e.command.Kind().Since(), s.meta.Format)
	}
	if err != nil {
		r.Detail = err.Error()
	} else {
		s.meta.At = max(s.meta.At, min(e.at, funding.MillisMax))
		s.carryOut(e.command, &r)
	}
	if r.Newer != nil {
		s.meta = before
		return r
	}
	r.At = s.meta.At
	s.seal(&r)
	return r
}

// carryOut runs one command in an overlay and merges it, or refuses it. A panic while the command
// runs is a refusal; one in the merge is not caught, since it would leave half an entry behind.
func (s *state) carryOut(command Command, r *Result) {
	tx := &Tx{state: s, index: r.Index, at: s.meta.At, before: s.meta}
	answer, err := tx.run(command, r)
	if err == nil {
		r.Answer, err = encoder.Marshal(answer)
	}
	if err == nil {
		err = tx.chain()
	}
	if errors.Is(err, ErrNewer) {
		r.Newer, r.Detail = err, err.Error()
		tx.drop()
		return
	}
	if err != nil {
		refusal := refusalOf(err)
		r.Code, r.Detail, r.Answer = refusal.Code, refusal.Detail, nil
		tx.drop()
		return
	}
	tx.merge()
	r.Code, r.Events = OK, tx.events
}

func (tx *Tx) run(command Command, r *Result) (answer any, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			r.Panic = fmt.Sprintf("%v\n%s", caught, debug.Stack())
			answer, err = nil, refuse(CodePanic, "entry %d of kind %d hit a bug and was dropped", r.Index, command.Kind())
		}
	}()
	_, first := command.(*Init)
	switch {
	case first && tx.meta.Format != 0:
		return nil, refuse(CodeNotFirst, "the cluster exists already")
	case !first && tx.meta.Format == 0:
		return nil, refuse(CodeNoCluster, "the first entry must make the cluster")
	}
	doer, ok := command.(applier)
	if !ok {
		return nil, refuse(CodeFormat, "kind %d cannot be applied", command.Kind())
	}
	return doer.apply(tx, tx.at)
}

// seal adds a result to the checksum over all results.
func (s *state) seal(r *Result) {
	sum := sha256.New()
	sum.Write(s.meta.Sum[:])
	var numbers [24]byte
	binary.BigEndian.PutUint64(numbers[0:], r.Index)
	binary.BigEndian.PutUint64(numbers[8:], uint64(r.At))
	binary.BigEndian.PutUint64(numbers[16:], uint64(len(r.Answer)))
	sum.Write(numbers[:])
	sum.Write(r.Answer)
	sum.Write([]byte(r.Code))
	sum.Write(s.meta.Chain[:])
	sum.Sum(s.meta.Sum[:0])
	r.Sum = s.meta.Sum
}

// View is the state after the last entry: immutable, cheap to make and to keep, safe for any
// number of readers. Two calls without an entry between them give the same one.
func (m *Machine) View() *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.view == nil {
		m.view = m.state.freeze()
	}
	return m.view
}
