package cli

import (
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
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
)

// mintPath is where a server's mint is, below its URL.
const mintPath = "/mint"

// purse is the wallet in COINOP_HOME with the cluster's mint.
type purse struct {
	*wallet.Wallet
	mint string // its URL
	api  *client.Client
	app  *app
}

// openWallet opens the wallet. Keys of jobs are read from it even where no server answers.
func (a *app) openWallet(ctx context.Context) (*purse, error) {
	if a.purse != nil {
		return a.purse, nil
	}
	collectLess()
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	dir, err := home()
	if err != nil {
		return nil, err
	}
	return a.openPurse(ctx, c, wallet.Config{Dir: filepath.Join(dir, "wallet")})
}

func (a *app) openPurse(ctx context.Context, c *client.Client, config wallet.Config) (*purse, error) {
	if err := os.MkdirAll(filepath.Dir(config.Dir), 0o711); err != nil { // the wallet's own folder below is 0700
		return nil, fmt.Errorf("open wallet: %w", err)
	}
	servers := newMints(a.http, c.Servers())
	config.Mint = func(url string) wallet.MintClient {
		for _, s := range c.Servers() {
			if url == s+mintPath {
				return servers
			}
		}
		return wallet.NewHTTPMint(&http.Client{Timeout: mintWait, Transport: a.http}, url) // another cluster's
	}
	w, err := wallet.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	a.purse = &purse{Wallet: w, mint: c.Servers()[0] + mintPath, api: c, app: a}
	return a.purse, nil
}

// close leaves what was opened: the process ends.
func (a *app) close() error {
	if a.api != nil {
		a.keepSeen(a.api)
	}
	if a.purse == nil {
		return nil
	}
	return a.purse.Leave()
}

// aboutWallet says what to do where the wallet's own file is the trouble.
func aboutWallet(err error) string {
	dir, failed := home()
	if failed != nil {
		return ""
	}
	if advice := wallet.Advice(err, filepath.Join(dir, "wallet")); advice != "" {
		return "\n" + advice
	}
	return ""
}

