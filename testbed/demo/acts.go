package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// devFunds is what dev gives its wallet, once.
const devFunds = 1_000_000

// small is what the demo's jobs ask for: one CPU and little memory.
var small = []string{"--cpus", "1", "--memory", "256MiB"}

// early is the first act: a job that needs less than it paid for.
func (d *demo) early(ctx context.Context) error {
	d.say(heading, "\n1  a job ends early and gets its change")
	addr, err := cluster.FreeAddr()
	if err != nil {
		return err
	}
	d.you, d.friend = d.dev.Home("you", addr, ""), d.dev.Home("friend", addr, "")
	d.say(command, "$ export PATH=%s:$PATH", filepath.Dir(d.you.Binary))
	d.enter(d.you)
	if err := d.dev.StartDev(ctx, d.you, "--cpus", "1"); err != nil {
		return err
	}
	before, err := d.balance(ctx, d.you)
	if err != nil {
		return err
	}
	equal(&d.checks, "dev's wallet begins with", before, devFunds)
	n, lines, err := d.run(ctx, d.you, nil, with(small, "--name", "early", "--time", "1m", "--pay", "100",
		"--", "sh", "-c", "sleep 3; echo done with it")...)
	if err != nil {
		return err
	}
	d.that(contains(lines, "done with it"), "the task's output is shown")
	d.jobs["early"] = n
	r, err := d.receipt(ctx, d.you, n)
	if err != nil {
		return err
	}
	d.that(r.BilledMs >= 3000 && r.BilledMs < 30_000, "of a minute paid for, 3 to 30 s are billed: %d ms", r.BilledMs)
	after, err := d.balance(ctx, d.you)
	if err != nil {
		return err
	}
	equal(&d.checks, fmt.Sprintf("the change is back: %d - %s", before, credits(r.ChargedMicro)), after, before-r.ChargedMicro/unit)
	return nil
}

// stream is the second act: money that runs while the task does.
func (d *demo) stream(ctx context.Context) error {
	d.say(heading, "\n2  a stream runs dry, is paused, and is topped up by another wallet that knows only the fund id")
	if err := d.hand(ctx, d.you, d.friend, 100); err != nil {
		return err
	}
	var (
		fund   string
		topped sync.WaitGroup
		failed error
		once   sync.Once
	)
	watch := func(l string) {
		if _, id, ok := strings.Cut(l, "fund id "); ok {
			fund = id
		}
		if strings.Contains(l, " paused") {
			once.Do(func() {
				topped.Go(func() { _, failed = d.shown(ctx, d.friend, "fund", fund, "20") })
			})
		}
	}
	// 64 of the 68 are the pause reserve: what the place costs while the task waits for money.
	n, lines, err := d.run(ctx, d.you, watch, with(small, "--name", "stream", "--mode", "stream", "--pay", "68",
		"--", "sh", "-c", "for i in 1 2 3 4 5 6 7; do sleep 1; echo step $i; done")...)
	topped.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	d.jobs["stream"] = n
	d.that(inOrder(lines, "running", "low funds", "paused", "topped up with 20", "done: exited, code 0"),
		"the live line tells: running, low funds, paused, topped up, done")
	d.that(inOrder(lines, "running on n1, ", "spent ", "funded until "), "it tells what is spent and until when it is funded")
	d.that(inOrder(lines, "step 1", "paused", "step 7"), "the task stood still in between and lost nothing")
	var seen client.Job
	if err := d.friend.JSON(ctx, &seen, "show", fmt.Sprint(n)); err != nil {
		return err
	}
	d.that(seen.Private == nil && seen.FundID == fund, "the friend sees the fund id and nothing private")
	r, err := d.receipt(ctx, d.you, n)
	if err != nil {
		return err
	}
	equal(&d.checks, "the receipt has a line for each of the deposits", len(r.Deposits), 2)
	back, err := d.balance(ctx, d.friend)
	if err != nil {
		return err
	}
	equal(&d.checks, "the friend's 20 were not needed in the end and are back", back, 100)
	return nil
}

