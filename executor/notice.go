package executor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/executor/wire"
)

// warn passes the order's notice on to the task. The file is written before the signal is sent, so a handler finds it;
// an executor killed in between does not send the signal again: better a signal lost, which the order to stop makes
// good, than one that comes twice.
func (r *run) warn(ctx context.Context, order *wire.Order) error {
	notice := order.GetNotice()
	if notice == nil {
		return nil
	}
	told, err := os.ReadFile(filepath.Join(r.noticeDir(), noticeFile))
	if err == nil && bytes.Equal(told, noticeText(notice)) {
		return nil
	}
	if err := r.writeNotice(notice); err != nil {
		r.log.Warn("a notice could not be written", "run", r.id, "error", err)
	}
	if notice.GetSignal() == 0 || order.GetWant() != wire.Want_WANT_RUN {
		return nil
	}
	err = r.control(ctx, drivers.Control{Kind: drivers.Signal, Signal: int(notice.GetSignal()), Group: true})
	if impossible(err) {
		r.log.Warn("a notice's signal cannot be sent", "run", r.id, "error", err)
		return nil
	}
	return err
}

func (r *run) writeNotice(n *wire.Notice) error {
	return writeFile(filepath.Join(r.noticeDir(), noticeFile), noticeText(n), 0o644)
}

// noticeDir is where the task's notices are: in a folder that holds nothing else where it is shown to a task that sees nothing
// else of this machine.
func (r *run) noticeDir() string {
	dir := r.layout.run(r.id)
	if r.spec().GetImage() != "" {
		return filepath.Join(dir, noticesDir)
	}
	return dir
}

// noticeShown is the folder for a driver that shows one.
func (r *run) noticeShown(can drivers.Description) string {
	if can.NoticeDir == "" || r.spec().GetImage() == "" {
		return ""
	}
	return r.noticeDir()
}

// noticeSeen is where the task finds its notice; "": nowhere.
func (r *run) noticeSeen(can drivers.Description) string {
	switch {
	case can.NoticeDir != "":
		return filepath.Join(can.NoticeDir, noticeFile)
	case r.spec().GetImage() != "":
		return ""
	}
	return filepath.Join(r.noticeDir(), noticeFile)
}

// noticeText is made to be read by shells: one NAME=value a line, words in the value without quotes or line ends.
func noticeText(n *wire.Notice) []byte {
	signal := "none"
	if n.GetSignal() != 0 {
		if signal = unix.SignalName(unix.Signal(n.GetSignal())); signal == "" {
			signal = fmt.Sprint(n.GetSignal())
		}
	}
	plain := func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}
	return fmt.Appendf(nil, "reason=%s\nsignal=%s\ntime=%s\n", strings.Map(plain, n.GetReason()), signal,
		time.UnixMilli(n.GetAtUnixMs()).UTC().Format(time.RFC3339))
}
