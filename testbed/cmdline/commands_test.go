package cmdline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coinop/coinop/api/client"
)

// patience is how long a script waits for what must come.
const patience = 30 * time.Second

// ownDev is `dev [FLAGS]`: a cluster for this script alone.
func ownDev(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("cluster")
	ts.Check(os.Mkdir(dir, 0o711))
	d, err := startDev(dir, args...)
	ts.Check(err)
	ts.Defer(func() { _ = d.stop() })
	ts.Setenv("COINOP_ADDR", d.addr)
	ts.Setenv("BANK", dir)
	ts.Setenv("OPERATOR", "@"+filepath.Join(dir, "dev", "server", "operator.token"))
}

// money is `money N`: what the cluster's own wallet sends to the script's.
func money(ts *testscript.TestScript, _ bool, args []string) {
	send := quietly(ts, "wallet", "send", args[0])
	send.Env = append(send.Env, "COINOP_HOME="+filepath.Join(ts.Getenv("BANK"), "bank"))
	token, err := send.Output()
	ts.Check(err)
	receive := quietly(ts, "wallet", "receive", "-")
	receive.Stdin = bytes.NewReader(token)
	out, err := receive.CombinedOutput()
	if err != nil {
		ts.Fatalf("receive: %v\n%s", err, out)
	}
}

// quietly is a coinop command that leaves the script's stdout and stderr as they are.
func quietly(ts *testscript.TestScript, args ...string) *exec.Cmd {
	cmd := exec.Command("coinop", args...)
	for _, name := range []string{"COINOP_ADDR", "COINOP_HOME", "PATH", "HOME", "TMPDIR", "TZ"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Dir = ts.MkAbs(".")
	return cmd
}

// exits is `exits CODE COMMAND...`: the command's exit code is exactly this.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	ts.Logf("[stdout]\n%s[stderr]\n%s", ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// until is `until REGEXP COMMAND...`: the command is repeated until it prints what matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); ; <-look.C {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never printed %q; at last: %v\n%s%s", args[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// line is the nth line of what was printed, from 1; negative numbers count from the end.
func line(ts *testscript.TestScript, n string) string {
	i, err := strconv.Atoi(n)
	ts.Check(err)
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	if i < 0 {
		i = len(lines) + 1 + i
	}
	if i < 1 || i > len(lines) {
		ts.Fatalf("there are %d lines, none is line %s", len(lines), n)
	}
	return lines[i-1]
}

// keys is `keys LINE NAME...`: the line is a JSON object with exactly these fields, in this order.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	text := line(ts, args[0])
	d := json.NewDecoder(strings.NewReader(text))
	_, err := d.Token()
	ts.Check(err)
	var got []string
	for d.More() {
		name, err := d.Token()
		ts.Check(err)
		got = append(got, fmt.Sprint(name))
		var value json.RawMessage
		ts.Check(d.Decode(&value))
	}
	if want := strings.Join(args[1:], " "); strings.Join(got, " ") != want {
		ts.Fatalf("fields %s, want %s, in %s", strings.Join(got, " "), want, text)
	}
}

// value is a field of a JSON line by its dotted path; negative numbers count from a list's end.
func value(ts *testscript.TestScript, n, path string) string {
	d := json.NewDecoder(strings.NewReader(line(ts, n)))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i < 0 {
				i += len(at)
			}
			if i < 0 || i >= len(at) {
				ts.Fatalf("%s: there are %d", path, len(at))
			}
			v = at[i]
		default:
			v = nil
		}
	}
	return fmt.Sprint(v)
}

// jsonIs is `json LINE PATH REGEXP`: what stands at the dotted path of a printed JSON line matches.
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	got := value(ts, args[0], args[1])
	if regexp.MustCompile("^(?:"+args[2]+")$").MatchString(got) == neg {
		ts.Fatalf("%s is %q, want %s (not: %v) in %s", args[1], got, args[2], neg, line(ts, args[0]))
	}
}

// get is `get NAME LINE PATH`: a variable of the script from a printed JSON line.
func get(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], value(ts, args[1], args[2]))
}

// state is everything that a refused request must leave as it was: the wallet, the queue, and all of the ledger.
func state(ts *testscript.TestScript) string {
	var all strings.Builder
	for _, args := range [][]string{{"wallet", "balance", "--json"}, {"wallet", "history", "--json"}, {"queue", "--all", "--json"}} {
		out, err := quietly(ts, args...).Output()
		ts.Check(err)
		fmt.Fprintf(&all, "%s: %s", strings.Join(args, " "), out)
	}
	c, err := client.New(client.Config{Servers: []string{ts.Getenv("COINOP_ADDR")}})
	ts.Check(err)
	totals, err := c.Totals(context.Background())
	ts.Check(err)
	accounts, err := json.Marshal(totals.Accounts)
	ts.Check(err)
	return all.String() + string(accounts)
}

// kept is the state at a script's `before`.
type kept struct{ state string }

// before keeps the state for `same`. Only scripts with a cluster of their own can compare.
func before(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value(kept{}).(*kept).state = state(ts)
}

func same(ts *testscript.TestScript, neg bool, _ []string) {
	was, is := ts.Value(kept{}).(*kept).state, state(ts)
	if was == "" {
		ts.Fatalf("`same` needs a `before`")
	}
	if (was == is) == neg {
		ts.Fatalf("before:\n%s\nnow:\n%s", was, is)
	}
}