// money opens the wallet to move coins: what an earlier start left unfinished is sent again first, and change that
// has come is collected.
func (a *app) money(ctx context.Context) (*purse, error) {
	p, err := a.openFinished(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.CollectChange(ctx, p.mint); err != nil {
		return nil, p.unreachable(err)
	}
	return p, nil
}

// openFinished opens the wallet to move coins, and leaves the change of earlier payments for later.
func (a *app) openFinished(ctx context.Context) (*purse, error) {
	p, err := a.openWallet(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.use(ctx); err != nil {
		return nil, err
	}
	return p, p.finish(ctx)
}

// changeWait is how long a command whose work is done still waits for change of earlier ones.
const changeWait = 2 * time.Second

// change is what is collected of earlier payments while another is under way.
type change struct {
	done   chan struct{}
	gained cashu.Units // once done
	err    error       // once done
	stop   context.CancelFunc
}

// collectBeside begins to collect the change of earlier payments. Most payments do without it.
func (p *purse) collectBeside(ctx context.Context) (*change, error) {
	ask, err := p.ChangeToCollect(ctx, p.mint)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	c := &change{done: make(chan struct{}), stop: stop}
	if ask == nil {
		close(c.done)
		return c, nil
	}
	go func() {
		defer close(c.done)
		c.gained, c.err = ask(ctx)
	}()
	return c, nil
}

// wait returns what has come, all of it.
func (c *change) wait() (cashu.Units, error) {
	<-c.done
	return c.gained, c.err
}

// end waits for the rest, but not for a mint that takes its time: the next command asks again, and no more is said.
func (p *purse) end(c *change) {
	late := time.AfterFunc(changeWait, c.stop)
	<-c.done
	late.Stop()
	c.stop()
	if errors.Is(c.err, wallet.ErrForged) {
		p.app.note("%v", c.err)
	}
}

// use makes the cluster's mint known: all servers' addresses are addresses of the one mint.
func (p *purse) use(ctx context.Context) error {
	for _, url := range p.addresses() {
		known, err := p.Knows(ctx, url)
		if err != nil {
			return err
		}
		if !known {
			return p.fetchKeysets(ctx)
		}
	}
	return nil
}

// addresses are the mint's: one at each server.
func (p *purse) addresses() []string {
	var urls []string
	for _, s := range p.api.Servers() {
		urls = append(urls, s+mintPath)
	}
	return urls
}

// public is the URL by which the mint wants to be named; empty where it does not say.
func (p *purse) public(ctx context.Context) string {
	info, err := newMints(p.app.http, p.api.Servers()).Info(ctx)
	if err != nil || len(info.URLs) == 0 {
		return ""
	}
	return info.URLs[0]
}

// fetchKeysets asks the mint for its keysets, which may have changed.
func (p *purse) fetchKeysets(ctx context.Context) error {
	err := p.Use(ctx, p.addresses()...)
	if err == nil {
		return nil
	}
	if _, silent := newMints(p.app.http, p.api.Servers()).Keysets(ctx); silent != nil {
		return p.unreachable(err)
	}
	return err // it does answer, but the wallet does not want it
}

// renewed has something paid, and once more with the mint's newest keysets where it was refused because those that
// are known here are no longer in use.
func (p *purse) renewed(ctx context.Context, pay func() error) error {
	err := pay()
	var (
		problem *client.Problem
		refusal *cashu.Error
	)
	refused := errors.As(err, &problem) && (problem.Code == "keyset_inactive" || problem.Code == "keyset_stopped") ||
		errors.As(err, &refusal) && refusal.Code == cashu.CodeKeysetInactive
	if !refused && !errors.Is(err, wallet.ErrNoKeyset) {
		return err
	}
	if failed := p.fetchKeysets(ctx); failed != nil {
		return errors.Join(err, failed)
	}
	again := pay()
	switch {
	case !errors.Is(again, wallet.ErrNoKeyset):
		return again
	case refused:
		return err // it says more
	}
	return fmt.Errorf("%w: nothing can be paid until its operator makes one, or after a restore says `coinop operator snapshot reconcile`", again)
}

// unreachable gives a failure of the mint's calls the exit code of a cluster that does not answer.
func (p *purse) unreachable(err error) error {
	if wallet.IsRefusal(err) {
		return err
	}
	return &client.Unreachable{Tried: p.attempts(err)}
}

// attempts gives each server its own part of what the mint's calls said.
func (p *purse) attempts(err error) []client.Attempt {
	servers := p.api.Servers()
	parts := joined(err)
	tried := make([]client.Attempt, len(servers))
	for i, s := range servers {
		tried[i] = client.Attempt{Server: strings.TrimPrefix(s, "http://"), Err: parts[min(i, len(parts)-1)]}
	}
	return tried
}

// joined lists what errors.Join has put together.
func joined(err error) []error {
	var several interface{ Unwrap() []error }
	if !errors.As(err, &several) {
		return []error{err}
	}
	var parts []error
	for _, e := range several.Unwrap() {
		parts = append(parts, joined(e)...)
	}
	return parts
}

// finish completes what earlier starts have left.
func (p *purse) finish(ctx context.Context) error {
	if err := p.Resume(ctx); err != nil {
		return fmt.Errorf("finish an earlier payment: %w", err)
	}
	open, err := p.Unfinished(ctx)
	if err != nil {
		return err
	}
	for _, payment := range open {
		if err := p.again(ctx, payment); err != nil {
			return fmt.Errorf("finish %s (%s): %w", payment.Purpose, payment.ID, err)
		}
	}
	return nil
}

// sent is as much of any answer to a payment as the wallet needs.
type sent struct {
	Job uint64 `json:"job"`
	client.PotAnswer
}

// again sends a stored request again, verbatim. A refusal frees its coins.
func (p *purse) again(ctx context.Context, payment wallet.Payment) error {
	var answer sent
	err := p.deliver(ctx, payment, &answer)
	var problem *client.Problem
	switch {
	case errors.As(err, &problem):
		p.app.note("an earlier payment (%s) was refused and its coins are free again: %s", payment.Purpose, problem.Detail)
		return nil
	case err != nil:
		return err
	}
	if answer.Job != 0 {
		p.app.note("an earlier request was repeated: job %d (%s), paid once", answer.Job, payment.Purpose)
	}
	return p.settle(ctx, payment, answer)
}

// deliver sends a stored request and decodes its answer. After a definite refusal the coins are free again; while the
// outcome is unknown they stay reserved, and the next start asks again.
func (p *purse) deliver(ctx context.Context, payment wallet.Payment, answer any) error {
	var o client.Outbound
	if err := json.Unmarshal(payment.Request, &o); err != nil {
		return fmt.Errorf("read stored request: %w", err)
	}
	err := p.api.Send(ctx, o, answer)
	var (
		problem     *client.Problem
		unreachable *client.Unreachable
	)
	refused := errors.As(err, &problem) && problem.Status < 500 && problem.Status != http.StatusTooManyRequests
	never := !payment.Again && (errors.As(err, &unreachable) || errors.As(err, &problem) && problem.Status == http.StatusTooManyRequests)
	if refused || never {
		return errors.Join(err, p.Refused(context.WithoutCancel(ctx), payment.ID))
	}
	return err
}

// stored is a request as the wallet keeps it.
func stored(o client.Outbound, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// pay sends what was prepared and writes the answer down.
func (p *purse) pay(ctx context.Context, payment wallet.Payment, prepared error, answer *sent) error {
	if prepared != nil {
		return moneyShort(prepared)
	}
	if err := p.deliver(ctx, payment, answer); err != nil {
		return err
	}
	return p.settle(ctx, payment, *answer)
}

// settle writes down what an answer has brought.
func (p *purse) settle(ctx context.Context, payment wallet.Payment, answer sent) error {
	ctx = context.WithoutCancel(ctx) // the answer is here: it is written down even after Ctrl-C
	return p.CompleteAs(ctx, payment.ID, int64(answer.Job), answer.Signatures)
}

// jobKey is a job of this wallet with the key that shows it.
type jobKey struct {
	job    uint64
	secret client.Secret
	view   string
}

// jobKeys lists the jobs whose keys lie in this wallet, the newest first.
func (a *app) jobKeys(ctx context.Context) ([]jobKey, error) {
	p, err := a.openWallet(ctx)
	if err != nil {
		return nil, err
	}
	held, err := p.Secrets(ctx, p.mint, "job")
	if err != nil {
		if errors.Is(err, wallet.ErrMintUnknown) {
			return nil, nil
		}
		return nil, err
	}
	var keys []jobKey
	for _, h := range held {
		if h.Number != 0 {
			s := client.Secret(h.Secret)
			keys = append(keys, jobKey{job: uint64(h.Number), secret: s, view: s.Key("view")})
		}
	}
	return keys, nil
}

// key is one of a job's keys, or empty where this wallet has none.
func (a *app) key(ctx context.Context, job uint64, what string) (string, error) {
	p, err := a.openWallet(ctx)
	if err != nil {
		return "", err
	}
	held, err := p.SecretOf(ctx, p.mint, "job", int64(job))
	if errors.Is(err, wallet.ErrNoSecret) || errors.Is(err, wallet.ErrMintUnknown) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return client.Secret(held.Secret).Key(what), nil
}

// viewKey is empty where this wallet has no key: what is public shows anyway.
func (a *app) viewKey(ctx context.Context, job uint64) string {
	key, err := a.key(ctx, job, "view")
	if err != nil {
		a.note("%v", err)
	}
	return key
}

func (a *app) needViewKey(ctx context.Context, job uint64) (string, error) {
	return a.needKey(ctx, job, "view")
}

func (a *app) needControlKey(ctx context.Context, job uint64) (string, error) {
	return a.needKey(ctx, job, "control")
}

func (a *app) needKey(ctx context.Context, job uint64, what string) (string, error) {
	key, err := a.key(ctx, job, what)
	if err != nil || key != "" {
		return key, err
	}
	if a.tokenFile != "" {
		return "", nil // a viewer's or operator's token may do
	}
	c, err := a.connect()
	if err != nil {
		return "", err
	}
	if _, err := c.Job(ctx, job, ""); err != nil {
		return "", err // it does not exist, or no server answers
	}
	dir, _ := home()
	return "", &client.Problem{Status: http.StatusForbidden, Code: "key_wrong",
		Detail: fmt.Sprintf("the wallet in %s has no key for job %d", dir, job),
		Do:     "use the COINOP_HOME that sent the job"}
}

// potPrefix begins a pot's secret as it is written in a file.
const potPrefix = "coinop-pot-1."

// potSecret reads the secret of a pot from @FILE.
func (a *app) potSecret(arg string) (client.Secret, error) {
	text, err := a.secretFile(arg)
	if err != nil {
		return client.Secret{}, err
	}
	secret, ok := strings.CutPrefix(text, potPrefix)
	if !ok {
		return client.Secret{}, usageError{fmt.Errorf("%s holds no pot's secret; `coinop pot create` makes one", strings.TrimPrefix(arg, "@"))}
	}
	return client.ParseSecret(secret)
}

func writeSecretFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
