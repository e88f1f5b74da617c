package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// body bounds how much a client sends, and how long it takes.
func (a *API) body(w *answerWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	body := &timedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), out: w, limits: &a.limits, bytes: r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v1/blobs/")}
	body.extend()
	if !body.bytes {
		body.ReadCloser = http.MaxBytesReader(w, r.Body, a.limits.BodyBytes)
	}
	r.Body = body
}

// timedBody is a body that has to come in time: JSON as a whole, and of no more values than any request has; a blob's
// bytes each piece by itself. What is not taken in time needs no memory here.
type timedBody struct {
	io.ReadCloser
	conn   *http.ResponseController
	out    *answerWriter
	limits *Limits
	bytes  bool // a blob's

	values int
	inText bool // within quotation marks
	escape bool // after a backslash there
}

// extend allows that much time from now, also for the word that the client may begin. A connection without deadlines is
// a test's.
func (b *timedBody) extend() {
	at := time.Now().Add(b.limits.BodyTime)
	_ = b.conn.SetReadDeadline(at)
	_ = b.conn.SetWriteDeadline(at)
}

// Read is part of [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	if b.bytes {
		b.extend()
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // it is the word itself
		_ = b.conn.SetReadDeadline(time.Time{}) // what is read from now on is only whether the client is still there
	}
	var large *http.MaxBytesError
	many := !b.bytes && !b.few(p[:n])
	b.out.large = b.out.large || many || errors.As(err, &large)
	if many {
		return 0, fail(codeTooLarge, "more than %d values in one request", b.limits.ValuesMax)
	}
	return n, err
}

// few counts values as they come in: of small ones a body has hundreds of thousands, each a hundred times as large once
// it is read.
func (b *timedBody) few(piece []byte) bool {
	for _, c := range piece {
		switch {
		case b.escape:
			b.escape = false
		case b.inText && c == '\\':
			b.escape = true
		case c == '"':
			b.inText = !b.inText
		case !b.inText && (c == ',' || c == '[' || c == '{'):
			b.values++
		}
	}
	return b.values <= b.limits.ValuesMax
}
