package guest

import (
	"bytes"
	"testing"

	"github.com/coinop/coinop/drivers/shim"
)

func TestFramesComeAsTheyWent(t *testing.T) {
	var b bytes.Buffer
	want := Frame{Channel: 513, Kind: TellErr, Data: []byte("a\x00b")}
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, TellMax)
	if err != nil || got.Channel != want.Channel || got.Kind != want.Kind || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What a machine says can be anything. Nothing of it is taken that is larger than what was agreed.
func TestNoFrameIsTooLarge(t *testing.T) {
	for _, n := range [][]byte{{0xff, 0xff, 0xff, 0xff}, {1, 0x80, 0, 0}} {
		if f, err := Read(bytes.NewReader(append(n, 0, 0, 1, 0)), TellMax); err == nil {
			t.Errorf("%x: %d bytes", n, len(f.Data))
		}
	}
}

func TestEntriesLieBelowTheWorkFolder(t *testing.T) {
	for _, path := range []string{"", ".", "..", "/etc/passwd", "../x", "a/../../x", "a/..", "a//b", "a/./b", "a/", string(bytes.Repeat([]byte("x"), 4096))} {
		if e, err := DecodeEntry(Entry{Type: Plain, Path: path}.Encode()); err == nil {
			t.Errorf("%.20q: %+v", path, e)
		}
	}
	for _, e := range []Entry{{Type: 0, Path: "x"}, {Type: Link + 1, Path: "x"}, {Type: Plain, Bytes: -1, Path: "x"}} {
		if got, err := DecodeEntry(e.Encode()); err == nil {
			t.Errorf("%+v", got)
		}
	}
	good := Entry{Type: Link, Mode: 0o7755, Path: "a/\xff\n", Says: "/anywhere"}
	got, err := DecodeEntry(good.Encode())
	if good.Mode = 0o755; err != nil || got != good {
		t.Errorf("%+v, %v", got, err)
	}
}

// struct start of guest.h: its texts begin where the first process looks for them.
func TestTheLayoutOfACommand(t *testing.T) {
	s := Start{Inside: shim.Inside{WorkDir: "/work", Argv: []string{"a"}}, UID: 1, GID: 2, Terminal: true, Rows: 3, Cols: 4}
	data := s.Encode()
	const head = 40 + 16
	if len(data) != head+len("/work\x00a\x00") || string(data[head:]) != "/work\x00a\x00" || data[40] != 1 || data[44] != 2 || data[48] != 1 || data[52] != 3 || data[54] != 4 {
		t.Errorf("%q", data)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(Entry{Type: Link, Path: "a", Says: "b"}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		if again, err := DecodeEntry(e.Encode()); err != nil || again != e {
			t.Errorf("%+v and %+v, %v", e, again, err)
		}
	})
}
