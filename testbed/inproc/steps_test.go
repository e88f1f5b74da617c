package inproc

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/funding/wallet"
	"github.com/coinop/coinop/scheduler"
)

// errand is what a client does while servers die: it writes its request down, and sends it until it has the answer.
type errand struct {
	user    *User
	api     *client.Client // begins with the server that it was told to
	request client.Outbound
	answer  client.SubmitAnswer
	job     Job
	fee     cashu.Units
	again   []func() error // checks that the requests get the same answers when they are sent again
}

// paid is what each job of an errand brings.
const paid = 40

// until asks again where the outcome is not known; the request is the same each time.
func (e *errand) send(o client.Outbound, answer any) {
	e.user.cluster.T.Helper()
	e.user.cluster.Until(o.Path+" is answered", func() bool {
		err := e.api.Send(e.user.cluster.T.Context(), o, answer)
		var unknown *client.Unknown
		var unreachable *client.Unreachable
		if errors.As(err, &unknown) || errors.As(err, &unreachable) {
			return false
		}
		e.user.must(err)
		return true
	})
}

// submit pays for a job of two seconds with coins.
func (e *errand) submit(blanks bool) {
	u, spec := e.user, Spec("run", "2s", "0")
	spec.TimeMs = 10_000
	u.cluster.T.Helper()
	ctx := u.cluster.T.Context()
	p, err := u.Wallet.Prepare(ctx, wallet.Order{
		Mint: u.Mint, Pay: paid, Purpose: "a job", Method: "POST", Path: "/v1/jobs", SecretKind: "job", NoBlanks: !blanks,
		Outputs: []cashu.Units{8, 2, 1}, // so that there is something to be signed at once
	}, func(d wallet.Draft) ([]byte, error) {
		o, err := client.PrepareSubmit(d.ID, "", client.SubmitRequest{
			Job: spec, Keys: client.Secret(d.Secret).Keys(),
			Payment: client.Payment{Pay: paid, Inputs: d.Inputs, Outputs: d.Outputs, Blanks: d.Blanks},
		})
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
	u.must(err)
	u.must(json.Unmarshal(p.Request, &e.request))
	e.fee = p.Fee
	e.send(e.request, &e.answer)
	u.must(u.Wallet.Complete(ctx, p.ID, e.answer.Signatures))
	e.job = Job{SubmitAnswer: e.answer, Secret: client.Secret(p.Secret)}
	e.again = append(e.again, func() error {
		var again client.SubmitAnswer
		e.send(e.request, &again)
		if again.Job != e.answer.Job || !reflect.DeepEqual(again.Signatures, e.answer.Signatures) || len(again.Signatures) == 0 {
			return fmt.Errorf("the submission was answered with %+v, and again with %+v", e.answer, again)
		}
		return nil
	})
}

// await asks now and then how the job is.
func (e *errand) await(state string) {
	u := e.user
	u.cluster.T.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		job, err := e.api.Job(u.cluster.T.Context(), e.job.Job, e.job.Secret.Key("view"))
		if err == nil && job.State == state {
			return
		}
		if time.Now().After(late) {
			u.cluster.T.Fatalf("job %d is %s (%v), not %s", e.job.Job, job.State, err, state)
		}
	}
}

// change comes by the blanks.
func (e *errand) change() {
	u := e.user
	u.cluster.T.Helper()
	u.cluster.Until("the change is there", func() bool {
		gained, err := u.Wallet.CollectChange(u.cluster.T.Context(), u.Mint)
		return err == nil && gained > 0
	})
}

// claim takes what is left without blanks.
func (e *errand) claim() {
	u := e.user
	u.cluster.T.Helper()
	ctx, secret := u.cluster.T.Context(), e.job.Secret
	var list client.RefundList
	u.cluster.Until("the refund is there", func() bool {
		var err error
		list, err = e.api.Refunds(ctx, secret.Key("fund"), secret.Key("claim"))
		return err == nil && len(list.Refunds) == 1
	})
	owed := list.Refunds[0]
	p, err := u.Wallet.Prepare(ctx, wallet.Order{
		Mint: u.Mint, Purpose: "a refund", Method: "POST", Path: "/v1/refunds", NoBlanks: true, Free: true,
		Outputs: cashu.Split(cashu.Units(owed.AmountUnits)),
	}, func(d wallet.Draft) ([]byte, error) {
		o, err := client.PrepareClaim(owed.Refund, d.ID, secret.Key("claim"), client.ClaimRequest{Outputs: d.Outputs})
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
	u.must(err)
	var o client.Outbound
	u.must(json.Unmarshal(p.Request, &o))
	var first client.Signatures
	e.send(o, &first)
	u.must(u.Wallet.Complete(ctx, p.ID, first.Signatures))
	e.again = append(e.again, func() error {
		var again client.Signatures
		e.send(o, &again)
		if !reflect.DeepEqual(again, first) || len(first.Signatures) == 0 {
			return fmt.Errorf("the claim was answered with %+v, and again with %+v", first, again)
		}
		return nil
	})
}

// errands are what clients come for, each from its first word to the last coin.
var errands = map[string]func(e *errand){
	"change": func(e *errand) {
		e.submit(true)
		e.await("done")
		e.change()
	},
	"claim": func(e *errand) {
		e.submit(false)
		e.await("done")
		e.claim()
	},
}

// whole says of an errand that was done whether it is one job and one charge, and all money is where it should be.
func (e *errand) whole(before wallet.Balance) error {
	u, c := e.user, e.user.cluster
	c.T.Helper()
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	for _, again := range e.again {
		if err := again(); err != nil {
			fail("%w", err)
		}
	}
	r := u.Receipt(e.job)
	if !r.Final || r.DepositedMicro != paid*micro || r.DepositedMicro != r.ChargedMicro+r.RefundedMicro || r.ChargedMicro <= 0 {
		fail("the receipt: %+v", r)
	}
	starts := 0
	runs := c.history(e.job)
	for _, run := range runs {
		for _, x := range c.Executors {
			starts += x.Starts(run.Run)
		}
	}
	if len(runs) != 1 || starts != 1 || r.BilledMs < 1_990 || r.BilledMs > 2_200 {
		fail("%d runs and %d starts, billed for %d ms", len(runs), starts, r.BilledMs)
	}
	after := c.balance()
	if spent := int64(before.Free) - int64(after.Free) - int64(e.fee); after.Reserved != 0 || spent*micro != r.ChargedMicro {
		fail("charged %d; the wallet had %+v and has %+v", r.ChargedMicro, before, after)
	}
	c.Leader().View().Jobs(scheduler.JobID(e.job.Job)+1, func(j *scheduler.Job) bool {
		fail("job %d is one too many", j.ID)
		return true
	})
	if err := c.Agree(); err != nil {
		fail("%w", err)
	}
	return errors.Join(wrong...)
}

// apiVia asks one server first, and the others after it.
func (c *Cluster) apiVia(first *Server) *client.Client {
	list := []*Server{first}
	for _, s := range c.Servers {
		if s != first {
			list = append(list, s)
		}
	}
	return c.apiOf(c.User.http, list...)
}

const micro = 1_000_000

func (c *Cluster) balance() wallet.Balance {
	c.T.Helper()
	list, err := c.User.Wallet.Balances(c.T.Context())
	c.User.must(err)
	if len(list) != 1 {
		c.T.Fatalf("the wallet has %+v", list)
	}
	return list[0]
}

// walks are whom the client talks to and who is killed at each step.
var walks = map[string]struct {
	first  func(c *Cluster) *Server
	victim func(c *Cluster, maker string) *Server
}{
	"the leader is asked, who takes the step is killed":   {(*Cluster).Leader, (*Cluster).Maker},
	"a follower is asked, who takes the step is killed":   {(*Cluster).Follower, (*Cluster).Maker},
	"a follower is asked, the leader is killed meanwhile": {(*Cluster).Follower, (*Cluster).Leading},
}

// snapshotsSoon has each server take a snapshot of whatever has come, every second, and forget the log before it.
func snapshotsSoon() consensus.Tuning {
	t := tuning()
	t.SnapshotBytes, t.TrailingLogs, t.SegmentBytes = 1, 4, 1<<20
	return t
}

// stride is how many steps lie between those at which a server is killed; COINOP_STRIDE sets it.
func stride(t *testing.T) int {
	t.Helper()
	text := os.Getenv("COINOP_STRIDE")
	if text == "" {
		return strideOtherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("COINOP_STRIDE=%s: want a number of steps from 1", text)
	}
	return n
}

func TestAServerIsKilledAtEachStepAndTheClientAsksAgain(t *testing.T) {
	for what, errandOf := range errands {
		for how, walk := range walks {
			t.Run(what+"/"+how, func(t *testing.T) {
				PlayTuned(t, 3, 1, snapshotsSoon(), func(c *Cluster) {
					c.User.Issue(1_000_000)
					kills := 0
					for n := 1; ; n += stride(t) {
						before := c.balance()
						e := &errand{user: c.User, api: c.apiVia(walk.first(c))}
						taken, killed := c.Walk(n, func(maker string) *Server { return walk.victim(c, maker) }, func() { errandOf(e) })
						if err := e.whole(before); err != nil {
							c.T.Fatalf("%v\n%v was killed at the last of these steps:\n%s", err, killed, lines(taken))
						}
						if killed == nil {
							t.Logf("%d servers were killed, each at one of these steps:\n%s", kills, lines(taken))
							break
						}
						kills++
					}
					if kills == 0 {
						t.Error("nobody was killed")
					}
				})
			})
		}
	}
}

func TestAnErrandThatIsNotWholeIsFound(t *testing.T) {
	Play(t, 3, 1, func(c *Cluster) {
		c.User.Issue(1_000)
		before := c.balance()
		e := &errand{user: c.User, api: c.User.API}
		errands["change"](e)
		if err := e.whole(before); err != nil {
			c.T.Fatal(err)
		}
		found := func(what string, err error, text string) {
			c.T.Helper()
			if err == nil || !strings.Contains(err.Error(), text) {
				c.T.Errorf("%s: %v", what, err)
			}
		}
		poorer := before
		poorer.Free--
		found("a coin is lost", e.whole(poorer), "the wallet had")
		e.answer.Job++
		found("another job", e.whole(before), "answered with")
		e.answer.Job--
		second := &errand{user: c.User, api: c.User.API}
		errands["change"](second)
		found("a second job", e.whole(before), "one too many")
		// A server looks its book through when it starts, and once a day: it would mend this.
		db, err := sql.Open("sqlite3", filepath.Join(c.Servers[1].Config.Dir, "book.db"))
		c.User.must(err)
		_, err = db.Exec("DELETE FROM events WHERE seq = 7")
		c.User.must(errors.Join(err, db.Close()))
		found("a hole in a book", second.whole(before), "does not follow")
	})
}

func lines(taken []Step) string {
	var b strings.Builder
	for i, s := range taken {
		b.WriteString(fmt.Sprintf("%4d %v\n", i+1, s))
	}
	return b.String()
}
