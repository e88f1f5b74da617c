//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/testbed/cluster"
)

// desk is a command on a terminal of its own, and somebody who sits there.
type desk struct {
	t    *testing.T
	ctx  context.Context
	cmd  *exec.Cmd
	keys *os.File
	done chan struct{}

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
}

func sitDown(t *testing.T, ctx context.Context, h cluster.Home, args ...string) *desk {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0))
	theirs, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	d := &desk{t: t, ctx: ctx, keys: ours, done: make(chan struct{}), cmd: exec.CommandContext(ctx, h.Binary, args...)}
	d.cmd.Env, d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = h.Env(), theirs, theirs, theirs
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, d.cmd.Start())
	theirs.Close()
	go func() {
		defer close(d.done)
		piece := make([]byte, 4096)
		for {
			n, err := ours.Read(piece)
			d.mu.Lock()
			d.seen.Write(piece[:n])
			d.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it may have ended
		ours.Close()
		<-d.done
	})
	return d
}

func (d *desk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.String()
}

// sees waits for what matches, and returns it.
func (d *desk) sees(what string) []string {
	d.t.Helper()
	pattern := regexp.MustCompile(what)
	err := cluster.Until(d.ctx, time.Minute, "the terminal shows "+what, func() (bool, error) { return pattern.MatchString(d.text()), nil })
	if err != nil {
		d.t.Fatalf("%v:\n%q", err, d.text())
	}
	return pattern.FindStringSubmatch(d.text())
}

func (d *desk) types(keys string) {
	d.t.Helper()
	_, err := d.keys.WriteString(keys)
	must(d.t, err)
}

// runs runs a command line that has to succeed.
func runs(t *testing.T, ctx context.Context, h cluster.Home, args ...string) cluster.Result {
	t.Helper()
	r, err := h.Run(ctx, args...)
	must(t, err)
	if r.Code != 0 {
		t.Fatalf("%s: %+v", cluster.Line(args...), r)
	}
	return r
}

// A machine is rented, used through shell, cp and forward, extended by another wallet while its shell is open, and ended with
// its change back.
func TestAMachineIsRentedUsedExtendedAndEnded(t *testing.T) {
	// The image's own command would end at once, and with it the machine.
	ctx, c, h, repository, _ := boxes(t, v1.Config{Env: []string{"PATH=/bin"}, Entrypoint: []string{"/bin/false"}})
	friend := c.Home("friend", h.Addr, "")
	purse := filepath.Join(t.TempDir(), "coins")
	must(t, os.WriteFile(purse, []byte(runs(t, ctx, h, "wallet", "send", "60000").Stdout), 0o600))
	runs(t, ctx, friend, "wallet", "receive", "@"+purse)
	before := balance(t, ctx, h)

	d := sitDown(t, ctx, h, "rent", "--image", repository+":1", "--time", "2h", "--cpus", "1", "--memory", "256MiB", "--pay", "1000")
	number := d.sees(`job (\d+) `)[1]
	n, err := strconv.ParseUint(number, 10, 64)
	must(t, err)
	d.sees(`\x1b\[22;2t`)
	d.sees(`\x1b\]2;job ` + number + `: \d+ min left, money 99\d\a`)
	d.types("echo i\"\"n $PWD as $(id -u) told by $COINOP_NOTICE_FILE\n")
	d.sees(`in /work as 0 told by /run/coinop/notice`)

	copiesBothWays(t, ctx, h, number, d)
	forwards(t, ctx, h, number, d)

	runs(t, ctx, friend, "fund", number, "2000")
	d.sees(`\[coinop: 2000 were added; it lasts until `)
	d.sees(`\x1b\]2;job ` + number + `: \d+ (h \d+ )?min left, money 29\d\d\a`)

	// More time than it was rented for, from another terminal: the frame of this one shows the new end.
	runs(t, ctx, h, "fund", number, "--time", "3h")
	d.sees(`\[coinop: its time limit was moved; it lasts until `)
	runs(t, ctx, friend, "fund", number, "50000") // and money for all of it
	d.sees(`\x1b\]2;job ` + number + `: 4 h \d\d min left, money`)
	if got := show(t, ctx, h, n); got.TimeMs != 5*3600*1000 || got.Private.Runs[0].Until.Sub(*got.Private.Runs[0].Started) != 5*time.Hour {
		t.Errorf("its limit is %d ms, and its run ends at %s", got.TimeMs, got.Private.Runs[0].Until)
	}

	d.types("exit 3\n")
	d.sees(`\x1b\[23;2t`)
	d.sees("job " + number + " stays, and is paid, until .*`coinop cancel " + number + "` ends it and gives the change back")
	<-d.done
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the shell's last code is the renter's: %v", err)
	}
	if got := show(t, ctx, h, n); got.State != "running" {
		t.Errorf("the machine is %s when its shell has ended", got.State)
	}
	again := runs(t, ctx, h, "shell", number, "--", "cat", "tree/a file")
	if again.Stdout != "of the tree\n" {
		t.Errorf("%+v", again)
	}
	runs(t, ctx, h, "cancel", number)
	await(t, ctx, h, n, "done")
	charged := show(t, ctx, h, n).Private.SpentMicro
	must(t, cluster.Until(ctx, time.Minute, "the change is back", func() (bool, error) {
		if _, err := friend.Run(ctx, "refunds"); err != nil {
			return false, err
		}
		back := balance(t, ctx, h)
		return back < before && int64(before-back) <= charged/1_000_000+1, nil
	}))
}

