package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
}

type specRecord struct {
	Run  uint64          `json:"run"`
	Task string          `json:"task"`
	Spec json.RawMessage `json:"spec"`
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

func (l layout) read(id uint64) (*journal, error) {
	var record specRecord
	if err := readJSON(filepath.Join(l.run(id), specFile), &record); err != nil {
		return nil, err
	}
	j := &journal{id: id, task: record.Task, spec: &wire.Spec{}}
	if err := unmarshal(record.Spec, j.spec); err != nil {
		return nil, fmt.Errorf("read spec of run %d: %w", id, err)
	}
	if boot, err := os.Readlink(filepath.Join(l.run(id), startingFile)); err == nil {
		j.starting = boot
	}
	if boot, err := os.Readlink(filepath.Join(l.run(id), startedFile)); err == nil {
		j.starting, j.started = boot, true
	}
	var end endRecord
	err := readJSON(filepath.Join(l.run(id), endFile), &end)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	j.end = &ended{boot: end.Boot, startedBoot: end.StartedBoot, status: &wire.RunStatus{}}
	if err := unmarshal(end.Status, j.end.status); err != nil {
		return nil, fmt.Errorf("read end of run %d: %w", id, err)
	}
	return j, nil
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
	return writeJSON(filepath.Join(l.run(j.id), specFile), specRecord{Run: j.id, Task: j.task, Spec: spec}, true)
}

// writeEnd keeps how a run ended until the servers have taken note.
func (l layout) writeEnd(id uint64, e *ended) error {
	status, err := protojson.Marshal(e.status)
	if err != nil {
		return fmt.Errorf("encode end: %w", err)
	}
	record := endRecord{Boot: e.boot, StartedBoot: e.startedBoot, Status: status}
	return writeJSON(filepath.Join(l.run(id), endFile), record, false)
}

// markStarting keeps that the driver may have been asked: a link that leads nowhere but says the boot, in one step.
func (l layout) markStarting(id uint64, boot string) error {
	return os.Symlink(boot, filepath.Join(l.run(id), startingFile))
}

// markStarted keeps that the first process was there.
func (l layout) markStarted(id uint64) error {
	return os.Rename(filepath.Join(l.run(id), startingFile), filepath.Join(l.run(id), startedFile))
}

// unmarshal forgives fields that it does not know: a newer executor may have worked here.
func unmarshal(b []byte, m proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any, sync bool) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return writeFile(path, b, 0o600, sync)
}

// writeFile makes the file appear whole or not at all.
func writeFile(path string, b []byte, mode fs.FileMode, sync bool) (err error) {
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}
