package shim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The layout of c/shim.h.
const (
	recordMagic   = 0x6d696873706f6f63
	recordVersion = 1
	checkedFrom   = 24 // the checksum covers what follows it
	headerBytes   = 224
	spanBytes     = 24
	spansMax      = 256
)

// State of a record.
type State uint32

const (
	Starting State = iota + 1
	Running
	Frozen
	Exited
	Lost // written by the driver for a shim that died
)

// Cause of an end.
type Cause uint32

const (
	ExitedItself Cause = iota + 1
	Signalled
	OOM
	LeaseLapsed
	Stopped
	StartFailed
	DiskFull // killed with this as Message.Arg
)

// Bits of Record.Struck.
const (
	StruckMemory = 1
	StruckPids   = 2
)

// Cause of a freeze.
const (
	FrozenByControl = 1
	FrozenByLease   = 2
)

// Record is what a shim says of its task: the live status and, in the end, the exit record.
type Record struct {
	State      State
	Pid        int32
	ShimPid    int32
	Missing    uint32
	Started    uint64
	Ended      uint64
	Ack        uint64
	AckErrno   int32
	Code       int32
	Signal     int32
	Cause      Cause
	Struck     uint32 // limits that were reached
	SpanCount  uint32
	CPUMicros  uint64
	MemoryPeak uint64
	PidsPeak   uint64
	LogBytes   uint64
	Message    [104]byte
	Spans      []Span
}

// Span is a time of being frozen, in ns since Started; To is 0 while it lasts.
type Span struct {
	From, To uint64
	Cause    uint32
	_        uint32
}

// ErrNoRecord: the file is not there, empty, or was caught half written.
var ErrNoRecord = errors.New("no record")

// fixed is Record without its spans, as it lies in the file.
type fixed struct {
	State                  State
	Pid, ShimPid           int32
	Missing                uint32
	Started, Ended, Ack    uint64
	AckErrno, Code, Signal int32
	Cause                  Cause
	Struck, SpanCount      uint32
	CPUMicros, MemoryPeak  uint64
	PidsPeak, LogBytes     uint64
	Message                [104]byte
}

// ReadRecord reads the live status.
func ReadRecord(record string) (Record, error) { return readRecord(record) }

// ReadExit reads the exit record; ErrNoRecord if the shim has not written one, perhaps never will.
func ReadExit(record string) (Record, error) { return readRecord(record + exitEnding) }

// readRecord tries again what it catches half written, since the status is rewritten in place.
func readRecord(path string) (Record, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, ErrNoRecord
	}
	if err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	defer unix.Close(fd)
	var last error
	for range 100 {
		var data [headerBytes + spansMax*spanBytes]byte
		n, err := unix.Pread(fd, data[:], 0)
		if err != nil {
			return Record{}, fmt.Errorf("read record: %w", err)
		}
		if n < headerBytes || binary.LittleEndian.Uint64(data[:]) == 0 {
			return Record{}, ErrNoRecord
		}
		record, err := decodeRecord(data[:n])
		if err == nil {
			return record, nil
		}
		last = err
	}
	return Record{}, fmt.Errorf("%w: %s: %w", ErrNoRecord, path, last)
}

func decodeRecord(data []byte) (Record, error) {
	if len(data) < headerBytes {
		return Record{}, fmt.Errorf("%d bytes are too few", len(data))
	}
	size := binary.LittleEndian.Uint32(data[12:])
	if binary.LittleEndian.Uint64(data) != recordMagic || binary.LittleEndian.Uint32(data[8:]) != recordVersion {
		return Record{}, fmt.Errorf("not a shim's record of version %d", recordVersion)
	}
	if int64(size) > int64(len(data)) || size < headerBytes {
		return Record{}, fmt.Errorf("says %d bytes and has %d", size, len(data))
	}
	data = data[:size]
	if checksum(data) != binary.LittleEndian.Uint64(data[16:]) {
		return Record{}, errors.New("wrong checksum")
	}
	le := binary.LittleEndian
	b := data[checkedFrom:]
	r := Record{
		State: State(le.Uint32(b)), Pid: int32(le.Uint32(b[4:])), ShimPid: int32(le.Uint32(b[8:])), Missing: le.Uint32(b[12:]),
		Started: le.Uint64(b[16:]), Ended: le.Uint64(b[24:]), Ack: le.Uint64(b[32:]),
		AckErrno: int32(le.Uint32(b[40:])), Code: int32(le.Uint32(b[44:])), Signal: int32(le.Uint32(b[48:])),
		Cause: Cause(le.Uint32(b[52:])), Struck: le.Uint32(b[56:]), SpanCount: le.Uint32(b[60:]),
		CPUMicros: le.Uint64(b[64:]), MemoryPeak: le.Uint64(b[72:]), PidsPeak: le.Uint64(b[80:]), LogBytes: le.Uint64(b[88:]),
	}
	copy(r.Message[:], b[96:])
	if r.SpanCount > spansMax || int(size) != headerBytes+int(r.SpanCount)*spanBytes {
		return Record{}, fmt.Errorf("%d spans in %d bytes", r.SpanCount, size)
	}
	for i := range int(r.SpanCount) {
		at := data[headerBytes+i*spanBytes:]
		r.Spans = append(r.Spans, Span{From: le.Uint64(at), To: le.Uint64(at[8:]), Cause: le.Uint32(at[16:])})
	}
	return r, nil
}

func checksum(data []byte) uint64 {
	h := fnv.New64a()
	h.Write(data[checkedFrom:])
	return h.Sum64()
}

// Text is Message without its padding.
func (r Record) Text() string {
	text, _, _ := bytes.Cut(r.Message[:], []byte{0})
	return string(text)
}

// WriteExit writes an exit record in the shim's stead, for one that died.
func WriteExit(record, logDir string, r Record) error {
	r.SpanCount = uint32(min(len(r.Spans), spansMax))
	var body bytes.Buffer
	parts := []any{fixed{
		r.State, r.Pid, r.ShimPid, r.Missing, r.Started, r.Ended, r.Ack, r.AckErrno, r.Code, r.Signal, r.Cause, r.Struck,
		r.SpanCount, r.CPUMicros, r.MemoryPeak, r.PidsPeak, r.LogBytes, r.Message,
	}, r.Spans[:r.SpanCount]}
	head := make([]byte, checkedFrom)
	binary.LittleEndian.PutUint64(head, recordMagic)
	binary.LittleEndian.PutUint32(head[8:], recordVersion)
	binary.LittleEndian.PutUint32(head[12:], headerBytes+r.SpanCount*spanBytes)
	body.Write(head)
	for _, part := range parts {
		if err := binary.Write(&body, binary.LittleEndian, part); err != nil {
			return fmt.Errorf("write exit record: %w", err)
		}
	}
	data := body.Bytes()
	binary.LittleEndian.PutUint64(data[16:], checksum(data))
	data = append(data, make([]byte, folderAt-len(data))...)
	data = append(data, logDir...)
	if err := os.WriteFile(record+newEnding, data, 0o600); err != nil {
		return fmt.Errorf("write exit record: %w", err)
	}
	if err := os.Rename(record+newEnding, record+exitEnding); err != nil {
		return fmt.Errorf("write exit record: %w", err)
	}
	if err := os.Remove(record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write exit record: %w", err)
	}
	return nil
}
