package client

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// errStop ends a stream that the caller wants no more of.
var errStop = errors.New("stop")

// Stop is what a stream's function returns to end the stream without an error.
func Stop() error { return errStop }

// LogQuery says which part of a log is wanted.
type LogQuery struct {
	Job    uint64
	View   string // the view key
	Stream string // stdout or stderr
	Task   int32
	Run    uint64 // zero: the task's newest, and following goes on to later ones
	Offset int64
	Tail   int // lines; zero: all
	Follow bool
}

// Logs calls with each piece of a log, and goes on at another server where a stream breaks.
func (c *Client) Logs(ctx context.Context, q LogQuery, piece func(LogChunk) error) error {
	for empty := 0; ; {
		path := logPath(q)
		got, err := stream(ctx, c, Outbound{Method: http.MethodGet, Path: path, Bearer: q.View}, func(l LogChunk) error {
			q.Run, q.Tail = l.Run, 0
			q.Offset = l.Offset + int64(len(l.Data))
			return piece(l)
		})
		if empty = emptyAgain(empty, got); !isCut(err) || empty > cutsMax {
			return err
		}
	}
}

func logPath(q LogQuery) string {
	v := url.Values{}
	v.Set("task", strconv.Itoa(int(q.Task)))
	if q.Run != 0 {
		v.Set("run", strconv.FormatUint(q.Run, 10))
	}
	if q.Offset != 0 {
		v.Set("offset", strconv.FormatInt(q.Offset, 10))
	}
	if q.Tail != 0 {
		v.Set("tail", strconv.Itoa(q.Tail))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return jobPath(q.Job, "/logs/"+q.Stream) + query(v)
}

// EventQuery says which events are wanted; the zero query is all of them.
type EventQuery struct {
	Job    uint64
	View   string // the job's view key: its money shows too
	After  uint64 // the number of the last event seen
	Follow bool
}

// Events calls with each event, and goes on at another server where a stream breaks.
func (c *Client) Events(ctx context.Context, q EventQuery, event func(Event) error) error {
	for empty := 0; ; {
		base := "/v1/events"
		if q.Job != 0 {
			base = jobPath(q.Job, "/events")
		}
		v := url.Values{}
		v.Set("after", strconv.FormatUint(q.After, 10))
		if q.Follow {
			v.Set("follow", "true")
		}
		got, err := stream(ctx, c, Outbound{Method: http.MethodGet, Path: base + query(v), Bearer: q.View}, func(e Event) error {
			q.After = e.Seq
			return event(e)
		})
		if empty = emptyAgain(empty, got); !isCut(err) || empty > cutsMax {
			return err
		}
	}
}

// cutError is a stream that broke: what follows can be had from another server.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }

func (e *cutError) Unwrap() error { return e.err }

func isCut(err error) bool {
	var cut *cutError
	return errors.As(err, &cut)
}

// cutsMax is how often in a row a stream may break before its first line.
const cutsMax = 3

func emptyAgain(empty, got int) int {
	if got > 0 {
		return 0
	}
	return empty + 1
}

// stream reads lines of JSON until the end, and says how many there were.
func stream[T any](ctx context.Context, c *Client, o Outbound, each func(T) error) (int, error) {
	resp, err := c.open(ctx, o, "application/x-ndjson")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(resp.Body))
	for n := 0; ; n++ {
		var line T
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return n, nil
		case ctx.Err() != nil:
			return n, ctx.Err()
		case err != nil:
			return n, &cutError{fmt.Errorf("read %s from %s: %w", o.Path, resp.Request.URL.Host, err)}
		}
		if err := each(line); errors.Is(err, errStop) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// Blob writes the bytes of a digest to w.
func (c *Client) Blob(ctx context.Context, digest string, bearer string, w io.Writer) (int64, error) {
	return c.copyTo(ctx, Outbound{Method: http.MethodGet, Path: "/v1/blobs/" + digest, Bearer: bearer}, w)
}

// HasBlob reports whether the servers have these bytes.
func (c *Client) HasBlob(ctx context.Context, digest string) (bool, error) {
	resp, err := c.open(ctx, Outbound{Method: http.MethodHead, Path: "/v1/blobs/" + digest}, "*/*")
	var problem *Problem
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// PutBlob sends bytes that a job's inputs will name. Open is called again where a server breaks off.
func (c *Client) PutBlob(ctx context.Context, digest [32]byte, size int64, open func() (io.ReadCloser, error)) error {
	path := "/v1/blobs/" + hex.EncodeToString(digest[:])
	var tried []Attempt
	_, first := c.position()
	for i := range c.servers {
		n := (first + i) % len(c.servers)
		body, err := open()
		if err != nil {
			return fmt.Errorf("open what is to be sent as %s: %w", path, err)
		}
		// The transport closes the body, whatever happens.
		req, err := c.request(ctx, n, http.MethodPut, path, body)
		if err != nil {
			return errors.Join(err, body.Close())
		}
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
		resp, err := c.do(req, n)
		if err == nil {
			return resp.Body.Close()
		}
		var problem *Problem
		if errors.As(err, &problem) && problem.Status != http.StatusServiceUnavailable || ctx.Err() != nil {
			return err
		}
		tried = append(tried, Attempt{c.servers[n], err})
	}
	return &Unreachable{Tried: tried}
}

func (c *Client) copyTo(ctx context.Context, o Outbound, w io.Writer) (int64, error) {
	resp, err := c.open(ctx, o, "*/*")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, resp.Body)
	if err != nil {
		return n, fmt.Errorf("read %s from %s: %w", o.Path, resp.Request.URL.Host, err)
	}
	return n, nil
}
