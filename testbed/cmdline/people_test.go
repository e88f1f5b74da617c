package cmdline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
)

// person is somebody with a wallet.
type person struct {
	t    *testing.T
	env  []string
	home string
}

// someone has a wallet of their own with so much in it, from dev's wallet; nothing where it is empty.
func (d *dev) someone(t *testing.T, name, units string) person {
	t.Helper()
	p := person{t: t, home: filepath.Join(t.TempDir(), name)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COINOP_") {
			p.env = append(p.env, v)
		}
	}
	p.env = append(p.env, "COINOP_HOME="+p.home, "COINOP_ADDR="+d.addr)
	if units != "" {
		token := d.bank(t).must("", "wallet", "send", units)
		p.must(token, "wallet", "receive", "-")
	}
	return p
}

// bank is the wallet that dev has filled.
func (d *dev) bank(t *testing.T) person {
	t.Helper()
	for _, v := range d.cmd.Env {
		if home, ok := strings.CutPrefix(v, "COINOP_HOME="); ok {
			return person{t: t, home: home, env: append(slices.Clone(d.cmd.Env), "COINOP_ADDR="+d.addr)}
		}
	}
	t.Fatal("dev has no wallet")
	return person{}
}

// own is a dev for one test.
func own(t *testing.T, flags ...string) (*dev, string) {
	t.Helper()
	dir, err := cluster.TempDir("cmdline")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d, err := startDev(dir, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.stop() })
	return d, dir
}

func (p person) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "coinop", args...)
	cmd.Env, cmd.Dir = p.env, p.t.TempDir()
	return cmd
}