// better is the third act: money decides who waits.
func (d *demo) better(ctx context.Context) error {
	d.say(heading, "\n3  two jobs wait for one taken place, alike but for what they brought")
	numbers := map[string]uint64{}
	for _, j := range []struct{ name, pay, task string }{
		{"taken", "50", "sleep 4"}, {"poorer", "60", "sleep 1"}, {"richer", "120", "sleep 1"},
	} {
		n, err := d.submit(ctx, d.you, "--name", j.name, "--time", "20s", "--pay", j.pay, "--", "sh", "-c", j.task)
		if err != nil {
			return err
		}
		numbers[j.name], d.jobs[j.name] = n, n
	}
	for _, name := range []string{"taken", "poorer", "richer"} {
		state := "queued"
		if name == "taken" {
			state = "running"
		}
		if err := d.awaitState(ctx, d.you, numbers[name], state); err != nil {
			return err
		}
	}
	if _, err := d.shown(ctx, d.you, "queue"); err != nil {
		return err
	}
	var queue client.JobList
	if err := d.you.JSON(ctx, &queue, "queue", "--state", "queued"); err != nil {
		return err
	}
	order := []uint64{}
	for _, j := range queue.Jobs {
		order = append(order, j.Job)
	}
	equal(&d.checks, "the queue has the richer before the poorer, who came first",
		fmt.Sprint(order), fmt.Sprint([]uint64{numbers["richer"], numbers["poorer"]}))
	if _, err := d.shown(ctx, d.you, "wait", num(numbers["taken"]), num(numbers["poorer"]), num(numbers["richer"])); err != nil {
		return err
	}
	began := map[string]time.Time{}
	for name, n := range numbers {
		var job client.Job
		if err := d.you.JSON(ctx, &job, "show", num(n)); err != nil {
			return err
		}
		if job.Started == nil || job.ExitCode == nil || *job.ExitCode != 0 {
			return fmt.Errorf("job %d (%s) did not run well: %+v", n, name, job)
		}
		began[name] = *job.Started
	}
	d.that(began["taken"].Before(began["richer"]) && began["richer"].Before(began["poorer"]),
		"started: the taken place, then the richer, then the poorer")
	return nil
}

// hand gives coins from one wallet to another.
func (d *demo) hand(ctx context.Context, from, to cluster.Home, units int) error {
	file := filepath.Base(to.Dir) + ".token"
	args := []string{"wallet", "send", fmt.Sprint(units)}
	d.say(command, "$ %s > %s", d.line(from, args), file)
	sent, err := from.Run(ctx, args...)
	if err != nil || sent.Code != 0 {
		return errors.Join(err, fmt.Errorf("send %d: %s", units, sent.Stderr))
	}
	if err := os.WriteFile(filepath.Join(from.Work, file), []byte(sent.Stdout), 0o600); err != nil {
		return fmt.Errorf("hand over a token: %w", err)
	}
	_, err = d.shown(ctx, to, "wallet", "receive", "@"+file)
	return err
}

// enter prints what makes a shell this user's.
func (d *demo) enter(h cluster.Home) {
	d.current = h
	token := ""
	if h.Token != "" {
		token = " COINOP_TOKEN_FILE=" + h.Token
	}
	d.say(command, "$ cd %s; export COINOP_HOME=%s%s", h.Work, h.Dir, token)
	d.say(command, "$ export COINOP_ADDR=%s", h.Addr)
}

// line is a command as it can be pasted behind the last enter.
func (d *demo) line(h cluster.Home, args []string) string {
	if h.Dir != d.current.Dir {
		return "COINOP_HOME=$PWD/" + filepath.Base(h.Dir) + " " + cluster.Line(args...)
	}
	return cluster.Line(args...)
}

// shown runs a command that must succeed, and prints both it and what it says.
func (d *demo) shown(ctx context.Context, h cluster.Home, args ...string) (cluster.Result, error) {
	d.say(command, "$ %s", d.line(h, args))
	r, err := h.Run(ctx, args...)
	if err != nil {
		return r, err
	}
	if text := strings.TrimRight(r.Stderr+r.Stdout, "\n"); text != "" {
		d.say(plain, "%s", text)
	}
	if r.Code != 0 {
		return r, fmt.Errorf("coinop %s exited with %d", strings.Join(args, " "), r.Code)
	}
	return r, nil
}

var jobNumber = regexp.MustCompile(`\bjob (\d+) `)

// run runs `coinop run` and prints its lines as they come. The job must exit with 0.
func (d *demo) run(ctx context.Context, h cluster.Home, seen func(string), args ...string) (uint64, []string, error) {
	args = append([]string{"run"}, args...)
	d.say(command, "$ %s", d.line(h, args))
	lines := &feed{screen: d.screen, seen: seen}
	cmd, err := h.Start(ctx, lines, lines, args...)
	if err != nil {
		return 0, nil, err
	}
	code, err := cluster.Wait(cmd)
	if err != nil {
		return 0, nil, err
	}
	got := lines.lines()
	if code != 0 {
		return 0, got, fmt.Errorf("coinop %s exited with %d", strings.Join(args, " "), code)
	}
	n, err := numberIn(strings.Join(got, "\n"))
	return n, got, err
}

func (d *demo) submit(ctx context.Context, h cluster.Home, args ...string) (uint64, error) {
	r, err := d.shown(ctx, h, append([]string{"submit"}, args...)...)
	if err != nil {
		return 0, err
	}
	return numberIn(r.Stdout)
}

func numberIn(text string) (uint64, error) {
	m := jobNumber.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no job's number in %q", text)
	}
	return strconv.ParseUint(m[1], 10, 64)
}

func num(n uint64) string { return strconv.FormatUint(n, 10) }

// with puts what all jobs share before a command line's own part.
func with(shared []string, more ...string) []string {
	return append(append([]string(nil), shared...), more...)
}

func contains(lines []string, part string) bool { return inOrder(lines, part) }

// inOrder says whether the parts appear in the lines, each at or behind the one before it.
func inOrder(lines []string, parts ...string) bool {
	text := strings.Join(lines, "\n")
	for _, p := range parts {
		_, rest, ok := strings.Cut(text, p)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}
