package inproc

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"context"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
)

const userHost = "user"

// User is somebody with the operator's token and a wallet.
type User struct {
	API    *client.Client
	Wallet *wallet.Wallet
	Mint   string // its URL, at the first server

	cluster *Cluster
	http    *http.Client
}

// Job is a submission and the secret that holds it.
type Job struct {
	client.SubmitAnswer
	Secret client.Secret
}

func (c *Cluster) newUser() *User {
	c.T.Helper()
	u := &User{cluster: c, http: c.httpFrom(userHost)}
	u.API = c.apiOf(u.http, c.Servers...)
	u.Mint = "http://" + c.Servers[0].Config.HTTP + "/mint"
	var err error
	u.Wallet, err = wallet.Open(c.T.Context(), wallet.Config{
		Dir: filepath.Join(c.dir, "wallet"), Mint: func(url string) wallet.MintClient { return wallet.NewHTTPMint(u.http, url) },
	})
	if err != nil {
		c.T.Fatal(err)
	}
	return u
}

func (c *Cluster) httpFrom(name string) *http.Client {
	host := c.Mesh.Host(name)
	return &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, addr string) (net.Conn, error) { return host.Dial(ctx, addr) },
		ResponseHeaderTimeout: time.Minute, MaxIdleConnsPerHost: 64,
	}}
}

// apiOf talks to some of the servers with the operator's token.
func (c *Cluster) apiOf(h *http.Client, servers ...*Server) *client.Client {
	c.T.Helper()
	token, err := os.ReadFile(filepath.Join(c.Servers[0].Config.Dir, "operator.token"))
	if err != nil {
		c.T.Fatal(err)
	}
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, "http://"+s.Config.HTTP)
	}
	api, err := client.New(client.Config{Servers: addrs, Token: strings.TrimSpace(string(token)), HTTP: h, Patience: patience})
	if err != nil {
		c.T.Fatal(err)
	}
	return api
}

func (c *Cluster) joinToken(role string) string {
	c.T.Helper()
	h := c.httpFrom(userHost)
	defer h.CloseIdleConnections()
	answer, err := c.apiOf(h, c.Servers...).CreateToken(c.T.Context(), client.TokenRequest{Role: role})
	if err != nil {
		c.T.Fatal(err)
	}
	return answer.Token
}

func (u *User) close() {
	u.http.CloseIdleConnections()
	if err := u.Wallet.Close(); err != nil {
		u.cluster.T.Error(err)
	}
}

// must fails the story.
func (u *User) must(err error) {
	u.cluster.T.Helper()
	if err != nil {
		u.cluster.T.Fatal(err)
	}
}

// Issue fills the wallet.
func (u *User) Issue(units int64) {
	u.cluster.T.Helper()
	ctx := u.cluster.T.Context()
	u.must(u.Wallet.Use(ctx, u.Mint))
	lock, err := u.Wallet.NewQuoteKey(ctx)
	u.must(err)
	quote, err := u.API.Issue(ctx, ulid.Make().String(), client.IssueRequest{Units: units, Pubkey: lock})
	u.must(err)
	_, err = u.Wallet.Issue(ctx, u.Mint, "voucher", quote)
	u.must(err)
}

// Pot opens a pot with coins of the wallet.
func (u *User) Pot(units int64) client.Secret {
	u.cluster.T.Helper()
	return u.pays(wallet.Order{Pay: cashu.Units(units), Purpose: "a pot", Path: "/v1/pots", SecretKind: "pot"}, func(d wallet.Draft) (client.Outbound, error) {
		return client.PreparePot(d.ID, client.PotRequest{
			Keys: client.Secret(d.Secret).Keys(), Payment: client.Payment{Pay: units, Inputs: d.Inputs, Outputs: d.Outputs, Blanks: d.Blanks},
		})
	})
}

// Fund pays coins of the wallet into a pot, for good.
func (u *User) Fund(pot client.Secret, units int64) {
	u.cluster.T.Helper()
	path := "/v1/funds/" + pot.Key("fund") + "/deposits"
	u.pays(wallet.Order{Pay: cashu.Units(units), Purpose: "more money", Path: path, SecretKind: "deposit"}, func(d wallet.Draft) (client.Outbound, error) {
		return client.PrepareDeposit(pot.Key("fund"), d.ID, "", client.DepositRequest{
			Payment: client.Payment{Pay: units, Inputs: d.Inputs, Outputs: d.Outputs}, Donate: true,
		})
	})
}

// pays sends coins with a request and takes what comes back at once; it gives the secret that the request was made with.
func (u *User) pays(order wallet.Order, prepare func(wallet.Draft) (client.Outbound, error)) client.Secret {
	u.cluster.T.Helper()
	ctx := u.cluster.T.Context()
	order.Mint, order.Method = u.Mint, "POST"
	p, err := u.Wallet.Prepare(ctx, order, func(d wallet.Draft) ([]byte, error) {
		o, err := prepare(d)
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
	u.must(err)
	var o client.Outbound
	u.must(json.Unmarshal(p.Request, &o))
	var answer client.PotAnswer
	u.must(u.API.Send(ctx, o, &answer))
	u.must(u.Wallet.Complete(ctx, p.ID, answer.Signatures))
	return client.Secret(p.Secret)
}

// Spec is a task of the fake driver that wants little.
func Spec(argv ...string) client.JobSpec {
	return client.JobSpec{CPUMilli: 1000, MemoryBytes: 64 << 20, TimeMs: 3_600_000, BidMicro: 2_000_000, Command: argv}
}

// PrepareFrom makes a submission that a pot pays for.
func (u *User) PrepareFrom(pot client.Secret, spec client.JobSpec) (client.Outbound, client.Secret) {
	u.cluster.T.Helper()
	secret := client.NewSecret()
	o, err := client.PrepareSubmit(ulid.Make().String(), pot.Key("spend"), client.SubmitRequest{
		Job: spec, Keys: secret.Keys(), Pot: pot.Key("fund"),
	})
	u.must(err)
	return o, secret
}

// Submit sends a job that a pot pays for.
func (u *User) Submit(pot client.Secret, spec client.JobSpec) Job {
	u.cluster.T.Helper()
	o, secret := u.PrepareFrom(pot, spec)
	job := Job{Secret: secret}
	u.must(u.API.Send(u.cluster.T.Context(), o, &job.SubmitAnswer))
	return job
}

// Show is the job with what its owner sees.
func (u *User) Show(j Job) client.Job {
	u.cluster.T.Helper()
	job, err := u.API.Job(u.cluster.T.Context(), j.Job, j.Secret.Key("view"))
	u.must(err)
	return job
}

// Await waits for a job's state.
func (u *User) Await(j Job, state string) client.Job {
	u.cluster.T.Helper()
	var job client.Job
	u.cluster.Until(job.State+" becomes "+state, func() bool {
		job = u.Show(j)
		return job.State == state
	})
	return job
}

// Receipt is what a job has cost.
func (u *User) Receipt(j Job) client.Receipt {
	u.cluster.T.Helper()
	r, err := u.API.Receipt(u.cluster.T.Context(), j.Job, j.Secret.Key("view"))
	u.must(err)
	return r
}
