package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
)

func TestInAPipeTheLineIsPrintedWhenTheStateChanges(t *testing.T) {
	var out bytes.Buffer
	a := &app{err: &out}
	line := newStatusLine(a)
	line.set("running", "running, spent 1")
	line.set("running", "running, spent 2")
	line.set("paused", "paused, spent 2")
	line.clear()
	if out.String() != "running, spent 1\npaused, spent 2\n" {
		t.Errorf("%q", out.String())
	}
	if w := line.over(&out); w != &out {
		t.Error("a pipe needs no line below what is printed")
	}
}

func TestQuietAndJSONHaveNoStatusLine(t *testing.T) {
	var out bytes.Buffer
	for _, a := range []*app{{err: &out, quiet: true}, {err: &out, json: true}} {
		newStatusLine(a).set("running", "running")
	}
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

func TestOnATerminalTheLineStaysBelowTheLog(t *testing.T) {
	var out frame
	line := &statusLine{app: &app{}, live: true, to: &out}
	log := line.over(&out)
	line.set("running", "STATUS")
	for _, piece := range []string{"half ", "a line\n", "the end"} {
		if n, err := log.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
		line.set("running", "STATUS") // time goes on
	}
	line.clear()
	const wipe, status = "\r\x1b[K", "\r\x1b[K\x1b[?7lSTATUS\x1b[?7h"
	// Nothing is drawn while the task's line is not whole: it would be lost.
	if want := status + wipe + "half " + "a line\n" + status + status + wipe + "the end" + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestWhatTheLineTellsOfAStreamsLife(t *testing.T) {
	notice := ""
	for _, step := range []struct{ kind, text, want string }{
		{"deposit", "", ""}, {"started", "", ""}, {"low_funds", "", ", low funds"}, {"transfer", "", ", low funds"},
		{"paused", "", ", the money has run out"}, {"resumed", "", ", resumed"}, {"notice", "", ", under notice"},
		{"notice", "time limit", ", time limit"}, {"started", "", ""},
	} {
		if notice = noticeOf(client.Event{Kind: step.kind, Text: step.text}, notice); notice != step.want {
			t.Errorf("after %s: %q, want %q", step.kind, notice, step.want)
		}
	}
	until := time.Date(2001, 2, 3, 4, 5, 6, 0, time.Local)
	job := client.Job{Job: 12, State: "running", Nodes: []string{"n1", "n2"},
		Private: &client.JobPrivate{SpentMicro: 1_250_000, FundedUntil: &until}}
	if got, want := statusText(job, ", low funds"), "job 12 running on n1, low funds, spent 1.25, funded until 2001-02-03 04:05:06"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	job.State = "paused"
	if got, want := statusText(job, ""), "job 12 paused on n1, spent 1.25"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
