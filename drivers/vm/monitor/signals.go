package monitor

import (
	"context"
	"encoding/binary"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/vm/guest"
)

// hear takes every signal that is meant for the task: the shim knows only this process.
func hear() <-chan os.Signal {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	return signals
}

func (m *monitor) pass(ctx context.Context, signals <-chan os.Signal) {
	for s := range signals {
		number, ok := s.(syscall.Signal)
		switch number {
		case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
			continue
		}
		if ok {
			_ = m.signal(ctx, number, true) // a machine that is no more needs none
		}
	}
}

func (m *monitor) signal(ctx context.Context, number syscall.Signal, group bool) error {
	data := binary.LittleEndian.AppendUint32(nil, uint32(number))
	whole := uint32(0)
	if group {
		whole = 1
	}
	return m.main.send(ctx, guest.AskSignal, binary.LittleEndian.AppendUint32(data, whole))
}

// dieBy ends this process as the task's ended, for the shim to see.
func dieBy(s syscall.Signal) {
	plain := struct{ handler, flags, restorer, mask uintptr }{}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&plain)), 0, 8, 0, 0) // of SIGKILL there is none
	_ = unix.Kill(os.Getpid(), s)
	time.Sleep(time.Second) // it comes at once, unless it is one that ends nothing
	os.Exit(128 + int(s))
}
