package monitor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// qmp is the line on which QEMU takes commands.
type qmp struct {
	conn    *net.UnixConn
	turn    chan struct{} // holds a token while a command is under way
	answers chan answer
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// qmpLine is more than QEMU ever says at once.
const qmpLine = 1 << 20

func newQMP(conn *net.UnixConn) *qmp {
	q := &qmp{conn: conn, turn: make(chan struct{}, 1), answers: make(chan answer, 1)}
	go q.read()
	return q
}

// read passes answers on and drops events, which QEMU would otherwise wait to be read. It ends with QEMU.
func (q *qmp) read() {
	defer close(q.answers)
	lines := bufio.NewScanner(q.conn)
	lines.Buffer(make([]byte, 4096), qmpLine)
	for lines.Scan() {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) == nil && (a.Return != nil || a.Error != nil) {
			q.answers <- a
		}
	}
}

// do runs a command. One that was given up leaves its answer to nobody, so the line is of no use after that.
func (q *qmp) do(ctx context.Context, command string, arguments any, file *os.File) (json.RawMessage, error) {
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := q.conn.WriteMsgUnix(data, rights, nil); err != nil {
		return nil, fmt.Errorf("tell QEMU to %s: %w", command, err)
	}
	select {
	case a, ok := <-q.answers:
		<-q.turn
		if !ok {
			return nil, fmt.Errorf("QEMU has ended instead of %s", command)
		}
		if a.Error != nil {
			return nil, fmt.Errorf("QEMU does not %s: %s", command, a.Error.Desc)
		}
		return a.Return, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("QEMU does not answer to %s", command), context.Cause(ctx))
	}
}
