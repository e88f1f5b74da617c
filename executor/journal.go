package executor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/drivers/gpu"
	"github.com/coinop/coinop/executor/wire"
)

// journal is what the folder of a run says.
type journal struct {
	id       uint64
	task     string // the driver's name of it
	spec     *wire.Spec
	starting string // boot in which the driver was asked to start it; empty: it never was
	started  bool
	gpus     []gpu.Granted // that it got; nil: none yet, or it asks for none
	end      *ended        // nil: it goes on
	size     int64         // up to the end of the last whole line in its file, behind which the next one is written
	torn     bool          // something lies behind that
	damage   error         // a line that had been written whole is none any more
}

// line is one line of a journal's file: whose it is, and one of its fields, or all that the first line says.
type line struct {
	Run      uint64          `json:"run"`
	Task     string          `json:"task,omitempty"`
	Spec     json.RawMessage `json:"spec,omitempty"`
	Starting string          `json:"starting,omitempty"`
	Started  bool            `json:"started,omitempty"`
	GPUs     []gpu.Granted   `json:"gpus,omitempty"`
	End      *endRecord      `json:"end,omitempty"`
}

// ended is what stays of a run whose logs and outputs are with the servers.
type ended struct {
	boot        string // to which startedBoot belongs
	startedBoot int64  // 0: no process ever was
	status      *wire.RunStatus
}

type endRecord struct {
	Boot        string          `json:"boot"`
	StartedBoot int64           `json:"started_boot_ns"`
	Status      json.RawMessage `json:"status"` // without started_age_ms, which grows
}

// read returns what the whole lines say. What lies behind the last of them was cut short by a kill or a loss of power, and is
// as if never written; so is another run's line, which is what a disk that lost power may show. A bad line before the last
// good one, or instead of the first, was whole once: that is damage, and named. Each line says on its own what it says, so
// the others count; only without the spec nothing can be done with the run but to end it.
func (l layout) read(id uint64) (*journal, error) {
	b, err := os.ReadFile(l.journal(id))
	j := &journal{id: id}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		j.damage = err
		return j, nil
	}
	var bad error
	for at := int64(0); ; {
		text, _, whole := bytes.Cut(b[at:], []byte{'\n'})
		if !whole {
			break
		}
		begin := at
		at += int64(len(text)) + 1
		next, err := parseLine(text)
		if err == nil && next.Run == id {
			if err = j.take(next); err == nil {
				j.size, j.damage = at, errors.Join(j.damage, bad)
				bad = nil
			}
		}
		if err != nil && bad == nil {
			bad = fmt.Errorf("%s, byte %d: %w", l.journal(id), begin, err)
		}
	}
	j.torn = j.size < int64(len(b))
	if j.spec == nil && j.end == nil {
		if j.damage = errors.Join(j.damage, bad); j.damage == nil {
			return nil, fmt.Errorf("read %s: no spec in it: %w", l.journal(id), fs.ErrNotExist)
		}
	}
	return j, nil
}

const sumDigits = 8 // before each line, and a blank

func parseLine(text []byte) (*line, error) {
	if len(text) <= sumDigits || text[sumDigits] != ' ' || string(text[:sumDigits]) != sumOf(text[sumDigits+1:]) {
		return nil, errors.New("the line's sum is wrong")
	}
	var next line
	if err := json.Unmarshal(text[sumDigits+1:], &next); err != nil {
		return nil, err
	}
	return &next, nil
}

func sumOf(b []byte) string { return fmt.Sprintf("%0*x", sumDigits, crc32.ChecksumIEEE(b)) }

func (j *journal) take(next *line) error {
	if next.Spec != nil {
		j.task, j.spec = next.Task, &wire.Spec{}
		if err := unmarshal(next.Spec, j.spec); err != nil {
			return fmt.Errorf("decode spec: %w", err)
		}
	}
	if next.Starting != "" {
		j.starting = next.Starting
	}
	j.started = j.started || next.Started
	if next.GPUs != nil {
		j.gpus = next.GPUs
	}
	if next.End == nil {
		return nil
	}
	j.end = &ended{boot: next.End.Boot, startedBoot: next.End.StartedBoot, status: &wire.RunStatus{}}
	if err := unmarshal(next.End.Status, j.end.status); err != nil {
		return fmt.Errorf("decode end: %w", err)
	}
	return nil
}

// writeSpec makes the run's folder; from now on it counts.
func (l layout) writeSpec(j *journal) error {
	spec, err := protojson.Marshal(j.spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	if err := os.Mkdir(l.run(j.id), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return l.write(j, line{Task: j.task, Spec: spec})
}

// writeEnd keeps how a run ended until the servers have taken note.
func (l layout) writeEnd(j *journal, e *ended) error {
	status, err := protojson.Marshal(e.status)
	if err != nil {
		return fmt.Errorf("encode end: %w", err)
	}
	return l.write(j, line{End: &endRecord{Boot: e.boot, StartedBoot: e.startedBoot, Status: status}})
}

// write puts a line behind those that are there, in place of what is left of one that could not be written to its end.
func (l layout) write(j *journal, next line) error {
	next.Run = j.id
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode a line of %s: %w", l.journal(j.id), err)
	}
	b = fmt.Appendf(nil, "%s %s\n", sumOf(b), b)
	f, err := os.OpenFile(l.journal(j.id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if j.torn {
		err = f.Truncate(j.size)
	}
	if err == nil {
		j.torn = true // until it is whole
		_, err = f.WriteAt(b, j.size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	j.size += int64(len(b))
	j.torn = false
	return nil
}

// unmarshal forgives fields that it does not know: a newer executor may have worked here.
func unmarshal(b []byte, m proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}

// writeFile makes the file appear whole or not at all.
func writeFile(path string, b []byte, mode fs.FileMode) (err error) {
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}
