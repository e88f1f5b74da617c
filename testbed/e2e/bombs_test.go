//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// bomb is a paid job that takes all that it can get.
type bomb struct {
	command []string
	flags   []string
	reason  string
	says    string // `show` names the limit
	logs    string // or the bomb itself says what it met
	cpuMs   int64  // its receipt tells at least so much use
	memory  int64
}

const (
	mebi     = 1 << 20
	workDisk = 16 * mebi
)

func bombs() map[string]bomb {
	perl := func(script string) []string { return []string{"perl", "-e", script} }
	bash := func(script string) []string { return []string{"bash", "-c", script} }
	hungry := `push @all, "x" x 1e6 while 1`
	disk := []string{"--disk", fmt.Sprint(workDisk / mebi), "--memory", "64MiB"}
	return map[string]bomb{
		"processes": {
			command: perl(`while (defined(my $p = fork)) { $p or sleep 600 } exit 3`), flags: []string{"--memory", "4GiB"},
			reason: "exited", says: "the limit of processes was reached", cpuMs: 50, memory: 64 * mebi,
		},
		"processes of processes": {
			command: bash(`b() { b | b & }; b 2>/dev/null; sleep 600`), flags: []string{"--memory", "4GiB", "--time", "15s"},
			reason: "time_limit", says: "the limit of processes was reached", cpuMs: 50, memory: 64 * mebi,
		},
		"memory": {
			command: perl(hungry), flags: []string{"--memory", "64MiB"}, reason: "out_of_memory",
			says: "the memory limit struck", memory: 60 * mebi,
		},
		"memory of a child": {
			command: bash(`perl -e '` + hungry + `'; exit 5`), flags: []string{"--memory", "64MiB"},
			reason: "exited", says: "the memory limit struck", memory: 60 * mebi,
		},
		"shared memory": {
			command: bash(`head -c 300M /dev/zero >/dev/shm/bomb; exit 6`), flags: []string{"--memory", "64MiB"},
			reason: "out_of_memory", says: "the memory limit struck", memory: 60 * mebi,
		},
		"one large file": {
			command: bash(`exec head -c 300M /dev/zero >file`), flags: disk, reason: "signalled", says: "the disk limit struck: a file would have grown",
		},
		"many files": {
			command: bash(`while : $((i+=1)); do head -c 1M /dev/zero >f$i; done`), flags: disk, reason: "signalled",
			says: "the disk limit struck: its work folder held more", cpuMs: 1,
		},
		"output": {
			command: []string{"yes", "a line that nobody wants"}, flags: []string{"--memory", "64MiB", "--time", "5s"}, reason: "time_limit", cpuMs: 50,
		},
		"open files": {
			command: perl(`while (open my $f, "<", "/dev/null") { push @all, $f } print "stopped at ", scalar(@all) > 1000, ": $!\n"; exit 7`),
			flags:   []string{"--memory", "64MiB"}, reason: "exited", logs: "stopped at 1: Too many open files\n",
		},
	}
}

// throw runs a bomb to its end. Its receipt tells what it used, and bills its time.
func (b bomb) throw(t *testing.T, ctx context.Context, h cluster.Home, floor int64) (charged int64) {
	t.Helper()
	args := append([]string{"submit", "--cpus", "1", "--pay", "500"}, b.flags...)
	if !slices.Contains(b.flags, "--time") {
		args = append(args, "--time", "2m")
	}
	n := submit(t, ctx, h, append(append(args[1:], "--"), b.command...)...)
	await(t, ctx, h, n, "done")
	job := show(t, ctx, h, n)
	said, err := h.Run(ctx, "show", fmt.Sprint(n))
	must(t, err)
	if job.Reason != b.reason || job.Private == nil || len(job.Private.Runs) != 1 || !strings.Contains(said.Stdout, b.reason) || !strings.Contains(said.Stdout, b.says) {
		t.Errorf("it ended for %q, in these runs: %+v; show says:\n%s", job.Reason, job.Private, said.Stdout)
	}
	if b.logs != "" {
		logs, err := h.Run(ctx, "logs", fmt.Sprint(n), "--stdout")
		must(t, err)
		if logs.Stdout != b.logs {
			t.Errorf("it wrote %q", logs.Stdout)
		}
	}
	r := billed(t, ctx, h, n, job.WeightMilli, floor)
	if r.Usage.CPUMs < b.cpuMs || r.Usage.MemoryPeakBytes < b.memory {
		t.Errorf("its receipt tells of %+v", r.Usage)
	}
	t.Logf("%s, code %v, %d ms, charged %d, used %+v", job.Reason, *job.ExitCode, r.BilledMs, r.ChargedMicro, r.Usage)
	return r.ChargedMicro
}

