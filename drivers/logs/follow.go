package logs

import (
	"context"
	"time"
)

// How often a quiet log is looked at. A kernel watch would be quicker, and a user may have only 128 of them.
const (
	lookAgain   = 20 * time.Millisecond
	lookAgainTo = 500 * time.Millisecond
	followChunk = 64 << 10
)

// Follow passes a stream on from offset as it grows. It returns when ended is closed and all has been passed on, when ctx ends,
// or with the error of each.
func Follow(ctx context.Context, path string, offset int64, ended <-chan struct{}, each func(Chunk) error) error {
	wait := lookAgain
	for {
		last := false
		select {
		case <-ended: // before reading, so that nothing written earlier is missed
			last = true
		default:
		}
		chunk, err := Read(path, offset, followChunk)
		if err != nil {
			return err
		}
		offset = chunk.Next
		if len(chunk.Data) > 0 {
			if err := each(chunk); err != nil {
				return err
			}
			wait = lookAgain
			continue
		}
		if last {
			return nil
		}
		select {
		case <-ended:
		case <-time.After(wait):
			wait = min(2*wait, lookAgainTo)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
