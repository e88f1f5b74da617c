package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/coinop/coinop/api/client"
)

const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // a screen of its own, without a cursor: what was there comes back at the end
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	eraseRest   = "\x1b[J"
)

// frame is what a terminal is to show next.
type frame struct{ bytes.Buffer }

// watchQueue draws the queue again every second. It keeps the last picture and says so when no server answers.
func (a *app) watchQueue(ctx context.Context, f queueFlags) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	screen := a.isTerminal(a.out) && !a.json
	if screen {
		fmt.Fprint(a.out, enterScreen)
		defer fmt.Fprint(a.out, leaveScreen)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var shown client.JobList
	for {
		list, err := a.queue(ctx, f)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && codeOf(err) != exitUnreachable:
			return err
		case err == nil:
			shown = list
		}
		switch {
		case screen:
			a.drawQueue(shown, err)
		case err != nil:
			a.note("%s", explain(err))
		case a.json:
			if err := a.printJSON(list); err != nil {
				return err
			}
		default:
			fmt.Fprintln(a.out, queueTitle(list))
			a.printQueue(list)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func queueTitle(list client.JobList) string {
	return fmt.Sprintf("%s  %s  (Ctrl-C ends)", time.Now().Format("15:04:05"), count(len(list.Jobs), "job"))
}

// drawQueue replaces the picture on a terminal, line by line, so that it does not flicker.
func (a *app) drawQueue(list client.JobList, failed error) {
	var picture frame
	fmt.Fprintln(&picture, queueTitle(list))
	if failed != nil {
		fmt.Fprintln(&picture, "as it was: "+explain(failed))
	}
	drawn := *a
	drawn.out, drawn.err = &picture, &picture
	drawn.printQueue(list)
	height := 24
	if file, ok := a.out.(*os.File); ok {
		if _, h, err := term.GetSize(int(file.Fd())); err == nil && h > 1 {
			height = h
		}
	}
	lines := strings.Split(strings.TrimRight(picture.String(), "\n"), "\n")
	if len(lines) > height-1 {
		more := len(lines) - (height - 2)
		lines = append(lines[:height-2], fmt.Sprintf("… %d more: make the window higher, or narrow it with --state, --pool or --mine", more))
	}
	fmt.Fprint(a.out, homeCursor+noWrap+strings.Join(lines, "\x1b[K\n")+"\x1b[K\n"+eraseRest+wrap)
}
