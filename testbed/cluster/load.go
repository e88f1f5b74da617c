package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/coinop/coinop/api/client"
)

// Load is jobs that many senders submit at once, paid from a pot. A request without an answer is sent again until it
// has one: all that was sent was acknowledged, or the load has failed.
type Load struct {
	APIs      []*client.Client // senders take them in turn
	Pot       client.Secret
	Job       func(n uint64) client.JobSpec // the nth
	Senders   int
	PerSecond int              // at most; zero: as many as are answered
	Accepted  func(Submission) // is called by all senders
}

// Submission is a job that was acknowledged.
type Submission struct {
	Request  client.Outbound
	Secret   client.Secret
	Answer   client.SubmitAnswer
	Accepted time.Time
}

// Start begins to send. What it returns ends that, waits for all answers, and says what was refused first; it may be
// called again.
func (l Load) Start(ctx context.Context) (halt func() error) {
	group, ctx := errgroup.WithContext(ctx)
	stop := make(chan struct{})
	var n atomic.Uint64
	for i := range l.Senders {
		group.Go(func() error { return l.send(ctx, i, stop, &n) })
	}
	return sync.OnceValue(func() error {
		close(stop)
		return group.Wait()
	})
}

// send is the ith sender.
func (l Load) send(ctx context.Context, i int, stop <-chan struct{}, n *atomic.Uint64) error {
	var turn <-chan time.Time
	if l.PerSecond > 0 {
		tick := time.NewTicker(time.Second * time.Duration(l.Senders) / time.Duration(l.PerSecond))
		defer tick.Stop()
		turn = tick.C
	}
	for {
		if turn != nil {
			select {
			case <-turn:
			case <-stop:
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
		s, err := l.one(ctx, l.APIs[i%len(l.APIs)], n.Add(1))
		if err != nil {
			return err
		}
		l.Accepted(s)
	}
}

func (l Load) one(ctx context.Context, api *client.Client, n uint64) (s Submission, err error) {
	s.Secret = client.NewSecret()
	r := client.SubmitRequest{Pot: l.Pot.Key("fund"), Keys: s.Secret.Keys(), Job: l.Job(n)}
	if s.Request, err = client.PrepareSubmit(ulid.Make().String(), l.Pot.Key("spend"), r); err != nil {
		return s, err
	}
	err = api.Send(ctx, s.Request, &s.Answer)
	s.Accepted = time.Now()
	return s, err
}

// APIs are clients with the operator's token, one for each server: it asks that one first.
func (c *Cluster) APIs(patience time.Duration) ([]*client.Client, error) {
	token, err := os.ReadFile(c.TokenFile())
	if err != nil {
		return nil, fmt.Errorf("read the operator's token: %w", err)
	}
	addrs := strings.Split(c.Addr(), ",")
	var list []*client.Client
	for i := range addrs {
		api, err := client.New(client.Config{
			Servers: slices.Concat(addrs[i:], addrs[:i]), Token: strings.TrimSpace(string(token)), Patience: patience,
		})
		if err != nil {
			return nil, err
		}
		list = append(list, api)
	}
	return list, nil
}
