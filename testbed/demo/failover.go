package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/testbed/cluster"
)

// teamFunds is what the three servers' operator issues.
const teamFunds = 10_000

// failover is what demo-out keeps of the fourth act.
type failover struct {
	KilledServer string `json:"killed_server"`
	KilledPID    int    `json:"killed_pid"`
	TermBefore   uint64 `json:"term_before"`
	LeaderAfter  string `json:"leader_after"`
	TermAfter    uint64 `json:"term_after"`
	Job          uint64 `json:"job_sent_meanwhile"`
}

// threeServers is the fourth act: the leader dies in the middle of everything.
func (d *demo) threeServers(ctx context.Context) error {
	d.say(heading, "\n4  three servers: the leader is killed while a job runs and another is being sent")
	leader, err := d.startThree(ctx)
	if err != nil {
		return err
	}
	running, err := d.submit(ctx, d.team, with(small, "--name", "long", "--time", "1m", "--pay", "200", "--", "sh", "-c", "sleep 8; echo undisturbed")...)
	if err != nil {
		return err
	}
	d.jobs["long"] = running
	if err := d.awaitState(ctx, d.team, running, "running"); err != nil {
		return err
	}
	d.say(command, "$ kill -9 %d    # %s, the leader", leader.Pid(), leader.Name)
	if err := leader.Kill(); err != nil {
		return err
	}
	request, err := d.sendAndDie(ctx)
	if err != nil {
		return err
	}
	d.say(aside, "# the next coinop command sends what the wallet has written down, once more")
	again, err := d.shown(ctx, d.other, "wallet", "balance")
	if err != nil {
		return err
	}
	d.failover.Job, err = numberIn(again.Stderr)
	if err != nil {
		return err
	}
	d.jobs["meanwhile"] = d.failover.Job
	if err := d.repeat(ctx, request); err != nil {
		return err
	}
	return d.afterwards(ctx, leader, running)
}

// startThree starts servers and an executor, fills the wallet and finds the leader.
func (d *demo) startThree(ctx context.Context) (*cluster.Server, error) {
	if err := d.three.Plan(3); err != nil {
		return nil, err
	}
	d.team = d.three.Home("team", d.three.Addr(), d.three.TokenFile())
	d.other = d.three.Home("other", d.three.Addr(), d.three.TokenFile())
	d.enter(d.team)
	if err := d.three.StartServers(ctx); err != nil {
		return nil, err
	}
	if _, err := d.three.StartExecutor(ctx, "e1", "--cpus", "2"); err != nil {
		return nil, err
	}
	if _, err := d.shown(ctx, d.team, "operator", "issue", fmt.Sprint(teamFunds)); err != nil {
		return nil, err
	}
	if err := d.hand(ctx, d.team, d.other, 1000); err != nil {
		return nil, err
	}
	leader, list, err := d.three.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.shown(ctx, d.team, "operator", "servers"); err != nil {
		return nil, err
	}
	d.failover.KilledServer, d.failover.KilledPID, d.failover.TermBefore = leader.Name, leader.Pid(), list.Term
	return leader, nil
}

// sendAndDie sends a job while nobody leads, and kills the sender before it can hear an answer. What it has written
// down before sending is returned.
func (d *demo) sendAndDie(ctx context.Context) (client.Outbound, error) {
	var none client.Outbound
	args := append([]string{"submit"}, with(small, "--name", "meanwhile", "--time", "1m", "--pay", "100", "--", "echo", "charged once")...)
	d.say(command, "$ %s &", d.line(d.other, args))
	var out bytes.Buffer
	cmd, err := d.other.Start(ctx, &out, &out, args...)
	if err != nil {
		return none, err
	}
	w, err := wallet.Open(ctx, wallet.Config{Dir: filepath.Join(d.other.Dir, "wallet"), Mint: func(url string) wallet.MintClient {
		return wallet.NewHTTPMint(http.DefaultClient, url)
	}})
	if err != nil {
		return none, errors.Join(fmt.Errorf("look into the wallet: %w", err), cmd.Process.Kill())
	}
	defer w.Close()
	err = cluster.Until(ctx, 20*time.Second, "the request is written down", func() (bool, error) {
		balances, err := w.Balances(ctx)
		return err == nil && len(balances) == 1 && balances[0].Reserved > 0, err
	})
	d.say(command, "$ kill -9 %d    # the command that sends it", cmd.Process.Pid)
	if err = errors.Join(err, cmd.Process.Kill()); err != nil {
		_ = cmd.Wait() // killed, or why it ended is in what it said
		return none, fmt.Errorf("%w; the sender said: %s", err, out.String())
	}
	code, err := cluster.Wait(cmd)
	if err != nil {
		return none, err
	}
	d.that(code == -1 && out.Len() == 0, "the sender died before it heard an answer")
	return writtenDown(ctx, w)
}

