// Package guest is what a virtual machine's first process and the monitor beside the machine say to each other.
package guest

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/coinop/coinop/drivers/shim"
)

// Kind says what a frame means. The numbers are those of guest.h.
type Kind byte

// What the first process is asked for.
const (
	AskBoot Kind = iota + 1
	AskStart
	AskData
	AskEnd
	AskSignal
	AskSize
	AskCredit
	AskClose
	AskConnect
	AskSync
	AskEntry
	AskGive
	AskNotice
)

// What it tells.
const (
	TellHello Kind = iota + 1
	TellReady
	TellOut
	TellErr
	TellOutEnd
	TellExit
	TellCredit
	TellSynced
	TellEntry
	TellUsed
	TellBegun // the task's command runs; before it only TellExit can have come
)

const (
	// Window is how many bytes may be on their way on a channel, in each direction.
	Window = 65536
	// FrameCost is what a frame counts beside its bytes.
	FrameCost = 64
	// TellMax bounds what is taken of a frame from a machine, where anything may be running.
	TellMax = 32 << 10

	headerBytes = 8
)

// Frame is one message.
type Frame struct {
	Channel uint16
	Kind    Kind
	Data    []byte
}

// Write sends a frame in one piece.
func Write(to io.Writer, f Frame) error {
	b := make([]byte, 0, headerBytes+len(f.Data))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
	b = binary.LittleEndian.AppendUint16(b, f.Channel)
	_, err := to.Write(append(append(b, byte(f.Kind), 0), f.Data...))
	return err
}

// Read takes a frame of so many bytes at most.
func Read(from io.Reader, most int) (Frame, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(from, h[:]); err != nil {
		return Frame{}, err
	}
	n := binary.LittleEndian.Uint32(h[:])
	if int64(n) > int64(most) {
		return Frame{}, fmt.Errorf("a message of %d bytes, and %d is the most", n, most)
	}
	f := Frame{Channel: binary.LittleEndian.Uint16(h[4:]), Kind: Kind(h[6]), Data: make([]byte, n)}
	_, err := io.ReadFull(from, f.Data)
	return f, err
}

// Boot is what a machine is made of, as struct boot has it.
type Boot struct {
	MemoryBytes, PidsMax, ShmBytes int64
	Network, ReadOnly              bool
	UID, GID                       uint32
	Notices                        bool
	Partition                      uint32 // of the disk; 0: all of it
	Host, Kind                     string // Kind: of the root's file system
}

// Encode returns it as it is sent.
func (b Boot) Encode() []byte {
	var out []byte
	for _, n := range []int64{b.MemoryBytes, b.PidsMax, b.ShmBytes} {
		out = binary.LittleEndian.AppendUint64(out, uint64(n))
	}
	for _, n := range []uint32{flag(b.Network), flag(b.ReadOnly), b.UID, b.GID, flag(b.Notices), b.Partition} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return append(append(append(append(out, b.Host...), 0), b.Kind...), 0)
}

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// Start is a command; without arguments it keeps the place until a signal comes.
type Start struct {
	shim.Inside
	UID, GID   uint32
	Terminal   bool
	Rows, Cols uint16
}

// requestBytes is the size of struct request.
const requestBytes = 40

// Encode returns it as it is sent.
func (s Start) Encode() []byte {
	request := s.Inside.Encode()
	out := append([]byte{}, request[:requestBytes]...)
	for _, n := range []uint32{s.UID, s.GID, flag(s.Terminal)} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, s.Rows), s.Cols)
	return append(out, request[requestBytes:]...)
}

// Used is what a machine says that its task has used.
type Used struct {
	MemoryPeakBytes, PidsPeak int64
	OOM, PidsStruck           bool
}

// DecodeUsed reads it.
func DecodeUsed(data []byte) (Used, error) {
	if len(data) != 24 {
		return Used{}, fmt.Errorf("what it used, in %d bytes", len(data))
	}
	le := binary.LittleEndian
	return Used{int64(le.Uint64(data) &^ (1 << 63)), int64(le.Uint64(data[8:]) &^ (1 << 63)), le.Uint32(data[16:]) != 0, le.Uint32(data[20:]) != 0}, nil
}
