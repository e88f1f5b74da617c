package machine

import (
	"bytes"
	"errors"
	"testing"
)

// A new format waits until every server can read it, and who cannot read the present one is not let in.
func TestAFormatWaitsForTheSlowestServer(t *testing.T) {
	w := newWorld(t)
	w.play(splitWords("init"))
	for _, step := range []struct{ line, want string }{
		{"format 2", "stale"}, // nobody is there who reads it
		{"server s1 reads=0", "format"},
		{"server s1 reads=1", "1 servers"},
		{"format 1", "format 1"},
		{"format 0", "stale"},
		{"format 2", "stale"},
		{"format 1", "format 1"},
	} {
		if got := w.play(splitWords(step.line)); got != step.want {
			t.Errorf("%s: %s, want %s", step.line, got, step.want)
		}
	}
}

// A build that is older than the cluster's format makes nothing of the entry that raised it: whatever it made, the
// others have made something else.
func TestAnOlderBuildStopsWhereTheFormatWasRaised(t *testing.T) {
	w := newWorld(t)
	w.play(splitWords("init"))
	w.play(splitWords("server s1 reads=2"))
	before := w.m.View()
	r := w.apply(Format{Format: FormatMax + 1})
	after := w.m.View()
	if !errors.Is(r.Newer, ErrNewer) || len(r.Events) != 0 {
		t.Errorf("%+v", r)
	}
	if after.Index() != before.Index() || after.Sum() != before.Sum() || after.At() != before.At() || after.Format() != FormatMax {
		t.Errorf("entry %d became entry %d of format %d", before.Index(), after.Index(), after.Format())
	}
	if r := w.apply(Init{Format: FormatMax + 1}); r.Newer != nil || r.Code != CodeNotFirst {
		t.Errorf("a second first entry: %+v", r)
	}
	if r := New().Apply(1, encoded(t, Init{Cluster: ClusterID{1}, Unit: "credit", Format: FormatMax + 1, Operator: TokenHash{1}})); !errors.Is(r.Newer, ErrNewer) {
		t.Errorf("a first entry: %+v", r)
	}
}

func encoded(t *testing.T, c Command) []byte {
	t.Helper()
	entry, err := Encode(dayOne, c)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// A snapshot of a newer build is named as such, whatever else in it is unknown here.
func TestASnapshotOfANewerBuildIsNamed(t *testing.T) {
	w := begun(t)
	if err := Readable(bytes.NewReader(snapshotOf(t, w.m))); err != nil {
		t.Error(err)
	}
	w.m.state.meta.Format, w.m.view = FormatMax+1, nil
	tomorrow := snapshotOf(t, w.m)
	var out bytes.Buffer
	d := dumperTo(&out)
	d.write([]byte(snapshotMagic))
	d.write([]byte{snapshotMetaMark})
	d.item(map[int]any{3: FormatMax + 1, 99: "what nobody knows"})
	if err := d.out.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, snapshot := range map[string][]byte{"known": tomorrow, "unknown": out.Bytes()} {
		if err := Readable(bytes.NewReader(snapshot)); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
		if m, err := Restore(bytes.NewReader(snapshot)); m != nil || !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Readable(bytes.NewReader(tomorrow[:5])); err == nil || errors.Is(err, ErrNewer) {
		t.Errorf("what is no snapshot: %v", err)
	}
}
