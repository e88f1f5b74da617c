package server

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand heartbeats a second are not a thousand questions to every other server, and none is answered by a question
// that was asked before it came.
func TestManyReportsShareAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reports = 1000
		var asked []time.Time
		v := newVerifier(func(context.Context) error {
			asked = append(asked, time.Now())
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		go v.run(ctx)
		time.Sleep(time.Minute)
		answered, began := 0, time.Now()
		for range reports {
			came := time.Now()
			v.after(ctx, func() {
				answered++
				if last := asked[len(asked)-1]; last.Before(came) {
					t.Errorf("a report of %v is answered by a question of %v", came.Sub(began), last.Sub(began))
				}
			})
			time.Sleep(time.Second / reports)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if most := int(time.Second/verifyGap) + 1; answered != reports || len(asked) > most {
			t.Errorf("%d reports of %d got their lease, by %d questions; want at most %d", answered, reports, len(asked), most)
		}
		if !asked[0].Equal(began) {
			t.Errorf("after a quiet moment a report waited for %v", asked[0].Sub(began))
		}
		cancel()
		synctest.Wait()
	})
}

func TestALostQuestionGrantsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("not the leader")
		v := newVerifier(func(context.Context) error { return lost })
		ctx, cancel := context.WithCancel(t.Context())
		go v.run(ctx)
		v.after(ctx, func() { t.Error("a lease though leadership was in doubt") })
		time.Sleep(time.Second)
		synctest.Wait()
		lost = nil
		granted := false
		v.after(ctx, func() { granted = true })
		time.Sleep(time.Second)
		synctest.Wait()
		if !granted {
			t.Error("no lease though leadership was verified")
		}
		cancel()
		synctest.Wait()
	})
}
