package executor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
	"github.com/coinop/coinop/executor/wire"
)

// collect brings logs and outputs of an ended task to the servers and says how it ended.
func (r *run) collect(ctx context.Context, final drivers.Status) (*ended, error) {
	r.mu.Lock()
	r.shown, r.active = final, false
	r.mu.Unlock()
	status := &wire.RunStatus{
		State: wire.RunState_RUN_STATE_ENDED, Frozen: r.spansNow(final), Missing: missing(final), End: r.cause(final),
	}
	if err := r.settle(ctx, status.End); err != nil { // what follows may take long, and needs none
		return nil, err
	}
	r.blame(ctx, status.End)
	if final.StartedBoot != 0 {
		ran := max(0, final.EndedBoot-final.StartedBoot) / int64(time.Millisecond)
		status.RanMs = &ran
	}
	wanted, cancel := r.whileNamed(ctx)
	defer cancel()
	err := r.slot(wanted, r.windUp, func() error { return r.bring(wanted, status.End) })
	switch {
	case ctx.Err() != nil, errors.Is(err, errHalted):
		return nil, err
	case errors.Is(err, drivers.ErrBroken):
		return nil, err
	case r.isDropped():
		return nil, errUnwanted
	case err != nil:
		r.log.Warn("logs and outputs of a run were not all brought to the servers", "run", r.id, "error", err)
		status.End.Notes = append(status.End.Notes, err.Error())
	}
	return &ended{boot: r.boot, startedBoot: final.StartedBoot, status: status}, nil
}

// whileNamed returns a context that ends with ctx or when the servers no longer name the run.
func (r *run) whileNamed(ctx context.Context) (context.Context, context.CancelFunc) {
	named, cancel := context.WithCancel(ctx)
	r.wg.Go(func() {
		defer poke(r.changed) // what was heard here is for the run's own goroutine too
		for !r.isDropped() {
			select {
			case <-r.changed: // nobody else listens while files are collected
			case <-named.Done():
				return
			}
		}
		cancel()
	})
	return named, cancel
}

func (r *run) bring(ctx context.Context, end *wire.End) error {
	driver := r.config.Drivers[r.spec().GetDriver()]
	var used drivers.Usage
	err := again(ctx, func() error {
		var err error
		used, err = driver.Usage(ctx, r.journal.task)
		return err
	})
	if errors.Is(err, drivers.ErrBroken) {
		return err
	}
	if err != nil {
		end.Notes = append(end.Notes, fmt.Sprintf("what the task used is unknown: %v", err))
	}
	end.CpuMs, end.MemoryPeakBytes = used.CPUMillis, used.MemoryPeakBytes
	if err == nil && used.LogBytes == 0 {
		return r.takeOutputs(ctx, end)
	}
	for name, into := range map[string]**wire.Log{"stdout": &end.Stdout, "stderr": &end.Stderr} {
		log, err := r.takeLog(ctx, name)
		if err != nil {
			return err
		}
		*into = log
	}
	if err := r.config.step(r.id, "logs stored"); err != nil {
		return err
	}
	return r.takeOutputs(ctx, end)
}

// takeLog stores what is left of a stream; nothing if it is empty.
func (r *run) takeLog(ctx context.Context, name string) (*wire.Log, error) {
	path := filepath.Join(r.layout.run(r.id), driverDir, name)
	size, err := logs.Size(path)
	if err != nil || size == 0 {
		return nil, err
	}
	sum, kept := sha256.New(), &logReader{path: path, head: -1}
	n, err := io.Copy(sum, kept)
	if err != nil {
		return nil, err
	}
	log := &wire.Log{Size: size, HeadBytes: n, GapBytes: size - n} // a gap without a tail: the disk was full
	if kept.head >= 0 {
		log.HeadBytes, log.TailBytes = kept.head, n-kept.head
	}
	if n == 0 {
		return log, nil
	}
	d := digest(sum.Sum(nil))
	log.Digest = d[:]
	err = r.put(ctx, d, n, func() (io.Reader, error) { return &logReader{path: path, head: -1}, nil })
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return log, nil
}

// logReader reads what is kept of an ended task's stream: head and tail, one after the other.
type logReader struct {
	path string
	at   int64 // in the bytes printed
	read int64
	head int64 // bytes before the gap; negative: none so far
	rest []byte
}

