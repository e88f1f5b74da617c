//go:build e2e

package strangers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coinop/coinop/testbed/cluster"
	"github.com/coinop/coinop/testbed/guide"
)

const pageMax = 4 * time.Minute

// account is run behind the page's blocks: three jobs were charged for, and to the unit the coins that are outstanding
// are those of the two wallets; and the stranger's are good.
const account = `
charged=0
for job in job1 job2 job3; do
  view=$(jq -r .view $job)
  [ "$view" != null ] || view=$(sed 's/.*Bearer //' $job.view)
  receipt=$(curl -fsS -H "Authorization: Bearer $view" $SERVER/v1/jobs/$(jq .job $job)/receipt)
  jq -e '.final and .charged_micro > 0 and .charged_micro % 1000000 == 0' <<<$receipt
  charged=$((charged + $(jq .charged_micro <<<$receipt) / 1000000))
done
left=$(node wallet.mjs balance)
outstanding=$(curl -fsS $SERVER/v1/totals | jq -r '.accounts_micro["liability:coins"] | tonumber | fabs / 1000000')
echo "charged $charged, left $left, outstanding $outstanding"
[ $outstanding = $((left + $(coinop --json wallet balance | jq '.[0].free + .[0].reserved'))) ]
`

// free is run behind it where coins cost no input fee: the wallet has what it was given less what it sent away and what
// the jobs have cost.
const free = `
[ $left = $((500 - 10 - charged)) ]
node wallet.mjs send $left > rest
[ $(node wallet.mjs balance) = 0 ]
coinop wallet receive @rest | grep "$left received"
`

// TestAStrangerPaysForAJob pastes the page into a shell beside a fresh `coinop dev`, with the wallet from npm.
func TestAStrangerPaysForAJob(t *testing.T) {
	ctx, root, c := prepare(t)
	addr, err := cluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	home := c.Home("home", addr, "")
	if err := c.StartDev(ctx, home); err != nil {
		t.Fatal(err)
	}
	paste(ctx, t, root, c, account+free, append(home.Env(), "SERVER=http://"+addr))
}

// TestAStrangerWithATokenPaysThreeServers does so in a cluster whose pool is trusted and whose coins cost a fee.
func TestAStrangerWithATokenPaysThreeServers(t *testing.T) {
	ctx, root, c := prepare(t)
	if err := errors.Join(c.Plan(3), c.StartServers(ctx)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartExecutor(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	home := c.Operator()
	says := func(args ...string) string {
		r, err := home.Run(ctx, args...)
		if err != nil || r.Code != 0 {
			t.Fatalf("%s: %+v, %v", cluster.Line(args...), r, err)
		}
		return strings.TrimSpace(r.Stdout)
	}
	says("operator", "issue", "1000")
	token := says("operator", "token", "create", "--role", "submit")
	paste(ctx, t, root, c, account, append(home.Env(), "SERVER=http://"+c.Servers[0].HTTP, "SUBMIT_TOKEN="+token))
}

// prepare builds coinop and installs the wallet, and skips where the page's tools are not.
func prepare(t *testing.T) (context.Context, string, *cluster.Cluster) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "jq", "openssl", "node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("docs/strangers.md is not run: there is no %s here", tool)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), pageMax)
	t.Cleanup(cancel)
	root := folder(t)
	install(ctx, t, filepath.Join(root, "work"))
	binary := filepath.Join(root, "bin", "coinop")
	if err := cluster.Build(ctx, "../..", binary); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(filepath.Join(root, "c"), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return ctx, root, c
}

// paste runs the page's blocks and what is appended to them in one shell.
func paste(ctx context.Context, t *testing.T, root string, c *cluster.Cluster, more string, env []string) {
	t.Helper()
	_, all := blocks(t)
	all = append(all, guide.Block{Text: more})
	for i, b := range all {
		if err := os.WriteFile(filepath.Join(root, strconv.Itoa(i)+".sh"), []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", guide.Script(root, all))
	shell.Dir = filepath.Join(root, "work")
	shell.Env = append(env, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = time.Second
	if err := shell.Run(); err != nil {
		now, _ := os.ReadFile(filepath.Join(root, "now"))
		i, _ := strconv.Atoi(strings.TrimSpace(string(now)))
		out, _ := os.ReadFile(filepath.Join(root, strconv.Itoa(i)+".out"))
		for _, p := range c.Running() {
			t.Logf("%s said:\n%s", p.Name, p.LogTail(10))
		}
		t.Fatalf("docs/strangers.md, the block at line %d: %v\n%s\nprinted:\n%s", all[i].Line, errors.Join(err, ctx.Err()), all[i].Text, out)
	}
	out, err := os.ReadFile(filepath.Join(root, strconv.Itoa(len(all)-1)+".out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
}

// folder is a temporary folder that tasks' users can pass through; sockets lie below it, so its name is short.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := cluster.TempDir("coinop-s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// install puts the pinned wallet into a folder. Without a network it cannot be had.
func install(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")
	npm.Dir = dir
	out, err := npm.CombinedOutput()
	if err == nil {
		return
	}
	for _, gone := range []string{"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT"} {
		if strings.Contains(string(out), gone) {
			t.Skipf("docs/strangers.md is not run: npm reaches no registry from here (%s)", gone)
		}
	}
	t.Fatalf("npm ci: %v\n%s", err, out)
}
