package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coinop/coinop/api"
	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/scheduler"
)

// bookOf answers every question with one job of this number.
func bookOf(job uint64, behind bool) *elsewhere {
	return &elsewhere{
		behind: func() bool { return behind }, client: http.DefaultClient,
		peers: func() []string { return nil },
		here: func(_ context.Context, q asked) (told, error) {
			if q.Jobs != nil && q.Jobs.Limit == 0 {
				return told{}, errors.New("a limit is missing")
			}
			return told{
				Jobs: []client.HistoryJob{{Job: job}}, Last: job,
				Events: []machine.Event{{Seq: job, Kind: machine.EventEnded, Hash: [32]byte{1, 2}, Body: []byte{3}}},
			}, nil
		},
	}
}

func serving(t *testing.T, e *elsewhere) string {
	t.Helper()
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s.URL
}

func TestABookThatIsWholeAnswersItself(t *testing.T) {
	e := bookOf(1, false)
	e.peers = func() []string { t.Error("a peer was asked"); return nil }
	if got, err := e.answer(t.Context(), asked{Jobs: &api.HistoryQuery{Limit: 5}}); err != nil || got.Jobs[0].Job != 1 {
		t.Fatal(got, err)
	}
}

func TestABookThatCatchesUpAsksOneThatIsWhole(t *testing.T) {
	late, gone, whole := serving(t, bookOf(7, true)), httptest.NewServer(http.NotFoundHandler()), serving(t, bookOf(2, false))
	gone.Close()
	e := bookOf(1, true)
	e.peers = func() []string { return []string{gone.URL, late, whole} }
	id := scheduler.JobID(9)
	got, err := e.answer(t.Context(), asked{Job: &id})
	if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Job != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if ev := got.Events[0]; ev.Seq != 2 || ev.Kind != machine.EventEnded || ev.Hash != [32]byte{1, 2} || string(ev.Body) != "\x03" || got.Last != 2 {
		t.Errorf("an event has changed on its way: %+v", ev)
	}
}

func TestAQuestionThatFindsTheBookDamagedIsAskedElsewhere(t *testing.T) {
	e, damaged := bookOf(1, false), false
	e.behind = func() bool { return damaged }
	e.here = func(context.Context, asked) (told, error) {
		damaged = true
		return told{}, errors.New("the file is damaged")
	}
	e.peers = func() []string { return []string{serving(t, bookOf(2, false))} }
	if got, err := e.answer(t.Context(), asked{Jobs: &api.HistoryQuery{Limit: 5}}); err != nil || got.Jobs[0].Job != 2 {
		t.Fatal(got, err)
	}
}

func TestWhereNobodyIsWholeWhatIsHereIsTold(t *testing.T) {
	e := bookOf(1, true)
	e.peers = func() []string { return []string{serving(t, bookOf(7, true))} }
	if got, err := e.answer(t.Context(), asked{Jobs: &api.HistoryQuery{Limit: 5}}); err != nil || got.Jobs[0].Job != 1 {
		t.Fatal(got, err)
	}
}

func TestAnotherServersErrorIsNotAnAnswer(t *testing.T) {
	whole := serving(t, bookOf(2, false))
	if _, err := bookOf(1, false).ask(t.Context(), whole, asked{Jobs: &api.HistoryQuery{}}); err == nil {
		t.Fatal("a failure was taken for an empty history")
	}
}