func (l *logReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		chunk, err := logs.Read(l.path, l.at, wire.ChunkBytes)
		if err != nil {
			return 0, err
		}
		if len(chunk.Data) == 0 {
			return 0, io.EOF
		}
		if chunk.Gap > 0 {
			l.head = l.read
		}
		l.at, l.rest = chunk.Next, chunk.Data
	}
	n := copy(p, l.rest)
	l.rest, l.read = l.rest[n:], l.read+int64(n)
	return n, nil
}

// cause turns the driver's word into what the servers need to know: who is to blame, and what to charge.
func (r *run) cause(s drivers.Status) *wire.End {
	end := &wire.End{Code: int32(s.Exit.Code), Signal: int32(s.Exit.Signal), Message: s.Exit.Message}
	r.mu.Lock()
	ordered := r.order.GetWant() == wire.Want_WANT_STOP || r.dropped
	leaving := r.leaving
	r.mu.Unlock()
	switch s.Exit.Cause {
	case drivers.CauseExited:
		end.Cause = wire.Cause_CAUSE_EXITED
	case drivers.CauseSignalled:
		end.Cause = wire.Cause_CAUSE_SIGNALLED
	case drivers.CauseOOM:
		end.Cause = wire.Cause_CAUSE_OUT_OF_MEMORY
	case drivers.CauseDisk:
		end.Cause = wire.Cause_CAUSE_SIGNALLED // its message says which limit sent the signal
	case drivers.CauseLease:
		end.Cause = wire.Cause_CAUSE_LEASE
	case drivers.CauseStopped:
		switch {
		case r.struck || r.pastLimit(s):
			end.Cause = wire.Cause_CAUSE_TIME_LIMIT
		case ordered || r.stopped:
			end.Cause = wire.Cause_CAUSE_STOPPED
		case leaving:
			end.Cause, end.Message = wire.Cause_CAUSE_LEAVING, "the executor ended its tasks"
		default:
			end.Cause, end.Message = wire.Cause_CAUSE_FAULT, "the task was stopped, and nobody had ordered it"
		}
	case drivers.CauseStartFailed:
		end.Cause = wire.Cause_CAUSE_START_FAILED
		if s.Exit.Code != codeNotExecutable && s.Exit.Code != codeNotFound {
			end.Cause = wire.Cause_CAUSE_FAULT // limits or folders, which are ours to provide
		}
	default:
		end.Cause = wire.Cause_CAUSE_FAULT
		if end.Message == "" {
			end.Message = "the task's shim died"
		}
	}
	if s.State == drivers.StateLost {
		end.Cause = wire.Cause_CAUSE_FAULT
	}
	return end
}

// codeNotFound is what a shell says of a command that is not there.
const codeNotFound = 127

// pastLimit says whether a stopped task was stopped for its time limit by an executor that is gone.
func (r *run) pastLimit(s drivers.Status) bool {
	limit := r.limitNs()
	return limit > 0 && s.StartedBoot != 0 &&
		s.EndedBoot-s.StartedBoot >= limit-min(limit, r.spec().GetKillDelayMs()*int64(time.Millisecond))
}

func missing(s drivers.Status) []string {
	var names []string
	for _, limit := range s.Missing {
		names = append(names, string(limit))
	}
	return names
}

// spans turns freezes into milliseconds: inwards, so that they never add up to more than was frozen.
// The caller holds mu.
func (r *run) spans(s drivers.Status) []*wire.Span {
	var list []*wire.Span
	for _, span := range s.Frozen {
		from := (span.From + int64(time.Millisecond) - 1) / int64(time.Millisecond)
		next := &wire.Span{FromMs: from, Cause: wire.SpanCause_SPAN_CAUSE_ORDERED}
		if span.Cause == drivers.FrozenByLease {
			next.Cause = wire.SpanCause_SPAN_CAUSE_LEASE
			if r.cutByMoney(s.StartedBoot + span.From) {
				next.Cause = wire.SpanCause_SPAN_CAUSE_MONEY
			}
		}
		to := span.To
		if to == 0 && s.State.Final() {
			to = s.EndedBoot - s.StartedBoot
		}
		if to != 0 {
			ms := max(from, to/int64(time.Millisecond))
			next.ToMs = &ms
		}
		list = append(list, next)
	}
	return list
}

func (r *run) spansNow(s drivers.Status) []*wire.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spans(s)
}
