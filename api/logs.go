package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// logWanted is what a request for a log asks for.
type logWanted struct {
	job    scheduler.JobID
	stream string
	task   int32
	run    scheduler.RunID // zero: the newest of the task
	offset int64
	tail   int64 // lines
	follow bool
}

func (a *API) readLog(r *http.Request) (logWanted, *machine.View, error) {
	q := logWanted{stream: r.PathValue("stream"), follow: r.URL.Query().Get("follow") == "true"}
	v := a.node.View()
	id, err := strconv.ParseUint(r.PathValue("job"), 10, 64)
	if err != nil {
		return q, v, fail(string(machine.CodeInvalid), "job: %.20q is not a number", r.PathValue("job"))
	}
	if q.stream != "stdout" && q.stream != "stderr" {
		return q, v, fail(codeNotFound, "a task writes stdout and stderr, not %.20q", q.stream)
	}
	j, err := a.ownJob(r.Context(), v, id)
	if err != nil {
		return q, v, err
	}
	q.job = j.ID
	var numbers [4]int64
	for i, name := range []string{"task", "run", "offset", "tail"} {
		if numbers[i], err = number(r, name); err != nil {
			return q, v, err
		}
	}
	q.run, q.offset, q.tail = scheduler.RunID(numbers[1]), numbers[2], numbers[3]
	q.task = j.Tasks.First
	if r.URL.Query().Get("task") != "" && (numbers[0] != 0 || j.Tasks.First == 0) {
		q.task = int32(min(numbers[0], int64(scheduler.TasksMax)))
	}
	if q.task < j.Tasks.First || q.task > j.Tasks.Last {
		return q, v, fail(string(machine.CodeInvalid), "job %d has the tasks %d to %d, not %d", j.ID, j.Tasks.First, j.Tasks.Last, q.task)
	}
	return q, v, nil
}

