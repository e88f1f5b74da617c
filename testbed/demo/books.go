package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// kept is a receipt and whose it is.
type kept struct {
	addr string // the cluster's
	client.Receipt
}

// books is the last act: every receipt, every wallet, and the servers' own books.
func (d *demo) books(ctx context.Context) error {
	d.say(heading, "\n5  receipts, and the wallets' balance to the credit")
	d.enter(d.you)
	for _, name := range []string{"taken", "richer", "poorer"} {
		if _, err := d.receipt(ctx, d.you, d.jobs[name]); err != nil {
			return err
		}
	}
	if _, err := d.shown(ctx, d.you, "receipt", num(d.jobs["stream"])); err != nil {
		return err
	}
	wrong := 0
	for _, r := range d.receipts {
		if err := wrongWith(r.Receipt); err != nil {
			wrong++
			d.say(failed, "  %v", err)
		}
	}
	equal(&d.checks, fmt.Sprintf("of %d receipts, those that do not add up (deposited = charged + refunded, lines = charged)", len(d.receipts)), wrong, 0)
	if err := d.balanced(ctx, "dev", devFunds, d.you, d.friend); err != nil {
		return err
	}
	return d.balanced(ctx, "the three servers", teamFunds, d.team, d.other)
}

// balanced compares the wallets with the receipts, and both with what the servers have booked.
func (d *demo) balanced(ctx context.Context, name string, initial int64, homes ...cluster.Home) error {
	var wallets, charged int64
	for _, h := range homes {
		if _, err := d.shown(ctx, h, "wallet", "balance"); err != nil {
			return err
		}
		b, err := d.balance(ctx, h)
		if err != nil {
			return err
		}
		wallets += b * unit
	}
	for _, r := range d.receipts {
		if r.addr == homes[0].Addr {
			charged += r.ChargedMicro
		}
	}
	accounts, err := cluster.ReadAccounts(ctx, strings.Split(homes[0].Addr, ",")...)
	if err != nil {
		return err
	}
	fees := accounts["income:fees"]
	equal(&d.checks, name+": initial = wallets + charged + input fees", credits(wallets+charged+fees), credits(initial*unit))
	owned, owed, income := accounts.Sides()
	equal(&d.checks, name+": the servers' own books say the same, income", credits(income), credits(charged+fees))
	equal(&d.checks, name+": and balance, what was issued", credits(owned), credits(owed+income))
	d.initial, d.wallets, d.charged, d.fees = d.initial+initial*unit, d.wallets+wallets, d.charged+charged, d.fees+fees
	return nil
}

// sum is the last line's numbers.
func (d *demo) sum() string {
	return fmt.Sprintf("%s = %s + %s + %s", credits(d.initial), credits(d.wallets), credits(d.charged), credits(d.fees))
}

// balance is what a wallet has, in credits; nothing may be under way.
func (d *demo) balance(ctx context.Context, h cluster.Home) (int64, error) {
	var lines []struct {
		Free     int64 `json:"free"`
		Reserved int64 `json:"reserved"`
	}
	if err := h.JSON(ctx, &lines, "wallet", "balance"); err != nil {
		return 0, err
	}
	var free int64
	for _, l := range lines {
		if free += l.Free; l.Reserved != 0 {
			return 0, fmt.Errorf("%d credits of %s are still under way", l.Reserved, h.Dir)
		}
	}
	return free, nil
}

// receipt reads a finished job's receipt and keeps it.
func (d *demo) receipt(ctx context.Context, h cluster.Home, n uint64) (client.Receipt, error) {
	var r client.Receipt
	if err := h.JSON(ctx, &r, "receipt", num(n)); err != nil {
		return r, err
	}
	d.receipts = append(d.receipts, kept{h.Addr, r})
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return r, fmt.Errorf("keep a receipt: %w", err)
	}
	name := fmt.Sprintf("%s-job-%d.json", filepath.Base(filepath.Dir(h.Dir)), n)
	return r, os.WriteFile(filepath.Join(d.out, "receipts", name), append(b, '\n'), 0o644)
}

// leave tells what runs on and what can be tried with it.
func (d *demo) leave() {
	var pids []string
	for _, c := range []*cluster.Cluster{d.dev, d.three} {
		for _, p := range c.Running() {
			pids = append(pids, fmt.Sprint(p.Pid()))
		}
	}
	d.say(heading, "\nThe clusters go on. Three things to try:")
	d.enter(d.you)
	d.say(command, "$ coinop run --mode stream --pay 100 -- sh -c 'while :; do date; sleep 1; done'    # watch its money; Ctrl-C twice ends it")
	d.say(command, "$ coinop submit --array 0-9%%2 --time 10s --pay 500 -- sh -c 'sleep 2; echo $COINOP_TASK' && coinop queue --watch")
	d.say(command, "$ COINOP_ADDR=%s coinop operator servers --token @%s    # then kill -9 the leader yourself", d.three.Addr(), d.three.TokenFile())
	d.say(aside, "to end it all: kill %s; rm -rf %s", strings.Join(pids, " "), d.dir)
}
