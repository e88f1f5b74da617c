package source

import (
	"context"
	"time"
)

// pauses counts how often in a row something has failed.
type pauses struct{ tries int }

const (
	triesMax  = 5
	firstWait = 200 * time.Millisecond // twice as long each time
)

// wait lets some time pass before the next try, or returns the error if there is to be none.
func (p *pauses) wait(ctx context.Context, err error, again func(error) bool) error {
	if p.tries++; p.tries >= triesMax || !again(err) {
		return err
	}
	timer := time.NewTimer(firstWait << (p.tries - 1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
