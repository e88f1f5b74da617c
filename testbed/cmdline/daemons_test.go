package cmdline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// daemons are the servers and executors of one script, by name.
type daemons map[string]*daemon

// daemonsOf is the key by which a script finds them.
type daemonsOf struct{}

type daemon struct {
	cmd   *exec.Cmd
	heard chan struct{} // closed when it has ended
	err   error         // how it ended; read after heard
}

// ports is `ports NAME...`: variables with loopback addresses on which nothing listens.
func ports(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		addr, err := cluster.FreeAddr()
		ts.Check(err)
		ts.Setenv(name, addr)
	}
}

// start is `start NAME ARGS...`: a coinop command that stays, and says what it has to say in NAME.log. A server is
// waited for until it is ready.
func start(ts *testscript.TestScript, _ bool, args []string) {
	cmd := quietly(ts, args[1:]...)
	log := ts.MkAbs(args[0] + ".log")
	words, err := os.Create(log)
	ts.Check(err)
	defer words.Close()
	cmd.Stderr = words
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	d := &daemon{cmd: cmd, heard: make(chan struct{})}
	first := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r)
		d.err = cmd.Wait()
		close(d.heard)
	}()
	ts.Value(daemonsOf{}).(daemons)[args[0]] = d
	ts.Defer(func() { _ = d.end(syscall.SIGTERM) })
	if args[1] == "executor" {
		return
	}
	select {
	case line := <-first:
		if !strings.HasPrefix(line, "ready ") {
			<-d.heard
			ts.Fatalf("%s began with %q: %v\n%s", args[0], line, d.err, ts.ReadFile(log))
		}
	case <-time.After(patience):
		ts.Fatalf("%s is not ready\n%s", args[0], ts.ReadFile(log))
	}
}

// end is `end NAME [kill]`: Ctrl-C, or kill -9.
func end(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value(daemonsOf{}).(daemons)[args[0]]
	if d == nil {
		ts.Fatalf("no daemon is called %s", args[0])
	}
	signal := syscall.SIGTERM
	if len(args) > 1 {
		signal = syscall.SIGKILL
	}
	err := d.end(signal)
	if signal == syscall.SIGTERM {
		ts.Check(err)
	}
}

func (d *daemon) end(signal syscall.Signal) error {
	select {
	case <-d.heard:
		return d.err
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	kill := context.AfterFunc(ctx, func() { _ = d.cmd.Process.Kill() })
	defer kill()
	err := d.cmd.Process.Signal(signal)
	<-d.heard
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s did not end in time", strings.Join(d.cmd.Args, " "))
	}
	return errors.Join(err, d.err)
}

// operate is `operate METHOD PATH [BODY]`: an operator's request that has no verb, as curl would send it. It prints the
// answer; a refusal is printed as [tell] does and exits with 1.
func operate(args []string) int {
	token, err := os.ReadFile(strings.TrimPrefix(os.Getenv("OPERATOR"), "@"))
	if err == nil {
		err = send(args, strings.TrimSpace(string(token)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "operate:", err)
		return 1
	}
	return 0
}

func send(args []string, token string) error {
	addr := os.Getenv("COINOP_ADDR")
	if !strings.HasPrefix(addr, "http") {
		addr = "http://" + addr
	}
	body := ""
	if len(args) > 2 {
		body = args[2]
	}
	req, err := http.NewRequest(args[0], addr+args[1], strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(client.HeaderToken, token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return errors.New(resp.Status)
	}
	return nil
}