// must runs a command that succeeds, and returns what it printed.
func (p person) must(stdin string, args ...string) string {
	p.t.Helper()
	cmd := p.command(p.t.Context(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("coinop %s: %v\n%s%s", strings.Join(args, " "), err, out, complaint.String())
	}
	return string(out)
}

// read runs a command with --json and reads its first line.
func (p person) read(to any, args ...string) {
	p.t.Helper()
	out := p.must("", append(args, "--json")...)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(to); err != nil {
		p.t.Fatalf("coinop %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// balance is what the wallet has free, and what is under way.
func (p person) balance() (free, reserved uint64) {
	p.t.Helper()
	var all []struct{ Free, Reserved uint64 }
	p.read(&all, "wallet", "balance")
	for _, b := range all {
		free += b.Free
		reserved += b.Reserved
	}
	return free, reserved
}

// receipt is what `receipt --json` prints, as documented.
type receipt struct {
	Job       uint64 `json:"job"`
	Deposited int64  `json:"deposited_micro"`
	Charged   int64  `json:"charged_micro"`
	Refunded  int64  `json:"refunded_micro"`
	BilledMs  int64  `json:"billed_ms"`
	Deposits  []struct {
		Deposit   int   `json:"deposit"`
		Deposited int64 `json:"deposited_micro"`
		Charged   int64 `json:"charged_micro"`
		Refunded  int64 `json:"refunded_micro"`
	} `json:"deposits"`
	Lines []struct {
		What   string `json:"what"`
		Amount int64  `json:"amount_micro"`
	} `json:"lines"`
	Usage struct {
		CPU  *int64 `json:"cpu_ms"`
		Peak *int64 `json:"memory_peak_bytes"`
	} `json:"usage"`
}

// addsUp says what in a receipt does not.
func (r receipt) addsUp() error {
	var lines, deposited, charged, refunded int64
	for _, l := range r.Lines {
		lines += l.Amount
	}
	for _, d := range r.Deposits {
		if d.Deposited != d.Charged+d.Refunded {
			return fmt.Errorf("deposit %d: %d in, %d charged, %d back", d.Deposit, d.Deposited, d.Charged, d.Refunded)
		}
		deposited, charged, refunded = deposited+d.Deposited, charged+d.Charged, refunded+d.Refunded
	}
	switch {
	case lines != r.Charged:
		return fmt.Errorf("the lines come to %d, charged is %d", lines, r.Charged)
	case r.Deposited != r.Charged+r.Refunded:
		return fmt.Errorf("%d in, %d charged, %d back", r.Deposited, r.Charged, r.Refunded)
	case len(r.Deposits) > 0 && (deposited != r.Deposited || charged != r.Charged || refunded != r.Refunded):
		return fmt.Errorf("the deposits come to %d, %d, %d", deposited, charged, refunded)
	case r.Usage.CPU == nil || r.Usage.Peak == nil:
		return fmt.Errorf("nothing is said of what was used")
	}
	return nil
}

func TestAReceiptThatDoesNotAddUpIsNoticed(t *testing.T) {
	const good = `{"job":1,"deposited_micro":10,"charged_micro":4,"refunded_micro":6,"deposits":[{"deposit":1,"deposited_micro":10,
		"charged_micro":4,"refunded_micro":6}],"lines":[{"what":"a","amount_micro":3},{"what":"b","amount_micro":1}],"usage":{"cpu_ms":0,"memory_peak_bytes":0}}`
	for _, change := range [][2]string{{"", ""}, {`"amount_micro":3`, `"amount_micro":2`}, {`"refunded_micro":6,"deposits"`, `"refunded_micro":5,"deposits"`},
		{`"deposit":1,"deposited_micro":10`, `"deposit":1,"deposited_micro":9`}, {`"cpu_ms":0,`, ``}} {
		var r receipt
		if err := json.Unmarshal([]byte(strings.Replace(good, change[0], change[1], 1)), &r); err != nil {
			t.Fatal(err)
		}
		if err := r.addsUp(); (err == nil) != (change[0] == "") {
			t.Errorf("%v: %v", change, err)
		}
	}
}

// However a job ends and whoever pays, its receipt adds up, and so do all wallets together.
func TestEveryReceiptAddsUp(t *testing.T) {
	d, dir := own(t, "--cpus", "8")
	d.bank(t).must("", "operator", "pool", "set", "default", "--pause-grace", "1s", "--token", "@"+filepath.Join(dir, "dev", "server", "operator.token"))
	you, friend := d.someone(t, "you", "3000"), d.someone(t, "friend", "200")
	pot := filepath.Join(t.TempDir(), "pot")
	you.must("", "pot", "create", "500", "--out", pot)
	ends := func(code int, args ...string) {
		t.Helper()
		cmd := you.command(t.Context(), args...)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("coinop %s exited with %d (%v), want %d\n%s", strings.Join(args, " "), got, err, code, out)
		}
	}
	ends(0, "run", "--time", "40s", "--pay", "100", "--", "sleep", "1.2")                        // 1: ends early
	ends(3, "run", "--time", "40s", "--pay", "101", "--", "sh", "-c", "exit 3")                  // 2: fails at once
	ends(124, "run", "--time", "1s", "--pay", "33", "--cpus", "0.3", "--", "sleep", "9")         // 3: reaches its limit
	ends(0, "run", "--array", "0-4%2", "--time", "9s", "--pay", "200", "--", "sleep", "0.1")     // 4: an array
	ends(124, "run", "--mode", "stream", "--pay", "90", "--max-total", "3", "--", "sleep", "60") // 5: reaches the most it may cost
	ends(0, "submit", "--mode", "stream", "--pay", "300", "--cpus", "2", "--", "sleep", "2")     // 6: a stream that another adds to
	friend.must("", "fund", fundID(you, 6), "70")                                                //
	ends(0, "wait", "6")                                                                         //
	ends(0, "submit", "--wait", "--pot", "@"+pot, "--time", "9s", "--", "sleep", "0.5")          // 7: from a pot
	ends(0, "submit", "--wait", "--pot", "@"+pot, "--time", "9s", "--cpus", "3", "--", "true")   // 8: from the same
	ends(0, "submit", "--pay", "400", "--time", "90s", "--", "sleep", "60")                      // 9: is cancelled
	ends(0, "cancel", "9")                                                                       //
	ends(143, "wait", "9")                                                                       //
	ends(127, "run", "--pay", "40", "--time", "9s", "--", "./not-there")                         // 10: does not start
	ends(0, "run", "--pay", "77", "--time", "9s", "--bid", "1.000001", "--", "true")             // 11: has more than its hold
	for _, shared := range []uint64{7, 8} {
		var r receipt
		you.read(&r, "receipt", strconv.FormatUint(shared, 10))
		if r.Refunded != 0 || r.Deposited != r.Charged || r.Charged == 0 {
			t.Errorf("job %d draws from a pot: %+v", shared, r)
		}
	}
	var charged int64
	for job := range uint64(11) {
		var r receipt
		you.read(&r, "receipt", strconv.FormatUint(job+1, 10))
		if err := r.addsUp(); err != nil || r.Job != job+1 {
			t.Errorf("job %d: %v: %+v", job+1, err, r)
		}
		charged += r.Charged
	}
	var all struct {
		Deposited int64 `json:"deposited_micro"`
		Charged   int64 `json:"charged_micro"`
	}
	you.read(&all, "pot", "show", "@"+pot)
	before := all.Charged
	you.must("", "pot", "close", "@"+pot)
	you.read(&all, "pot", "show", "@"+pot)
	charged += all.Charged - before // less than one coin
	mine, waits := you.balance()
	theirs, _ := friend.balance()
	if waits != 0 || (3200-int64(mine+theirs))*1_000_000 != charged {
		t.Errorf("3200 were there, %d and %d are, %d waits; charged in micro-units: %d", mine, theirs, waits, charged)
	}
}

func fundID(p person, job uint64) string {
	var shown struct {
		FundID string `json:"fund_id"`
	}
	p.read(&shown, "show", strconv.FormatUint(job, 10))
	return shown.FundID
}

func TestSixteenSubmissionsAtOnceFromOneWallet(t *testing.T) {
	d, _ := own(t, "--cpus", "32")
	you := d.someone(t, "you", "1000")
	var (
		wg   sync.WaitGroup
		jobs [16]uint64
		fail [16]error
	)
	for i := range jobs {
		wg.Go(func() {
			out, err := you.command(t.Context(), "submit", "-q", "--time", "10s", "--pay", strconv.Itoa(25+i), "--", "true").CombinedOutput()
			if err == nil {
				jobs[i], err = strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
			}
			if err != nil {
				fail[i] = fmt.Errorf("submission %d: %w\n%s", i, err, out)
			}
		})
	}
	wg.Wait()
	var charged uint64
	for i := range jobs {
		if fail[i] != nil {
			t.Fatal(fail[i])
		}
		if slices.Contains(jobs[:i], jobs[i]) {
			t.Fatalf("job %d was sent twice: %v", jobs[i], jobs)
		}
		you.must("", "wait", strconv.FormatUint(jobs[i], 10))
		var r receipt
		you.read(&r, "receipt", strconv.FormatUint(jobs[i], 10))
		if want := int64(25+i) * 1_000_000; r.Deposited != want {
			t.Errorf("job %d has %d, want %d", jobs[i], r.Deposited, want)
		}
		charged += uint64(r.Charged) / 1_000_000
	}
	if free, waits := you.balance(); free != 1000-charged || waits != 0 {
		t.Errorf("%d free and %d under way, of 1000 %d were charged", free, waits, charged)
	}
}

// waitFor looks at what a command has written until it holds a text.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newWritten() *written { return &written{more: make(chan struct{}, 1)} }

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *written) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.more:
		case <-late:
			t.Fatalf("never wrote %q:\n%s", text, w)
		}
	}
}

