//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // opens wallets

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/cluster"
)

// strangerAddr is where requests come from whose address must not be kept: all of 127/8 is this machine.
const strangerAddr = "127.99.88.77"

// keeper knows every secret of a run, and what all processes showed meanwhile.
type keeper struct {
	t    *testing.T
	c    *cluster.Cluster
	keys cluster.Secrets // nowhere but with their owners

	blinded []cashu.Point // not in books and logs

	said map[string]string
	stop context.CancelFunc
	done sync.WaitGroup
}

func (k *keeper) listen(ctx context.Context) {
	ctx, k.stop = context.WithCancel(ctx)
	k.said = map[string]string{}
	k.done.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			cluster.Said(k.said)
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
}

func (k *keeper) text(name, text string) {
	k.t.Helper()
	must(k.t, k.keys.AddText(name, strings.TrimSpace(text)))
}

// wallet learns what a wallet holds at the moment: of spent coins it keeps nothing, so it is asked after each step.
func (k *keeper) wallet(ctx context.Context, home cluster.Home) {
	k.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(home.Dir, "wallet", "wallet.db")+"?mode=ro&_busy_timeout=5000")
	must(k.t, err)
	defer db.Close()
	for name, query := range map[string]string{
		"a wallet's words":       `SELECT value FROM meta WHERE name = 'words' AND value <> ''`,
		"a wallet's seed":        `SELECT value FROM meta WHERE name = 'seed'`,
		"a coin's secret":        `SELECT secret FROM coins`,
		"a coin's signature":     `SELECT c FROM coins`,
		"a coin's blinding":      `SELECT r FROM coins WHERE r IS NOT NULL`,
		"a payment's secret":     `SELECT secret FROM payments WHERE secret NOT IN (x'', zeroblob(32))`,
		"a job's or pot's":       `SELECT secret FROM secrets`,
		"a token to be received": `SELECT token FROM tokens`,
	} {
		k.column(ctx, db, name, query)
	}
}

// column learns what a query of one column gives.
func (k *keeper) column(ctx context.Context, db *sql.DB, name, query string) {
	k.t.Helper()
	rows, err := db.QueryContext(ctx, query)
	must(k.t, err)
	defer rows.Close()
	for rows.Next() {
		var value any
		must(k.t, rows.Scan(&value))
		switch v := value.(type) {
		case string:
			k.text(name, v)
		case []byte:
			must(k.t, k.keys.Add(name, v))
			if len(v) == len(client.Secret{}) && name != "a coin's blinding" {
				k.bearer(client.Secret(v))
			}
		}
	}
	must(k.t, rows.Err())
}

// bearer adds the keys that travel; the fund id is public.
func (k *keeper) bearer(secret client.Secret) {
	k.t.Helper()
	for _, key := range []string{"control", "view", "spend", "claim"} {
		k.text("a "+key+" key", secret.Key(key))
	}
}

// servers learns what the servers' own files keep for themselves.
func (k *keeper) servers(ctx context.Context) {
	k.t.Helper()
	for _, s := range k.c.Servers {
		if token, err := os.ReadFile(filepath.Join(s.Dir, "operator.token")); err == nil {
			k.text("an operator's token", string(token))
		}
		said, err := k.c.Operator().Run(ctx, "operator", "secret", "export", "--dir", s.Dir)
		must(k.t, err)
		if said.Code != 0 {
			k.t.Fatal(said.Stderr)
		}
		for line := range strings.Lines(said.Stdout) {
			if words := strings.Fields(line); len(words) >= 12 {
				k.text("the mint's words", strings.Join(words[len(words)-12:], " "))
			}
		}
	}
	joins, err := filepath.Glob(filepath.Join(k.c.Dir, "*.join"))
	must(k.t, err)
	for _, file := range joins {
		token, err := os.ReadFile(file)
		must(k.t, err)
		k.text("a join token", string(token))
	}
	k.pems()
}

