package book

import (
	"bytes"
	"database/sql"
	"io"
	"net/http"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/coinop/coinop/consensus/machine"
)

type answering []byte

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(a))}, nil
}

// FuzzPull: a peer may answer anything. What is read of it is stable, and a book takes it only if it continues its own chain.
func FuzzPull(f *testing.F) {
	good, err := cbor.Marshal([]machine.Event{{Seq: 1}, {Seq: 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x80})
	f.Add([]byte{0x9f, 0xff})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		peer := HTTPPeer{ID: "s2", Base: "http://peer", Client: &http.Client{Transport: answering(body)}}
		events, err := peer.Events(t.Context(), 0, 100)
		if err != nil {
			if events != nil {
				t.Fatalf("both %d events and %v", len(events), err)
			}
			return
		}
		text, err := cbor.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		var back []machine.Event
		if err := cbor.Unmarshal(text, &back); err != nil || len(back) != len(events) {
			t.Fatalf("%d events come back as %d: %v", len(events), len(back), err)
		}
		var hash [32]byte
		last := uint64(0)
		for i, e := range events { // as append checks them
			want, err := machine.ChainHash(hash, e)
			if err != nil {
				t.Fatal(err)
			}
			if e.Seq != last+1 || e.Hash != want {
				return
			}
			other := e
			other.Amount++
			if changed, err := machine.ChainHash(hash, other); err != nil || changed == want {
				t.Fatalf("event %d with another amount has the same hash: %v", i, err)
			}
			last, hash = e.Seq, e.Hash
		}
	})
}

// FuzzRemains: of a damaged book only what follows the chain is taken, and its events are as they were.
func FuzzRemains(f *testing.F) {
	s := newSource()
	s.happen(f, 0, lives(2)...)
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB)"); err != nil {
		f.Fatal(err)
	}
	bodies := make([][]byte, len(s.all))
	for i, e := range s.all {
		if bodies[i], err = cbor.Marshal(e); err != nil {
			f.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO events VALUES (?, ?)", e.Seq, bodies[i]); err != nil {
			f.Fatal(err)
		}
	}
	r := &remains{path: "aside", db: db}
	last := s.all[len(s.all)-1]
	for i := range bodies {
		f.Add(uint(i), bodies[i])
		f.Add(uint(i), bodies[(i+5)%len(bodies)])
	}
	f.Fuzz(func(t *testing.T, at uint, body []byte) {
		at %= uint(len(bodies))
		set := func(body []byte) {
			if _, err := db.Exec("UPDATE events SET body = ? WHERE seq = ?", body, at+1); err != nil {
				t.Fatal(err)
			}
		}
		set(body)
		defer set(bodies[at])
		list, err := r.Events(t.Context(), 0, len(bodies))
		if err != nil || uint(len(list)) < at {
			t.Fatalf("%d events before number %d, which is another: %v", len(list), at+1, err)
		}
		for i, e := range list {
			if e.Hash != s.all[i].Hash {
				t.Fatalf("event %d is another", i+1)
			}
		}
		if first := r.unbroken(t.Context(), last, 1); first.Hash != s.all[first.Seq-1].Hash {
			t.Fatalf("event %d is said to be whole", first.Seq)
		}
	})
}