// getLog sends what a task has written: from its node while it runs, from the kept bytes afterwards. Following, it
// waits for a task that has not started, and goes on to the next run of one that is run again.
func (a *API) getLog(w http.ResponseWriter, r *http.Request) error {
	q, v, err := a.readLog(r)
	if err != nil {
		return err
	}
	leave, err := a.enterStream(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	out := &logWriter{lines: lineWriter{w: w}, plain: !strings.Contains(r.Header.Get("Accept"), "ndjson"), q: q}
	if q.follow {
		out.begin() // the client is to know at once that it is being served
	}
	ctx := r.Context()
	for after := scheduler.RunID(0); ; {
		run, err := a.runOf(ctx, &v, q, after)
		if err != nil || run == nil {
			return out.end(err)
		}
		if run.ID != q.run && after != 0 {
			out.q.offset, out.q.tail = 0, 0 // another attempt writes from its own beginning
		}
		if err := a.sendRun(ctx, v, run, out); err != nil {
			return out.end(err)
		}
		v = a.node.View() // the run has ended since: is its task to run again?
		if !q.follow && (q.run != 0 || !hasMoved(v, run.ID)) || q.run != 0 && !a.again(v, q, run.ID) {
			return out.end(nil)
		}
		after = run.ID
	}
}

// again reports whether a task that was followed from one run on is going on in another.
func (a *API) again(v *machine.View, q logWanted, run scheduler.RunID) bool {
	j, ok := v.Job(q.job)
	return ok && j.State != scheduler.JobDone && run == q.run
}

// runOf finds the run to send after another: the next one, and first the one that was asked for, or the task's newest from where
// that began. Following, it waits for it until the job is done. Nil: there is none.
func (a *API) runOf(ctx context.Context, v **machine.View, q logWanted, after scheduler.RunID) (*scheduler.Run, error) {
	for {
		var found *scheduler.Run
		better := func(task int32, run scheduler.RunID) bool {
			switch {
			case task != q.task || run <= after || q.run != 0 && after == 0 && run != q.run:
				return false
			case found == nil || after == 0:
				return found == nil || run >= found.ID
			}
			return run <= found.ID
		}
		(*v).RunsOf(q.job, func(r *scheduler.Run) bool {
			if better(r.Task, r.ID) {
				found = r
			}
			return true
		})
		// A run that has ended leaves only its files.
		(*v).FilesOf(q.job, func(f *machine.RunFiles) bool {
			if better(f.Task, f.Run) {
				found = &scheduler.Run{ID: f.Run, Job: q.job, Task: f.Task, State: scheduler.RunEnded}
			}
			return true
		})
		if found != nil && after == 0 && q.run == 0 && q.offset == 0 && q.tail == 0 {
			if first := firstPart(*v, found); first != found.ID {
				found = &scheduler.Run{ID: first, Job: q.job, Task: q.task, State: scheduler.RunEnded}
			}
		}
		if found != nil && (found.Start != 0 || found.State == scheduler.RunEnded || !q.follow) {
			return found, nil
		}
		if q.run != 0 && after == 0 && found == nil {
			return nil, fail(string(machine.CodeRunUnknown), "job %d has no run %d of task %d", q.job, q.run, q.task)
		}
		j, ok := (*v).Job(q.job)
		if !q.follow || !ok || j.State == scheduler.JobDone || after != 0 && found == nil && !stillToRun(j, q.task) {
			return nil, nil
		}
		next, err := a.nextView(ctx, *v)
		if err != nil {
			return nil, err
		}
		*v = next
	}
}

// hasMoved says whether a run went on as another one, elsewhere.
func hasMoved(v *machine.View, run scheduler.RunID) bool {
	files, ok := v.Files(run)
	return ok && files.Reason == scheduler.ReasonMoved
}

// firstPart is the run in which a task began that has moved, perhaps more than once, and is now what newest is.
func firstPart(v *machine.View, newest *scheduler.Run) scheduler.RunID {
	first := scheduler.RunID(0)
	v.FilesOf(newest.Job, func(f *machine.RunFiles) bool {
		switch {
		case f.Task != newest.Task || f.Run >= newest.ID:
		case f.Reason != scheduler.ReasonMoved:
			first = 0
		case first == 0:
			first = f.Run
		}
		return true
	})
	return cmp.Or(first, newest.ID)
}

// stillToRun reports whether a task waits to be run again.
func stillToRun(j *scheduler.Job, task int32) bool {
	for _, t := range j.Requeued {
		if t == task {
			return true
		}
	}
	return task >= j.Next
}

// sendRun sends one run's stream to its end.
func (a *API) sendRun(ctx context.Context, v *machine.View, run *scheduler.Run, out *logWriter) error {
	out.run, out.task = run.ID, run.Task
	if run.State != scheduler.RunEnded && a.config.Logs != nil {
		err := a.sendLive(ctx, run, out)
		if err == nil && !out.q.follow {
			return nil
		}
		if stored := run.Kept(); err != nil && stored != nil && run.Parked != nil && !out.q.follow {
			return a.sendKept(ctx, streamOf(out.q.stream, stored.Stdout, stored.Stderr), out)
		}
		if err != nil && (ctx.Err() != nil || !out.q.follow) {
			return err
		}
		// The run has ended, or its node cannot be reached: what was kept tells the rest once it is known.
	}
	for {
		if files, ok := v.Files(run.ID); ok {
			return a.sendKept(ctx, streamOf(out.q.stream, files.Stdout, files.Stderr), out)
		}
		current, ok := v.Run(run.ID)
		if !out.q.follow || !ok || current.State == scheduler.RunEnded {
			return nil
		}
		next, err := a.nextView(ctx, v)
		if err != nil {
			return err
		}
		v = next
	}
}

func streamOf(name string, stdout, stderr scheduler.Log) scheduler.Log {
	if name == "stderr" {
		return stderr
	}
	return stdout
}

// tailLine is the length of a line that a tail in lines allows for.
const tailLine = 512

func (a *API) sendLive(ctx context.Context, run *scheduler.Run, out *logWriter) error {
	r := LogRequest{Run: run.ID, Stream: out.q.stream, Offset: out.q.offset, Follow: out.q.follow}
	if out.q.tail > 0 {
		end, err := a.sendTail(ctx, r, out)
		if err != nil || !out.q.follow {
			return err
		}
		r.Offset = end
	}
	return a.config.Logs.ReadLog(ctx, r, func(p LogPiece) error { return out.piece(p.Offset, p.Data) })
}

// sendTail sends the last lines of a stream that is being written and says where they end.
func (a *API) sendTail(ctx context.Context, r LogRequest, out *logWriter) (int64, error) {
	r.Follow, r.Tail = false, min(out.q.tail, 1<<15)*tailLine
	var all []byte
	end := int64(0)
	err := a.config.Logs.ReadLog(ctx, r, func(p LogPiece) error {
		all = append(all, p.Data...)
		end = p.Offset + int64(len(p.Data))
		return nil
	})
	if err != nil {
		return 0, err
	}
	last := lastLines(all, out.q.tail)
	return end, out.piece(end-int64(len(last)), last)
}

// lastLines is the end of b that holds n lines.
func lastLines(b []byte, n int64) []byte {
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for ; n > 0 && at > 0; n-- {
		if at = bytes.LastIndexByte(b[:at], '\n'); at < 0 {
			return b
		}
	}
	if at == 0 {
		return b
	}
	return b[at+1:]
}

// sendKept sends a finished stream: its first bytes and its last, with what was not kept between them.
func (a *API) sendKept(ctx context.Context, log scheduler.Log, out *logWriter) error {
	if log.Size == 0 || log.Head+log.Tail == 0 {
		return nil
	}
	if a.config.Blobs == nil {
		return fail(codeNotHere, "this server keeps no logs")
	}
	from := out.q.offset
	if out.q.tail > 0 {
		var err error
		if from, err = a.tailOffset(ctx, log, out.q.tail); err != nil {
			return err
		}
	}
	// Where an offset of what was written lies in the bytes that were kept.
	at := from
	switch {
	case from < log.Head:
	case from < log.Head+log.Gap:
		at, from = log.Head, log.Head+log.Gap
	default:
		at = from - log.Gap
	}
	body, err := a.openAt(ctx, log, at)
	if err != nil {
		return err
	}
	defer body.Close()
	return copyKept(body, log, from, out)
}

// openAt opens the kept bytes of a finished stream from one of them on.
func (a *API) openAt(ctx context.Context, log scheduler.Log, at int64) (io.ReadCloser, error) {
	body, _, err := a.config.Blobs.Get(ctx, log.Digest)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, body, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("read log: %w", err), body.Close())
	}
	return body, nil
}

