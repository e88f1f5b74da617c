// Command accept runs what shows that coinop does what it should, and writes down what came of it.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

//go:embed rows.txt
var table string

// Config is one round of acceptance.
type Config struct {
	Table  string
	Want   *regexp.Regexp // which rows are run
	Out    string         // the page
	Dir    string         // where commands run
	Commit string
	Tell   io.Writer
}

func main() {
	want := flag.String("rows", ".", "run the rows whose heading, line or command matches")
	out := flag.String("out", "docs/acceptance.md", "the page")
	list := flag.Bool("list", false, "list the rows and run nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pattern, err := regexp.Compile(*want)
	if err == nil && *list {
		err = show(table, pattern, os.Stdout)
	} else if err == nil {
		err = Config{Table: table, Want: pattern, Out: *out, Dir: ".", Commit: commit(ctx), Tell: os.Stdout}.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "accept:", err)
		stop()
		os.Exit(1)
	}
}

func show(table string, want *regexp.Regexp, out io.Writer) error {
	rows, err := Rows(table)
	if err != nil {
		return fmt.Errorf("read the table: %w", err)
	}
	chosen := Chosen(rows, want)
	for _, r := range rows {
		if chosen[r.Check.Command] {
			fmt.Fprintf(out, "%s: %s\n    %s\n", r.Section, r.Line, r.Check.Command)
		}
	}
	return nil
}

// Run runs each chosen command once and renews the page after each, so that an interruption loses nothing.
func (c Config) Run(ctx context.Context) error {
	rows, err := Rows(c.Table)
	if err != nil {
		return fmt.Errorf("read the table: %w", err)
	}
	old, err := os.ReadFile(c.Out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the last page: %w", err)
	}
	results := Read(string(old))
	chosen := Chosen(rows, c.Want)
	if len(chosen) == 0 {
		return fmt.Errorf("no row matches %s", c.Want)
	}
	ran, failed := 0, 0
	for _, r := range rows {
		if !chosen[r.Check.Command] {
			continue
		}
		delete(chosen, r.Check.Command)
		ran++
		result := c.one(ctx, r.Check)
		if ctx.Err() != nil {
			return fmt.Errorf("run %s: %w", r.Check.Command, ctx.Err())
		}
		results[r.Check.Command] = result
		if !result.OK {
			failed++
		}
		if err := write(c.Out, Page(rows, results, now()+" at a machine with "+machine())); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
		fmt.Fprintf(c.Tell, "  %d more\n", len(chosen))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d commands fail, %s says which", failed, ran, c.Out)
	}
	fmt.Fprintf(c.Tell, "%d commands passed; %s\n", ran, c.Out)
	return nil
}

// one runs a command and judges it.
func (c Config) one(ctx context.Context, check *Check) Result {
	fmt.Fprintf(c.Tell, "%s\n", check.Command)
	began := time.Now()
	output, err := execute(ctx, c.Dir, check)
	kept, err := Judge(check, output, err)
	result := Result{OK: err == nil, Kept: clip(kept), When: now() + ", " + c.Commit + ", load " + load()}
	took := time.Since(began).Round(100 * time.Millisecond)
	if err != nil {
		result.Kept = clip(err.Error() + ": " + kept)
		fmt.Fprintf(c.Tell, "%s\n  fails after %s: %v\n", strings.TrimRight(output, "\n"), took, err)
		return result
	}
	fmt.Fprintf(c.Tell, "  ok after %s: %s\n", took, result.Kept)
	return result
}

// execute is the shell's run of a command, its whole output, and why it failed. What it started ends with it.
func execute(ctx context.Context, dir string, check *Check) (string, error) {
	limited, cancel := context.WithTimeout(ctx, check.Within)
	defer cancel()
	cmd := exec.CommandContext(limited, "bash", "-euo", "pipefail", "-c", check.Command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "MAKEFLAGS=--no-print-directory") // where this lies is nobody's business
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not done after %s", check.Within)
	}
	return output.String(), err
}

// write replaces a file in one step.
func write(name, text string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".accept-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func now() string { return time.Now().UTC().Format("2006-01-02 15:04") }

// commit is what the work tree stands at; a plus says that files in it differ from that.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "no commit"
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/acceptance.md").Output()
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(id)) + "+"
	}
	return strings.TrimSpace(string(id))
}

func machine() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	model := "unknown processor"
	if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); err == nil && m != nil {
		model = string(m[1])
	}
	return fmt.Sprintf("%d cores of %s, load %s", runtime.NumCPU(), model, load())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
