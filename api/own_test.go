package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

// filled is a pot of a user's that holds a million.
func (w *world) filled() client.Secret {
	w.t.Helper()
	p, secret := w.purse(), client.NewSecret()
	coins := p.issue(1_000_000)
	if _, err := w.c.CreatePot(w.t.Context(), newKey(), client.PotRequest{
		Keys: secret.Keys(), Payment: client.Payment{Pay: worth(coins), Inputs: coins, Blanks: p.blanks(20)},
	}); err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// from submits a job that a pot pays for, without HTTP.
func (w *world) from(pot client.Secret, label string) client.JobKey {
	w.t.Helper()
	job := client.NewSecret()
	hash := func(s client.Secret, key string) funding.KeyHash { return sha256.Sum256([]byte(s.Key(key))) }
	fundOf := func(s client.Secret) (id funding.FundID) {
		if _, err := hex.Decode(id[:], []byte(s.Key("fund"))); err != nil {
			w.t.Fatal(err)
		}
		return id
	}
	work, err := scheduler.Work{Name: "of many", Argv: []string{"true"}, Labels: map[string]string{"team": label}}.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	found, ok := w.View().PotByFund(fundOf(pot))
	if !ok {
		w.t.Fatal("there is no such pot")
	}
	var answer machine.SubmitAnswer
	r := w.does(&machine.Submit{
		Request: machine.RequestID{Key: ulid.Make(), Fingerprint: hash(job, "fund")}, Loopback: true, Pool: 1, Pot: found.ID, Spend: hash(pot, "spend"),
		Keys: funding.Keys{Control: hash(job, "control"), View: hash(job, "view"), Spend: hash(job, "spend"), Claim: hash(job, "claim"), Fund: fundOf(job)},
		Work: work, Driver: "process", Bid: 1_000_000, TimeLimit: 1000,
		Need: scheduler.Resources{CPUMilli: 1000, Memory: 64 << 20}, Mode: funding.Safe,
	})
	if err := machine.DecodeAnswer(r.Answer, &answer); err != nil {
		w.t.Fatal(err)
	}
	return client.JobKey{Job: uint64(answer.Job), Key: job.Key("view")}
}

func TestOwnersSeeTheirJobsByLabel(t *testing.T) {
	w := newWorld(t, nil)
	ours, theirs := w.filled(), w.filled()
	film, other := w.from(ours, "film"), w.from(ours, "other")
	stranger := w.from(theirs, "film")
	guessed := client.JobKey{Job: stranger.Job, Key: film.Key}
	none := client.JobKey{Job: 99, Key: film.Key}
	asks := func(r client.OwnRequest, want ...uint64) {
		t.Helper()
		r.Jobs = []client.JobKey{other, guessed, none, film}
		list, err := w.c.OwnJobs(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, j := range list.Jobs {
			if got = append(got, j.Job); j.Private == nil || j.Private.Name != "of many" {
				t.Errorf("job %d shows nothing private", j.Job)
			}
		}
		if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("%+v: %v, want %v", r, got, want)
		}
	}
	asks(client.OwnRequest{}, other.Job, film.Job)
	asks(client.OwnRequest{Labels: map[string]string{"team": "film"}}, film.Job)
	asks(client.OwnRequest{Labels: map[string]string{"team": "film", "shot": "1"}})
	asks(client.OwnRequest{State: "running"})
	w.runJob(film.Job, 1000)
	if j, err := w.c.WaitJob(t.Context(), film.Job, film.Key, 0); err != nil || j.State != "done" { // lists are as young as what was told
		t.Fatalf("%+v, %v", j, err)
	}
	asks(client.OwnRequest{}, other.Job)
	asks(client.OwnRequest{All: true, Labels: map[string]string{"team": "film"}}, film.Job)
}

func TestAPotsJobsAreListed(t *testing.T) {
	w := newWorld(t, nil)
	ours, theirs := w.filled(), w.filled()
	a, _, b := w.from(ours, "x"), w.from(theirs, "x"), w.from(ours, "x")
	list, err := w.c.Jobs(t.Context(), client.JobFilter{Fund: ours.Key("fund")})
	if err != nil || len(list.Jobs) != 2 || list.Jobs[0].Job != a.Job || list.Jobs[1].Job != b.Job {
		t.Errorf("a pot's jobs: %+v, %v", list, err)
	}
	if list.Jobs[0].Private != nil || strings.Contains(mustJSON(t, list), "of many") {
		t.Error("a fund id shows what is private")
	}
	p, alone := w.purse(), client.NewSecret()
	answer, err := w.c.Submit(t.Context(), newKey(), "", paid(p, p.issue(300), order(alone)))
	if err != nil {
		t.Fatal(err)
	}
	if list, err = w.c.Jobs(t.Context(), client.JobFilter{Fund: alone.Key("fund")}); err != nil || len(list.Jobs) != 1 || list.Jobs[0].Job != answer.Job {
		t.Errorf("the job of its own pot: %+v, %v", list, err)
	}
	_, err = w.c.Jobs(t.Context(), client.JobFilter{Fund: client.NewSecret().Key("fund")})
	wantProblem(t, err, http.StatusNotFound, "pot_unknown")
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// BenchmarkQueueOfOne has 100,000 jobs in the queue. One owner has a hundred of them, whose label is asked for; another has
// a thousand, of which a tenth bear it. Everything is asked for over HTTP and read.
func BenchmarkQueueOfOne(b *testing.B) {
	w := newWorld(b, nil)
	few, many, others := w.filled(), w.filled(), w.filled()
	var hundred, thousand []client.JobKey
	for i := range 100_000 {
		switch i % 1000 {
		case 0:
			hundred = append(hundred, w.from(few, "film"))
		case 10, 20, 30, 40, 50, 60, 70, 80, 90:
			thousand = append(thousand, w.from(many, "other"))
		case 100:
			thousand = append(thousand, w.from(many, "film"))
		default:
			w.from(others, "film")
		}
	}
	own := func(jobs []client.JobKey) func() (client.JobList, error) {
		return func() (client.JobList, error) {
			return w.c.OwnJobs(b.Context(), client.OwnRequest{Jobs: jobs, Labels: map[string]string{"team": "film"}})
		}
	}
	pick := func(f client.JobFilter) func() (client.JobList, error) {
		return func() (client.JobList, error) { return w.c.Jobs(b.Context(), f) }
	}
	for _, c := range []struct {
		name string
		ask  func() (client.JobList, error)
	}{
		{"label", own(hundred)}, {"tenth", own(thousand)}, {"pot", pick(client.JobFilter{Fund: few.Key("fund")})}, {"all", pick(client.JobFilter{Limit: 100})},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if list, err := c.ask(); err != nil || len(list.Jobs) != 100 {
					b.Fatalf("%d jobs: %v", len(list.Jobs), err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms")
		})
	}
}