// tailOffset is where the last lines of a finished stream begin.
func (a *API) tailOffset(ctx context.Context, log scheduler.Log, lines int64) (int64, error) {
	kept := log.Head + log.Tail
	size := min(kept, min(lines, 1<<15)*tailLine)
	body, err := a.openAt(ctx, log, kept-size)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(body, b); err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	at := kept - int64(len(lastLines(b, lines)))
	if at >= log.Head {
		at += log.Gap
	}
	return at, nil
}

// copyKept sends a finished stream whose next byte is that of an offset.
func copyKept(body io.Reader, log scheduler.Log, from int64, out *logWriter) error {
	b := make([]byte, 64<<10)
	for {
		part := b
		if from < log.Head {
			part = b[:min(int64(len(b)), log.Head-from)]
		}
		n, err := io.ReadFull(body, part)
		if n > 0 {
			if err := out.piece(from, part[:n]); err != nil {
				return err
			}
			if from += int64(n); from == log.Head {
				from += log.Gap
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
}

// logWriter sends a log as plain bytes, with a line where bytes are missing, or as lines of JSON.
type logWriter struct {
	lines lineWriter
	plain bool
	q     logWanted // offset moves on with what was sent
	run   scheduler.RunID
	task  int32
}

func (l *logWriter) begin() {
	if l.plain && !l.lines.begun {
		l.lines.begun = true
		l.lines.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		l.lines.w.WriteHeader(http.StatusOK)
		l.lines.flush()
		return
	}
	l.lines.begin()
}

// piece sends bytes that were written from an offset on; what was sent before is left out.
func (l *logWriter) piece(offset int64, data []byte) error {
	if skip := l.q.offset - offset; skip > 0 {
		data = data[min(skip, int64(len(data))):]
		offset = l.q.offset
	}
	if len(data) == 0 {
		return nil
	}
	gap := int64(0)
	if l.q.tail == 0 {
		gap = offset - l.q.offset
	}
	l.q.offset, l.q.tail = offset+int64(len(data)), 0
	if !l.plain {
		return l.lines.line(client.LogChunk{
			Run: uint64(l.run), Task: l.task, Stream: l.q.stream, Offset: offset, Gap: gap, Data: data,
		})
	}
	l.begin()
	if gap > 0 {
		if _, err := fmt.Fprintf(l.lines.w, "\n[%d bytes were not kept]\n", gap); err != nil {
			return err
		}
	}
	if _, err := l.lines.w.Write(data); err != nil {
		return err
	}
	l.lines.flush()
	return nil
}

// end finishes the answer. An error in the midst of it can only break it off.
func (l *logWriter) end(err error) error {
	if err == nil {
		l.begin()
		return nil
	}
	return streamError(&l.lines, err)
}