// pems learns private keys by their lines.
func (k *keeper) pems() {
	k.t.Helper()
	must(k.t, filepath.WalkDir(k.c.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".pem" {
			return nil // tasks' folders come and go
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), "PRIVATE KEY") {
			return err
		}
		for _, line := range strings.Split(string(data), "\n") {
			if len(line) >= 24 && !strings.HasPrefix(line, "-") {
				k.text("a private key", line)
			}
		}
		return nil
	}))
}

// strange asks from an address of its own, for what is there and what is not.
func strange(ctx context.Context, addr string) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(strangerAddr)}}
	asker := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer asker.CloseIdleConnections()
	for path, body := range map[string]string{"/v1/info": "", "/v1/jobs": `{"spec":`, "/v1/jobs/1": "", "/v1/operator/tokens": "{}", "/v1/swap": `{"inputs":[{}]}`, "/no/such": ""} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		request, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+strings.Repeat("ab", 32))
		answer, err := asker.Do(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

// knock comes to the cluster port from an address of its own, as what scans networks does, and as who has no token.
func knock(ctx context.Context, addr string) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(strangerAddr)}}
	say := func(wrap func(net.Conn) net.Conn, text string) error {
		raw, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer raw.Close()
		conn := wrap(raw)
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		if text != "" {
			_, _ = io.Copy(io.Discard, conn) // until it hangs up
		}
		return raw.(*net.TCPConn).SetLinger(0) // and is reset
	}
	plain := func(raw net.Conn) net.Conn { return raw }
	shaken := func(raw net.Conn) net.Conn {
		//nolint:gosec // a stranger does not care who answers
		return tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{consensus.ProtoJoin}})
	}
	secret := strings.Repeat("ab", 32)
	return errors.Join(say(plain, ""), say(plain, "GET / HTTP/1.1\r\n\r\n"), say(shaken, "{\n"), say(shaken, `{"secret":`+secret+"}\n"),
		say(shaken, `{"version":1,"kind":"executor","secret":"`+secret+`","request":"AAAA"}`+"\n"))
}

const argument = "an-argument-that-is-private"

// play is a run with money in all its forms, and things that go wrong.
func (k *keeper) play(ctx context.Context, user, friend cluster.Home) (running uint64) {
	t := k.t
	do := func(h cluster.Home, args ...string) string {
		t.Helper()
		said, err := h.Run(ctx, args...)
		must(t, err)
		if said.Code != 0 {
			t.Fatalf("%q: %s", args, said.Stderr)
		}
		k.wallet(ctx, h)
		return said.Stdout
	}
	do(user, "operator", "issue", "100000")
	token := filepath.Join(k.c.Dir, "friend.token")
	must(t, os.WriteFile(token, []byte(do(user, "wallet", "send", "5000")), 0o600))
	text, err := os.ReadFile(token)
	must(t, err)
	k.text("a token", string(text))
	do(friend, "wallet", "receive", "@"+token)
	pot := filepath.Join(k.c.Dir, "team.pot")
	do(user, "pot", "create", "20000", "--out", pot)
	secret, err := cluster.ReadPot(pot)
	must(t, err)
	must(t, k.keys.Add("the pot's secret", secret[:]))
	k.bearer(secret)
	well := submit(t, ctx, user, job("--", "sh", "-c", "echo fine", argument)...)
	potted := submit(t, ctx, user, "--pot", "@"+pot, "--cpus", "1", "--memory", "64MiB", "--time", "1m", "--", "true")
	fails := submit(t, ctx, user, job("--", "sh", "-c", "exit 3")...)
	cores := submit(t, ctx, user, job("--", "sh", "-c", "ulimit -c unlimited; kill -SEGV $$")...)
	stays := submit(t, ctx, user, job("--", "sleep", "600")...)
	k.wallet(ctx, user)
	do(friend, "fund", fmt.Sprint(stays), "50")
	for _, n := range []uint64{well, potted, fails, cores} {
		await(t, ctx, user, n, "done")
	}
	do(user, "queue", "--mine", "--all")
	do(user, "queue", "--pot", "@"+pot, "--all")
	stock := k.stock(ctx)
	melted := stock.melt(ctx)
	stock.own(ctx, melted)
	do(user, "logs", fmt.Sprint(well))
	do(user, "receipt", fmt.Sprint(well))
	for _, s := range k.c.Servers {
		must(t, strange(ctx, s.HTTP))
		must(t, knock(ctx, s.Cluster))
	}
	must(t, k.c.Servers[1].Signal(syscall.SIGABRT)) // it tells the stacks of all its goroutines
	must(t, cluster.Until(ctx, time.Minute, "the aborted server has ended", func() (bool, error) { return k.c.Servers[1].Ended(), nil }))
	must(t, k.c.Servers[2].Kill())
	must(t, k.c.Restart(ctx, k.c.Servers[1]))
	must(t, k.c.Restart(ctx, k.c.Servers[2]))
	_, _, err = k.c.Leader(ctx)
	must(t, err)
	do(user, "pot", "close", "@"+pot)
	do(user, "wallet", "balance")
	do(user, "operator", "snapshot", "save", filepath.Join(k.c.Dir, "saved.snap"))
	return stays
}