// copiesBothWays copies a folder in, sees it there, and copies it out again.
func copiesBothWays(t *testing.T, ctx context.Context, h cluster.Home, number string, d *desk) {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	must(t, os.Mkdir(tree, 0o755))
	must(t, os.WriteFile(filepath.Join(tree, "a file"), []byte("of the tree\n"), 0o640))
	must(t, os.WriteFile(filepath.Join(tree, "large"), bytes.Repeat([]byte("0123456789abcdef"), 1<<17), 0o600))
	must(t, os.Symlink("a file", filepath.Join(tree, "link")))
	runs(t, ctx, h, "cp", tree, number+":")
	d.types("ls -l tree/a* && wc -c <tree/large\n")
	d.sees(`-rw-r-----.*tree/a file`)
	d.sees(`2097152`)
	d.types("ln -s /etc/passwd tree/out; echo more >tree/more; echo do\"\"ne\n")
	d.sees("done")
	r, err := h.Run(ctx, "cp", number+":/work/tree", filepath.Join(dir, "back"))
	must(t, err)
	if r.Code != 1 || !strings.Contains(r.Stderr, "left out: ./out: a link that leads out, to /etc/passwd") || !strings.Contains(r.Stdout, "4 files, 2 MiB") {
		t.Errorf("%+v", r)
	}
	out, err := exec.Command("diff", "-r", "--no-dereference", tree, filepath.Join(dir, "back")).CombinedOutput()
	if got, want := string(out), fmt.Sprintf("Only in %s: more\n", filepath.Join(dir, "back")); got != want {
		t.Errorf("there and back: %v\n%s", err, got)
	}
	if r, err = h.Run(ctx, "cp", number+":none", dir); err != nil || r.Code != 1 || !strings.Contains(r.Stderr, "there is no ./none") {
		t.Errorf("%+v, %v", r, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".coinop*")); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
	runs(t, ctx, h, "shell", number, "--", "sh", "-c", "! ls -A | grep coinop")
}

// forwards reaches a server in the machine, which has no network but its own.
func forwards(t *testing.T, ctx context.Context, h cluster.Home, number string, d *desk) {
	t.Helper()
	d.types("nc -ll -p 8080 -e tr a-z A-Z & echo list\"\"ens\n")
	d.sees("listens")
	reads, writes, err := os.Pipe()
	must(t, err)
	defer reads.Close()
	var said bytes.Buffer
	cmd, err := h.Start(ctx, writes, &said, "forward", number, "0:8080", "0:8081")
	must(t, err)
	writes.Close()
	lines := bufio.NewReader(reads)
	var addresses [2]string
	for i := range addresses {
		line, err := lines.ReadString('\n')
		must(t, err)
		addresses[i], _, _ = strings.Cut(line, " ")
	}
	text := strings.Repeat("all of it ", 100_000)
	var wait sync.WaitGroup
	for range 5 {
		wait.Go(func() {
			got, err := ask(addresses[0], text)
			if err != nil || got != strings.ToUpper(text) {
				t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
			}
		})
	}
	wait.Wait()
	if got, err := ask(addresses[1], "x"); err == nil {
		t.Errorf("a port on which nobody listens says %q", got)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	code, err := cluster.Wait(cmd)
	must(t, err)
	if code != 0 || !strings.Contains(said.String(), "port 8081: nothing in the task listens on it") {
		t.Errorf("code %d: %s", code, said.String())
	}
	if _, err := net.Dial("tcp", addresses[0]); err == nil {
		t.Error("it listens on")
	}
}

// ask says something, ends its side, and returns the answer.
func ask(addr, text string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	said := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, text)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		said <- err
	}()
	got, err := io.ReadAll(conn)
	if err == nil {
		err = <-said
	}
	return string(got), err
}