func TestASecondCtrlCCancelsTheJob(t *testing.T) {
	d, _ := own(t, "--cpus", "2")
	you := d.someone(t, "you", "500")
	said := newWritten()
	run := you.command(t.Context(), "run", "--time", "100s", "--pay", "250", "--", "sh", "-c", "echo up; sleep 90")
	run.Stdout, run.Stderr = said, said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	said.await(t, "up\n")
	for _, want := range []string{"job 1 goes on; again within 2 s to cancel it", ""} {
		if err := run.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		said.await(t, want)
	}
	_ = run.Wait()
	var job struct{ State, Reason string }
	cmd := you.command(t.Context(), "wait", "1")
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 143 {
		t.Errorf("wait exits with %d, want 143", code)
	}
	if you.read(&job, "show", "1"); job.State != "done" || job.Reason != "cancelled" {
		t.Errorf("the job is %+v after run exited with %d:\n%s", job, run.ProcessState.ExitCode(), said)
	}
}

func TestDevsWalletIsFilledOnce(t *testing.T) {
	d, dir := own(t, "--cpus", "2")
	if free, _ := d.bank(t).balance(); free != 1_000_000 {
		t.Fatalf("dev's wallet has %d", free)
	}
	d.bank(t).must("", "run", "-q", "--time", "10s", "--pay", "50", "--", "true")
	left, _ := d.bank(t).balance()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	again, err := startDev(dir, "--cpus", "2", "--http", strings.TrimPrefix(d.addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.stop()
	if free, _ := again.bank(t).balance(); free != left || left >= 1_000_000 || left < 999_990 {
		t.Errorf("dev's wallet had %d and has %d", left, free)
	}
	if out := again.bank(t).must("", "receipt", "1"); !strings.Contains(out, "receipt for job 1: done") {
		t.Errorf("the job before is forgotten: %s", out)
	}
}
