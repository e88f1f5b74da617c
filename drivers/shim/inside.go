package shim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Inside is what a container's first process is told, as struct request of c/shim.h.
type Inside struct {
	WorkDir   string
	Argv, Env []string
	FilesMax  int64
	FileBytes int64
	Attend    bool // it starts the command and says how that ended; else it becomes the command
}

// Encode returns the command as it is sent.
func (c Inside) Encode() []byte {
	texts := append(append([]string{c.WorkDir}, c.Argv...), c.Env...)
	all := strings.Join(texts, "\x00") + "\x00"
	b := binary.NativeEndian.AppendUint64(nil, uint64(len(all)))
	b = binary.NativeEndian.AppendUint64(b, uint64(c.FilesMax))
	b = binary.NativeEndian.AppendUint64(b, uint64(c.FileBytes))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(c.Argv)))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(c.Env)))
	b = binary.NativeEndian.AppendUint32(b, 0) // its streams are where they belong
	attend := uint32(0)
	if c.Attend {
		attend = 1
	}
	return append(binary.NativeEndian.AppendUint32(b, attend), all...)
}

// Answer is what it says in the end: which step failed and how, or the command's status.
type Answer struct {
	Errno  syscall.Errno
	Status syscall.WaitStatus
	Step   string
}

// StepExecute is the step of the command itself.
const StepExecute = "execute"

// StepEnter is the step into the folder where it starts.
const StepEnter = "enter the work folder"

const answerBytes = 64

// ReadAnswer waits for it.
func ReadAnswer(from io.Reader) (Answer, error) {
	data := make([]byte, answerBytes)
	if _, err := io.ReadFull(from, data); err != nil {
		return Answer{}, fmt.Errorf("wait for a command's end: %w", err)
	}
	step, _, _ := bytes.Cut(data[8:], []byte{0})
	return Answer{
		Errno: syscall.Errno(binary.NativeEndian.Uint32(data)), Status: syscall.WaitStatus(binary.NativeEndian.Uint32(data[4:])), Step: string(step),
	}, nil
}
