package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/coinop/coinop/api/client"
)

// Home is one user: a wallet, the servers it talks to, and a token where it has one.
type Home struct {
	Binary string
	Dir    string // COINOP_HOME
	Addr   string // COINOP_ADDR
	Token  string // COINOP_TOKEN_FILE, or empty
	Work   string // where its commands run; empty: here
}

// Env is the environment of this user's commands: nothing of coinop's is inherited.
func (h Home) Env() []string {
	env := append(Environ(), "COINOP_HOME="+h.Dir, "COINOP_ADDR="+h.Addr)
	if h.Token != "" {
		env = append(env, "COINOP_TOKEN_FILE="+h.Token)
	}
	return env
}

// Environ is this process's environment without what steers coinop.
func Environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COINOP_") {
			env = append(env, v)
		}
	}
	return env
}

// Line is a command line that can be pasted into a shell.
func Line(args ...string) string {
	words := []string{"coinop"}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$&;|<>()*?`\\#~!{}[]") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// Result is what a command said.
type Result struct {
	Args   []string
	Stdout string
	Stderr string
	Code   int // -1 for a signal
}

// Run runs one command line to its end. A code other than zero is no error of Run's.
func (h Home) Run(ctx context.Context, args ...string) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd, err := h.Start(ctx, &stdout, &stderr, args...)
	if err != nil {
		return Result{}, err
	}
	code, err := Wait(cmd)
	return Result{args, stdout.String(), stderr.String(), code}, err
}

// Start starts one command line; Wait waits for it.
func (h Home) Start(ctx context.Context, stdout, stderr io.Writer, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, h.Binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = h.Env(), stdout, stderr, h.Work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run coinop %s: %w", strings.Join(args, " "), err)
	}
	return cmd, nil
}

// Wait returns a started command's exit code.
func Wait(cmd *exec.Cmd) (int, error) {
	var exit *exec.ExitError
	err := cmd.Wait()
	if err == nil || errors.As(err, &exit) {
		return cmd.ProcessState.ExitCode(), nil
	}
	return -1, fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err)
}

// JSON runs a command line with --json and decodes its first line; any code but zero is an error.
func (h Home) JSON(ctx context.Context, to any, args ...string) error {
	r, err := h.Run(ctx, append([]string{"--json"}, args...)...)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return fmt.Errorf("coinop %s exited with %d: %s", strings.Join(args, " "), r.Code, strings.TrimSpace(r.Stderr))
	}
	if err := json.NewDecoder(strings.NewReader(r.Stdout)).Decode(to); err != nil {
		return fmt.Errorf("read what coinop %s printed: %w\n%s", strings.Join(args, " "), err, r.Stdout)
	}
	return nil
}

// ReadPot reads the secret in a file that `coinop pot create` has written.
func ReadPot(file string) (client.Secret, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return client.Secret{}, fmt.Errorf("read a pot's secret: %w", err)
	}
	_, hex, _ := strings.Cut(strings.TrimSpace(string(text)), ".")
	return client.ParseSecret(hex)
}
