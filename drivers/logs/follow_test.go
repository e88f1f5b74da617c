package logs

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// Somebody follows a log from before its first byte; the writer goes on only after what it wrote was seen.
func TestFollowSeesAllOfAGrowingLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	seen := make(chan string)
	ended := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- Follow(t.Context(), path, 0, ended, func(c Chunk) error {
			seen <- string(c.Data)
			return nil
		})
	}()
	w, err := newWriter(path, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	for _, text := range []string{"one ", "two ", "3"} {
		if err := w.write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		for got := ""; got != text; {
			got += <-seen
		}
	}
	if err := w.write([]byte("the last words")); err != nil {
		t.Fatal(err)
	}
	close(ended)
	var rest string
	for {
		select {
		case s := <-seen:
			rest += s
			continue
		case err := <-done:
			if err != nil || rest != "tlast words" { // the head is full after the t, the tail holds ten
				t.Errorf("%q, %v", rest, err)
			}
		}
		return
	}
}

func TestFollowStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Follow(ctx, path, 0, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w, err := newWriter(path, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	if err := w.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the reader has had enough")
	if err := Follow(t.Context(), path, 0, nil, func(Chunk) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
