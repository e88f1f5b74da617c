package executor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/executor/wire"
)

// journal is what the folder of a run says.
type journal struct {
	id       uint64
	task     string // the driver's name of it
	spec     *wire.Spec
	starting string // boot in which the driver was asked to start it; empty: it never was
	started  bool
	end      *ended // nil: it goes on
	size     int64  // of the whole lines in its file, behind which the next one is written
}

// line is one line of a journal's file: whose it is, and one of its fields, or all that the first line says.
type line struct {
	Run      uint64          `json:"run"`
	Task     string          `json:"task,omitempty"`
	Spec     json.RawMessage `json:"spec,omitempty"`
	Starting string          `json:"starting,omitempty"`
	Started  bool            `json:"started,omitempty"`
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

// read returns what the whole lines say: one that was cut short by a kill or a loss of power was never written, and nothing
// behind it either. Nor was another run's, which is what a disk that lost power may show. Without a first line there is no journal.
func (l layout) read(id uint64) (*journal, error) {
	b, err := os.ReadFile(l.journal(id))
	if err != nil {
		return nil, err
	}
	j := &journal{id: id}
	for {
		text, _, whole := bytes.Cut(b[j.size:], []byte{'\n'})
		var next line
		if !whole || json.Unmarshal(text, &next) != nil || next.Run != id {
			break
		}
		if err := j.take(&next); err != nil {
			return nil, fmt.Errorf("read %s: %w", l.journal(id), err)
		}
		j.size += int64(len(text)) + 1
	}
	if j.spec == nil {
		return nil, fmt.Errorf("read %s: no spec in it: %w", l.journal(id), fs.ErrNotExist)
	}
	return j, nil
}

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

// write puts a line behind those that are there, over what is left of one that could not be written to its end.
func (l layout) write(j *journal, next line) error {
	next.Run = j.id
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode a line of %s: %w", l.journal(j.id), err)
	}
	b = append(b, '\n')
	f, err := os.OpenFile(l.journal(j.id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, j.size)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	j.size += int64(len(b))
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