func TestNoSecretIsFoundWhereItMustNotBe(t *testing.T) {
	ctx, c := newCluster(t)
	k := &keeper{t: t, c: c}
	k.listen(ctx)
	must(t, c.Plan(3))
	must(t, c.StartServers(ctx))
	_, err := c.StartExecutor(ctx, "n1", "--cpus", "4", "--memory", "2GiB")
	must(t, err)
	user, friend := c.Home("user", c.Addr(), c.TokenFile()), c.Home("friend", c.Addr(), "")
	running := k.play(ctx, user, friend)
	k.servers(ctx)
	k.stop()
	k.done.Wait()
	own := func(name string) bool { // what belongs to the secrets' owners, and what the servers keep them in
		first, _, _ := strings.Cut(name, "/")
		base := filepath.Base(name)
		return first == "user" || first == "friend" || first == "operator-home" || first == "friend.token" || first == "team.pot" ||
			strings.HasSuffix(first, ".join") || first == "s1.out" ||
			base == "operator.token" || base == "mint.secret" || base == "key.pem"
	}
	var looked []string
	found, files, err := k.keys.Below(c.Dir, func(name string) bool {
		if !own(name) {
			looked = append(looked, name)
		}
		return own(name)
	})
	must(t, err)
	for _, base := range []string{"meta", "reached", "servers", "book.db", "s1.log", "n1.log", "saved.snap"} {
		if !slices.ContainsFunc(looked, func(name string) bool { return filepath.Base(name) == base }) {
			t.Errorf("no file %s was looked at", base)
		}
	}
	if missed, err := planted(t.TempDir(), looked, own); err != nil || len(missed) > 0 {
		t.Errorf("a secret would not be found in %q, %v", missed, err)
	}
	for text, who := range k.said {
		for _, what := range k.keys.In([]byte(text)) {
			found = append(found, who+" showed "+what)
		}
	}
	t.Logf("%d secrets looked for in %d files and %d command lines and environments", k.keys.Len(), files, len(k.said))
	for _, f := range found {
		t.Error(f)
	}
	if r, err := user.Run(ctx, "cancel", fmt.Sprint(running)); err != nil || r.Code != 0 {
		t.Fatal(err, r.Stderr)
	}
	await(t, ctx, user, running, "done")
	if k.keys.Len() < 100 || files < 20 || len(k.said) < 20 {
		t.Error("that is too little to have looked at")
	}
	private := cluster.Secrets{}
	must(t, private.AddText("an argument", argument))
	must(t, private.AddText("a peer's address", strangerAddr))
	for _, b := range k.blinded {
		must(t, private.Add("a blinded output", b[:]))
	}
	logs, files, err := private.Below(c.Dir, func(name string) bool {
		return own(name) || filepath.Ext(name) != ".log" && !strings.Contains(filepath.Base(name), "book")
	})
	must(t, err)
	for _, f := range logs {
		t.Error(f)
	}
	if files < 7 { // the logs of four daemons, three books
		t.Errorf("only %d logs and books were found", files)
	}
}