// A container's task reads the notice of its end, and cannot change it.
func TestANoticeReachesAContainer(t *testing.T) {
	ctx, _, h, repository, _ := boxes(t, v1.Config{Env: []string{"PATH=/bin"}})
	n := submit(t, ctx, h, job("--image", repository+":1", "--", "sh", "-c",
		`trap 'cat "$COINOP_NOTICE_FILE"; echo x 2>/dev/null >"$COINOP_NOTICE_FILE" || echo and not mine; exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done`)...)
	var log cluster.Result
	must(t, cluster.Until(ctx, time.Minute, "it runs", func() (_ bool, err error) {
		log, err = h.Run(ctx, "logs", fmt.Sprint(n))
		return strings.Contains(log.Stdout, "ready"), err
	}))
	runs(t, ctx, h, "cancel", fmt.Sprint(n))
	await(t, ctx, h, n, "done")
	log = runs(t, ctx, h, "logs", fmt.Sprint(n))
	if !regexp.MustCompile(`^ready\nreason=cancelled\nsignal=.*\ntime=\d.*Z\nand not mine\n$`).MatchString(log.Stdout) {
		t.Errorf("it wrote %q", log.Stdout)
	}
	if none, err := h.Run(ctx, "rent", "--pay", "10"); err != nil || none.Code != 2 || !strings.Contains(none.Stderr, "--image") {
		t.Errorf("%+v, %v", none, err)
	}
	var machine client.SubmitAnswer
	must(t, h.JSON(ctx, &machine, "rent", "--image", repository+":1", "--pay", "100")) // ready when it returns
	if got := show(t, ctx, h, machine.Job); got.State != "running" || !got.Private.Hold {
		t.Errorf("rented: %+v", got)
	}
	runs(t, ctx, h, "cancel", fmt.Sprint(machine.Job))
	await(t, ctx, h, machine.Job, "done")
}

// An image of one program is rented like any other, and what it lacks is said.
func TestAMachineWithoutAShellIsRented(t *testing.T) {
	ctx, _, h, _, _ := boxes(t, v1.Config{})
	bare := t.TempDir()
	program, err := os.ReadFile("/bin/busybox")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bare, "busybox"), program, 0o755))
	repository, _ := push(t, bare, v1.Config{})
	r := runs(t, ctx, h, "--json", "rent", "--image", repository+":1", "--pay", "100")
	var machine client.SubmitAnswer
	must(t, json.Unmarshal([]byte(r.Stdout), &machine))
	n := fmt.Sprint(machine.Job)
	if !strings.Contains(r.Stderr, "its image has no shell; `coinop shell "+n+" -- PROGRAM` runs what it has") {
		t.Errorf("%+v", r)
	}
	if r := runs(t, ctx, h, "shell", n, "--", "/busybox", "echo", "it runs"); r.Stdout != "it runs\n" {
		t.Errorf("%+v", r)
	}
	r, err = h.Run(ctx, "cp", "/etc/hostname", n+":")
	must(t, err)
	if r.Code != 1 || !strings.Contains(r.Stderr, "job "+n+" has no shell: a copy needs sh, tar, mkdir, mv and rm in its image") {
		t.Errorf("%+v", r)
	}
	runs(t, ctx, h, "cancel", n)
	await(t, ctx, h, machine.Job, "done")
}
