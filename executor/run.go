package executor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// run is one attempt of a task on this machine. Its goroutine (live) owns journal and all fields up to changed.
type run struct {
	*Executor
	id       uint64
	journal  *journal
	adopted  bool               // its folder was there before this executor
	obeyed   uint64             // version of the order that has taken effect
	paused   bool               // we have frozen it
	asleep   bool               // we have suspended it
	unsure   bool               // whether we have frozen or suspended it, an earlier executor knew
	stopped  bool               // we have begun to stop it, as ordered or for its time limit
	killed   bool               // we have killed it because this executor ends its tasks
	struck   bool               // its time limit has struck
	epoch    int                // of the driver, when it was last asked
	released bool               // it has no GPU any more
	settled  bool               // its end says what it used of them, or that this is unknown
	used     *wire.GPUUsage     // of its GPUs, in all
	stowing  context.CancelFunc // ends what brings it to the servers; nil: nothing does
	stowed   chan struct{}      // closed when the last of these has ended; nil: there was none
	changed  chan struct{}      // told whenever something below has changed
	unwanted chan struct{}      // closed when it must not start any more

	mu       sync.Mutex // guards all below
	order    *wire.Order
	money    int64          // boot time at which the money ends, noEnd if never
	dropped  bool           // the servers no longer name it
	leaving  bool           // this executor ends its tasks
	fault    string         // why this machine has to end it; empty: it has not
	remarks  []string       // for its end's notes
	cards    []gpu.Granted  // the GPUs that it has got
	using    *wire.GPUUsage // what it has used of them, as the provider said last
	refused  bool           // unwanted is closed
	status   drivers.Status
	restarts int          // of its driver
	active   bool         // the driver has been asked to start it and it has not ended
	began    int64        // boot time when the driver was asked to start it; 0: an earlier executor did
	written  int64        // lease that the driver has
	granted  int64        // the longest that it may have; 0: not known
	leased   bool         // the driver holds it to that
	slept    int64        // boot time at which we had suspended it; 0: not known
	disowned error        // why its driver is not asked about it any more
	stored   *wire.Stored // what the servers have of it, while it is suspended
	cuts     []int64
	shown    drivers.Status // what reports tell; behind status by what must be on disk first
	version  uint64         // of shown
	end      *ended
}

// cutsMax bounds how many ends of money are remembered to tell such freezes from those for want of a lease.
const cutsMax = 16

var (
	errUnwanted = errors.New("no longer wanted")
	errHalted   = errors.New("halted by a test") // as if this executor had been killed
)

func newRun(e *Executor, id uint64) *run {
	return &run{Executor: e, id: id, changed: make(chan struct{}, 1), unwanted: make(chan struct{}), money: noEnd}
}

// reconcile makes the set of runs follow orders. The caller holds e.mu.
func (e *Executor) reconcile(ctx context.Context, orders []*wire.Order, sent int64) {
	named := make(map[uint64]bool, len(orders))
	for _, order := range orders {
		named[order.GetRun()] = true
		r := e.runs[order.GetRun()]
		if r == nil {
			r = e.accept(ctx, order)
		}
		money := noEnd
		if order.MoneyLeftMs != nil {
			money = sent + order.GetMoneyLeftMs()*int64(time.Millisecond)
		}
		r.tell(order, money)
	}
	for id, r := range e.runs {
		if !named[id] {
			r.drop()
		}
	}
}

// accept begins a run that is new here. The caller holds e.mu.
func (e *Executor) accept(ctx context.Context, order *wire.Order) *run {
	r := newRun(e, order.GetRun())
	r.journal = &journal{id: r.id, task: taskName(e.seen.Cluster, r.id), spec: order.GetSpec()}
	switch {
	case order.GetStarted():
		r.end = faultEnd(e.boot, "the machine no longer knows this task: its folder is gone")
	case order.GetSpec() == nil:
		r.end = faultEnd(e.boot, "the servers did not say what to run")
	case e.leaving:
		r.end = endWithout(e.boot, wire.Cause_CAUSE_LEAVING, "the executor is stopping")
	case e.ill != "":
		r.end = endWithout(e.boot, wire.Cause_CAUSE_LEAVING, e.ill)
	}
	e.runs[r.id] = r
	e.wg.Go(func() { r.live(ctx) })
	return r
}