// writtenDown is the request that a wallet has kept and has no answer to.
func writtenDown(ctx context.Context, w *wallet.Wallet) (client.Outbound, error) {
	var o client.Outbound
	open, err := w.Unfinished(ctx)
	if err != nil {
		return o, err
	}
	if len(open) != 1 {
		return o, fmt.Errorf("the wallet has %d unfinished payments, not one", len(open))
	}
	if err := json.Unmarshal(open[0].Request, &o); err != nil {
		return o, fmt.Errorf("read the stored request: %w", err)
	}
	return o, nil
}

// repeat sends the very same bytes to each server that is left.
func (d *demo) repeat(ctx context.Context, request client.Outbound) error {
	token, err := os.ReadFile(d.team.Token)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	for _, s := range d.three.Servers {
		if s.Ended() {
			continue
		}
		c, err := client.New(client.Config{Servers: []string{s.HTTP}, Token: strings.TrimSpace(string(token))})
		if err != nil {
			return err
		}
		var answer client.SubmitAnswer
		if err := c.Send(ctx, request, &answer); err != nil {
			return fmt.Errorf("send the same request to %s again: %w", s.Name, err)
		}
		c.CloseIdle()
		equal(&d.checks, "the same request again, byte for byte, to "+s.Name+": the same job", answer.Job, d.failover.Job)
	}
	return nil
}

// afterwards checks what the killed leader has left behind.
func (d *demo) afterwards(ctx context.Context, killed *cluster.Server, running uint64) error {
	leader, list, err := d.three.Leader(ctx)
	if err != nil {
		return err
	}
	d.failover.LeaderAfter, d.failover.TermAfter = leader.Name, list.Term
	d.that(leader != killed && list.Term > d.failover.TermBefore, "%s leads in term %d; %s led in term %d",
		leader.Name, list.Term, killed.Name, d.failover.TermBefore)
	if _, err := d.shown(ctx, d.team, "wait", num(d.failover.Job), num(running)); err != nil {
		return err
	}
	var jobs client.JobList
	if err := d.team.JSON(ctx, &jobs, "queue", "--all"); err != nil {
		return err
	}
	equal(&d.checks, "jobs there are in all", len(jobs.Jobs), 2)
	var long client.Job
	if err := d.team.JSON(ctx, &long, "show", num(running)); err != nil {
		return err
	}
	d.that(long.Private != nil && len(long.Private.Runs) == 1, "the running job was not disturbed: one run")
	if _, err := d.receipt(ctx, d.team, running); err != nil {
		return err
	}
	if _, err := d.receipt(ctx, d.other, d.failover.Job); err != nil {
		return err
	}
	b, err := json.MarshalIndent(d.failover, "", "  ")
	if err != nil {
		return fmt.Errorf("keep what was killed: %w", err)
	}
	return os.WriteFile(filepath.Join(d.out, "failover.json"), append(b, '\n'), 0o644)
}

// awaitState waits for a job's state.
func (d *demo) awaitState(ctx context.Context, h cluster.Home, n uint64, state string) error {
	return cluster.Until(ctx, 30*time.Second, fmt.Sprintf("job %d is %s", n, state), func() (bool, error) {
		var job client.Job
		err := h.JSON(ctx, &job, "show", num(n))
		return err == nil && job.State == state, err
	})
}
