package cli

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
)

// ends are what a command in a task, or a port of it, is connected to.
type ends struct {
	in       io.Reader // read when the task runs, until its end or an error; nil: empty
	out, err io.Writer
	begun    func(*client.ExecConn) error // the task runs; nil: nobody asks
	outEnd   func()                       // of a port: it says no more; nil: nobody asks
}

// execute runs a command in a task, which it waits for, and says how that ended: 0, or a code with a message.
func execute(ctx context.Context, c *client.Client, q client.ExecQuery, e ends) (code int, message string, err error) {
	line, err := c.Exec(ctx, q)
	if err != nil {
		return 0, "", err
	}
	defer line.Drop()
	for begun := false; ; begun = true {
		f, err := line.Receive(ctx)
		if err != nil {
			return 0, "", cutOff(ctx, err)
		}
		if f.Channel == client.ExecEnd {
			return client.ExecCode(f)
		}
		if !begun { // what was said before would stand in the way of hearing that the job has ended
			if e.begun != nil {
				if err := e.begun(line); err != nil {
					return 0, "", err
				}
			}
			go say(ctx, line, e.in) // what blocks in a read ends with who is read from
		}
		switch f.Channel {
		case client.ExecStdout:
			_, err = e.out.Write(f.Data)
		case client.ExecStderr:
			_, err = e.err.Write(f.Data)
		case client.ExecClose:
			if e.outEnd != nil {
				e.outEnd()
			}
		}
		if err != nil {
			return 0, "", err
		}
	}
}

// say sends what is typed or piped into this command.
func say(ctx context.Context, line *client.ExecConn, from io.Reader) {
	end := client.ExecFrame{Channel: client.ExecClose, Data: []byte{client.ExecStdin}}
	if from == nil {
		_ = line.Send(ctx, end) // whoever receives from the other side tells that it has gone
		return
	}
	piece := make([]byte, client.ExecFrameMax-1)
	for {
		n, err := from.Read(piece)
		if n > 0 && line.Send(ctx, client.ExecFrame{Channel: client.ExecStdin, Data: piece[:n]}) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = line.Send(ctx, end)
		}
		if err != nil {
			return
		}
	}
}

// taskQuery reads JOB or JOB.TASK, and finds the key for commands there.
func (a *app) taskQuery(ctx context.Context, arg string) (client.ExecQuery, error) {
	job, task, err := jobAndTask(arg)
	if err != nil {
		return client.ExecQuery{}, err
	}
	q := client.ExecQuery{Job: job, Task: task}
	q.Control, err = a.needControlKey(ctx, job)
	return q, err
}

func jobAndTask(arg string) (job uint64, task int32, err error) {
	number, element, given := strings.Cut(arg, ".")
	if given {
		n, err := strconv.ParseInt(element, 10, 32)
		if err != nil || n < 0 {
			return 0, 0, usageError{errors.New("a task is named as JOB.TASK, by two numbers; " + strconv.Quote(arg) + " is none")}
		}
		task = int32(n)
	}
	job, err = jobNumber(number)
	return job, task, err
}