// taskName is what drivers know a run as. Two clusters on one machine must not meet.
func taskName(cluster string, run uint64) string {
	prefix := make([]byte, 0, 12)
	for _, c := range []byte(cluster) {
		if len(prefix) < 12 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			prefix = append(prefix, c)
		}
	}
	return fmt.Sprintf("c%s-%d", prefix, run)
}

func (r *run) tell(order *wire.Order, money int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped {
		return // the servers took it back; the same run does not come again
	}
	same := r.order != nil && r.order.GetVersion() == order.GetVersion() && r.order.GetWant() == order.GetWant() && r.money == money
	r.order, r.money = order, money
	if order.GetWant() == wire.Want_WANT_STOP {
		r.refuse()
	}
	if !same {
		poke(r.changed)
	}
}

func (r *run) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped = true
	r.refuse()
	poke(r.changed)
}

func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = true
	r.refuse()
	poke(r.changed)
}

// refuse ends what prepares the run. The caller holds mu.
func (r *run) refuse() {
	if !r.refused {
		r.refused = true
		close(r.unwanted)
	}
}

// observe takes in what the driver says.
func (r *run) observe(s drivers.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State.Final() || r.status.StartedBoot != 0 && s.StartedBoot == 0 && !s.State.Final() {
		return // an older word that was under way
	}
	r.status = s
	poke(r.changed)
}

// live takes the run from where its journal left it to the moment when the servers no longer name it. An error means
// that this executor ends: the next one goes on from the journal.
func (r *run) live(ctx context.Context) {
	if err := r.toEnd(ctx); err != nil {
		return
	}
	if err := r.forget(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errHalted) {
		r.log.Error("a run's folder cannot be removed; it is tried again at the next start", "run", r.id, "error", err)
	}
	r.gone(r)
}

