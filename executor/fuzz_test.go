package executor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/coinop/coinop/executor/wire"
)

// FuzzJournal: behind whatever a crash has left, a line can be written and is read again, with all that was read before.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	l := layout{dir}
	if err := os.MkdirAll(l.run(7), 0o700); err != nil {
		f.Fatal(err)
	}
	spec, err := protojson.Marshal(&wire.Spec{Job: 1, Argv: []string{"true"}, Driver: "process"})
	if err != nil {
		f.Fatal(err)
	}
	var good []byte
	for _, next := range []line{
		{Run: 7, Task: "t-7", Spec: spec}, {Run: 7, Starting: "boot"}, {Run: 7, Started: true},
		{Run: 7, End: &endRecord{Boot: "boot", StartedBoot: 5, Status: []byte(`{"state":"RUN_STATE_ENDED"}`)}},
	} {
		text, err := json.Marshal(next)
		if err != nil {
			f.Fatal(err)
		}
		good = fmt.Appendf(good, "%s %s\n", sumOf(text), text)
		f.Add(bytes.Clone(good))
		f.Add(bytes.Clone(good[:len(good)-3]))
	}
	f.Add([]byte(sumOf([]byte(`{"run":7,"end":{}}`)) + ` {"run":7,"end":{}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(l.journal(7), data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := l.read(7)
		if err != nil {
			if j != nil {
				t.Fatalf("both a journal and %v", err)
			}
			return
		}
		if j.size > int64(len(data)) || j.spec == nil && j.end == nil && j.damage == nil {
			t.Fatalf("%d bytes of %d, spec %v", j.size, len(data), j.spec)
		}
		if j.spec == nil {
			return // all that is ever written behind it is its end
		}
		if err := l.write(j, line{Starting: "next"}); err != nil {
			t.Fatal(err)
		}
		again, err := l.read(7)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (again.starting != "next" || again.size < j.size || again.task != j.task || !proto.Equal(again.spec, j.spec)) {
			t.Fatalf("after one more line: %+v, %v", again, err)
		}
	})
}

// FuzzSeen: only what was written is read.
func FuzzSeen(f *testing.F) {
	good, err := seen{"c", 3, 4}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("00000000 {}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := seen{"was", 1, 2}
		s := before
		if err := s.decode(text); err != nil {
			if s != before {
				t.Fatalf("%v, and yet it is %+v", err, s)
			}
			return
		}
		if again, err := s.encode(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q was read, %q is written: %v", text, again, err)
		}
	})
}

// FuzzDesired: orders of any form never take back what was seen, and a set that is refused changes nothing.
func FuzzDesired(f *testing.F) {
	for _, d := range []*wire.Desired{
		{Cluster: "c", Term: 5, Applied: 9, LeaseMs: 60_000}, {Cluster: "c", Term: 4, Applied: 9}, {Cluster: "other", Term: 9, Applied: 9}, {},
		{Cluster: "c", Term: 5, Applied: 10, Same: true, AtUnixMs: 1},
	} {
		b, err := proto.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d wire.Desired
		if proto.Unmarshal(data, &d) != nil {
			return
		}
		s := seen{"c", 5, 8}
		err := s.check(&d)
		older := d.GetCluster() != "c" || d.GetTerm() < 5 || d.GetApplied() < 8
		if older != (err != nil) || err != nil && !errors.Is(err, errStale) && !errors.Is(err, errOtherCluster) {
			t.Fatalf("%v: %v", &d, err)
		}
		next := seen{d.GetCluster(), d.GetTerm(), d.GetApplied()}
		text, err := next.encode()
		if err != nil {
			return
		}
		var back seen
		if err := back.decode(text); err != nil || back != next {
			t.Fatalf("%+v was written and %+v read: %v", next, back, err)
		}
	})
}

// FuzzServers: of whatever the list of servers became, what is taken is addresses, which are written and read again.
func FuzzServers(f *testing.F) {
	for _, text := range []string{"", "10.0.0.1:2771\n[fe80::1%eth0]:2771\n", "no address\n:1", "\xff\n\x00 ", "a:1\x00\n", "a:1\rb:2\u2028c:3"} {
		f.Add([]byte(text))
	}
	l := layout{f.TempDir()}
	read := func(t *testing.T) []string {
		e := &Executor{layout: l}
		if err := e.openServers(); err != nil {
			t.Fatal(err)
		}
		return e.told
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(l.serversFile(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		list := read(t)
		for _, address := range list {
			if _, _, err := net.SplitHostPort(address); err != nil {
				t.Fatalf("%q is a server: %v", address, err)
			}
		}
		(&Executor{layout: l}).learn(list)
		if again := read(t); !slices.Equal(again, list) {
			t.Fatalf("%q was written and %q read", list, again)
		}
	})
}