// billed is the receipt of a job that has ended, which is what its time costs at the floor.
func billed(t *testing.T, ctx context.Context, h cluster.Home, n uint64, weightMilli, floor int64) client.Receipt {
	t.Helper()
	var r client.Receipt
	must(t, h.JSON(ctx, &r, "receipt", fmt.Sprint(n)))
	if err := misbilled(r, weightMilli, floor); err != nil {
		t.Errorf("job %d: %v", n, err)
	}
	return r
}

// coin is the smallest one: charges are rounded up to it.
const coin = 1_000_000

// misbilled says what is wrong with a receipt of a run at the floor.
func misbilled(r client.Receipt, weightMilli, floor int64) error {
	lines := int64(0)
	for _, l := range r.Lines {
		lines += l.AmountMicro
	}
	worth := weightMilli * r.BilledMs / 1000 * floor / 1000
	switch {
	case r.BilledMs < 1000:
		return fmt.Errorf("%d ms are billed, and a second is the least", r.BilledMs)
	case r.ChargedMicro < worth || r.ChargedMicro > worth+coin:
		return fmt.Errorf("%d ms at a weight of %d and a price of %d are worth %d, charged are %d", r.BilledMs, weightMilli, floor, worth, r.ChargedMicro)
	case lines != r.ChargedMicro || r.DepositedMicro != r.ChargedMicro+r.RefundedMicro:
		return fmt.Errorf("it does not add up: %+v", r)
	}
	return nil
}

func TestAWrongReceiptIsFound(t *testing.T) {
	good := client.Receipt{
		BilledMs: 2000, DepositedMicro: 10 * coin, ChargedMicro: 3 * coin, RefundedMicro: 7 * coin,
		Lines: []client.ReceiptLine{{What: "usage", AmountMicro: 2_500_000}, {What: "rounding", AmountMicro: 500_000}},
	}
	if err := misbilled(good, 1250, coin); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(r *client.Receipt){
		"nothing is charged": func(r *client.Receipt) { r.ChargedMicro, r.RefundedMicro, r.Lines = 0, r.DepositedMicro, nil },
		"no time is billed":  func(r *client.Receipt) { r.BilledMs = 0 },
		"a coin too much": func(r *client.Receipt) {
			r.ChargedMicro += coin
			r.RefundedMicro -= coin
			r.Lines[0].AmountMicro += coin
		},
		"lines are missing": func(r *client.Receipt) { r.Lines = r.Lines[:1] },
		"money is missing":  func(r *client.Receipt) { r.RefundedMicro-- },
	} {
		r := good
		r.Lines = slices.Clone(good.Lines)
		if spoil(&r); misbilled(r, 1250, coin) == nil {
			t.Errorf("%s: not found", what)
		}
	}
}

// Who throws a bomb pays for it, and nobody else notices.
func TestBombsAreBilledToTheirThrower(t *testing.T) {
	ctx, c := newCluster(t)
	must(t, c.Plan(1))
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "e1", "--cpus", "4", "--memory", "8GiB")
	must(t, err)
	const issued = 100_000
	neighbour, thrower := c.Home("neighbour", c.Addr(), c.TokenFile()), c.Home("thrower", c.Addr(), c.TokenFile())
	for _, h := range []cluster.Home{neighbour, thrower} {
		if r, err := h.Run(ctx, "operator", "issue", fmt.Sprint(issued)); err != nil || r.Code != 0 {
			t.Fatal(err, r.Stderr)
		}
	}
	var pools client.PoolList
	must(t, neighbour.JSON(ctx, &pools, "pools"))
	floor := pools.Pools[0].FloorMicro
	counter := count(t, ctx, c, neighbour)
	before, err := cluster.Left(c.Dir)
	must(t, err)
	charged := int64(0)
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			charged += b.throw(t, ctx, thrower, floor)
			must(t, cluster.Until(ctx, time.Minute, "nothing is left of it", func() (bool, error) {
				left, err := cluster.Left(c.Dir)
				return slices.Equal(before, left), fmt.Errorf("%v, %w", left, err)
			}))
			must(t, c.Balanced(ctx))
			t.Logf("the neighbour never rested for longer than %s", counter.undisturbed(t, ctx))
		})
	}
	weight := show(t, ctx, neighbour, counter.job).WeightMilli
	counter.end(t, ctx, neighbour)
	paid := billed(t, ctx, neighbour, counter.job, weight, floor).ChargedMicro
	left := int64(balance(t, ctx, neighbour)+balance(t, ctx, thrower)) * coin
	books, err := cluster.ReadAccounts(ctx, c.Servers[0].HTTP)
	must(t, err)
	fees := books["income:fees"] // of coins that were spent
	if earned := books["income:usage"] + books["income:submit"] + books["income:rounding"]; earned != paid+charged || left != 2*issued*coin-paid-charged-fees {
		t.Errorf("%d and %d are charged, %d is earned, with %d for spent coins; of %d there are %d left", charged, paid, earned, fees, 2*issued*coin, left)
	}
	if books["expense:overrun"] != 0 {
		t.Errorf("the operator bears %d", books["expense:overrun"])
	}
}