// toEnd returns when the run has ended, been reported and dropped.
func (r *run) toEnd(ctx context.Context) error {
	if r.isEnded() {
		r.report(r)
	} else {
		end, err := r.perform(ctx)
		switch {
		case err == nil, errors.Is(err, errUnwanted):
		case ctx.Err() != nil, errors.Is(err, errHalted):
			return err
		default:
			if end, err = r.giveUp(ctx, err); err != nil {
				return err
			}
		}
		if end != nil {
			if err := r.settle(ctx, end.status.End); err != nil {
				return err
			}
			if err := r.conclude(end); err != nil {
				return err
			}
		}
	}
	for !r.isDropped() {
		select {
		case <-r.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.config.step(r.id, "dropped")
}

// perform runs it. No end and errUnwanted: the servers dropped it.
func (r *run) perform(ctx context.Context) (*ended, error) {
	there := false
	if r.journal.spec == nil {
		return nil, fmt.Errorf("its journal is damaged: %w", r.journal.damage)
	}
	if r.adopted {
		var err error
		if there, err = r.find(ctx); err != nil {
			return nil, err
		}
		if !there && (r.journal.started || r.journal.starting != "" && r.journal.starting != r.boot) {
			return faultEnd(r.boot, "the task vanished from its driver, or the machine restarted"), nil
		}
	}
	if !there {
		if end, err := r.begin(ctx); end != nil || err != nil {
			return end, err
		}
	}
	r.unsure = there
	final, err := r.attend(ctx)
	if errors.Is(err, drivers.ErrNoTask) {
		return faultEnd(r.boot, "the task vanished from its driver"), nil
	}
	if err != nil {
		return nil, err
	}
	return r.collect(ctx, final)
}

// giveUp ends a run that cannot be run or attended. That it failed is told only when nothing of it can be running any
// more, since the servers will start it elsewhere.
func (r *run) giveUp(ctx context.Context, why error) (*ended, error) {
	r.log.Warn("a run is given up", "run", r.id, "error", why)
	if errors.Is(why, errLapsed) {
		return faultEnd(r.boot, why.Error()), nil // it is removed before it is forgotten, whenever that will be
	}
	for {
		err := r.removeTask(ctx)
		if err == nil {
			return faultEnd(r.boot, why.Error()), nil
		}
		r.log.Error("what is left of a run cannot be removed; trying again", "run", r.id, "error", err)
		if err := pause(ctx, removeRetry); err != nil {
			return nil, err
		}
	}
}

const removeRetry = 5 * time.Second

// removeTask makes the driver forget the task, if the driver may know it. Where the journal does not say which one it was,
// all are told.
func (r *run) removeTask(ctx context.Context) error {
	if !r.adopted && !r.wasStarted() {
		return nil
	}
	for _, name := range sortedNames(r.config.Drivers) {
		if r.spec() != nil && name != r.spec().GetDriver() {
			continue
		}
		err := again(ctx, func() error { return r.config.Drivers[name].Remove(ctx, r.journal.task) })
		if err != nil {
			return fmt.Errorf("remove task: %w", err)
		}
	}
	return nil
}

// conclude keeps the end and reports it.
func (r *run) conclude(end *ended) error {
	end.status.End.Message = plainText(end.status.End.Message)
	for i, note := range end.status.End.Notes {
		end.status.End.Notes[i] = plainText(note)
	}
	r.mu.Lock()
	end.status.Run, end.status.Version = r.id, r.version
	if r.order != nil {
		end.status.Version = r.order.GetVersion() // there is nothing left to obey
	}
	r.mu.Unlock()
	err := r.layout.writeEnd(r.journal, end)
	if err != nil {
		// The end is told all the same. An executor that restarts before the servers took note works it out again.
		r.log.Warn("the end of a run could not be kept", "run", r.id, "error", err)
		r.diskFailed(err)
	}
	if err := r.config.step(r.id, "end written"); err != nil {
		return err
	}
	r.mu.Lock()
	r.end, r.active = end, false
	r.mu.Unlock()
	r.report(r)
	return nil
}

// forget removes all traces.
func (r *run) forget(ctx context.Context) error {
	if err := r.removeTask(ctx); err != nil {
		return err
	}
	for {
		err := r.release(ctx)
		if err == nil {
			break
		}
		if errors.Is(err, errHalted) {
			return err
		}
		if err := pause(ctx, removeRetry); err != nil {
			return err
		}
	}
	if err := r.config.step(r.id, "driver removed"); err != nil {
		return err
	}
	if err := r.layout.discard(r.id); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return r.config.step(r.id, "forgotten")
}

// plainText makes what may hold a file's name or a command fit for a message: what is not UTF-8 could not be sent, ever.
func plainText(s string) string {
	const most = 500
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (r *run) isEnded() bool    { r.mu.Lock(); defer r.mu.Unlock(); return r.end != nil }
func (r *run) isDropped() bool  { r.mu.Lock(); defer r.mu.Unlock(); return r.dropped }
func (r *run) wasStarted() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.began != 0 }

func faultEnd(boot, message string) *ended {
	return endWithout(boot, wire.Cause_CAUSE_FAULT, message)
}

// endWithout is the end of a run without a process to account for.
func endWithout(boot string, cause wire.Cause, message string) *ended {
	return &ended{boot: boot, status: &wire.RunStatus{
		State: wire.RunState_RUN_STATE_ENDED,
		End:   &wire.End{Cause: cause, Code: codeOurs, Message: message},
	}}
}

// codeOurs is the exit code where the command had no say.
const codeOurs = 125

// again repeats what a driver could not do because its process was gone, which is right for every method.
func again(ctx context.Context, try func() error) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := try()
		if !errors.Is(err, drivers.ErrUnavailable) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pause waits, or returns the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
