package export_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/coinop/coinop/drivers/vm/export"
)

// sparse makes a file of some bytes at some places.
func sparse(t testing.TB, size int64, at map[int64]string) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for where, text := range at {
		if _, err := file.WriteAt([]byte(text), where); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func written(t testing.TB, head string, files ...*os.File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := export.Write(&b, []byte(head), files...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read takes a stream of two files apart.
func read(data []byte, most int64, to ...export.Target) (head string, err error) {
	r, err := export.NewReader(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	for _, target := range to {
		if err := r.File(target, most); err != nil {
			r.Drop()
			return "", err
		}
	}
	return string(r.Head), r.Close()
}

func blocks(t *testing.T, file *os.File) int64 {
	t.Helper()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no blocks")
	}
	return s.Blocks * 512
}

// A disk of 64 GiB of which a few bytes are written costs a few bytes, there and back.
func TestHolesCostNothing(t *testing.T) {
	const size = 64 << 30
	places := map[int64]string{0: "first", 1<<20 + 5: "second", 40 << 30: "far", size - 4: "last"}
	big, small := sparse(t, size, places), sparse(t, 3, map[int64]string{0: "abc"})
	data := written(t, "head", big, small)
	if len(data) > 10_000 {
		t.Errorf("it takes %d bytes", len(data))
	}
	bigBack, smallBack := sparse(t, 0, nil), sparse(t, 0, nil)
	head, err := read(data, 4<<20, bigBack, smallBack)
	if err != nil || head != "head" {
		t.Fatalf("%q, %v", head, err)
	}
	if info, err := bigBack.Stat(); err != nil || info.Size() != size || blocks(t, bigBack) > 4<<20 {
		t.Errorf("it came back with %d bytes in %d, %v", info.Size(), blocks(t, bigBack), err)
	}
	places[1<<20] = "\x00\x00\x00\x00\x00second\x00"
	for at, want := range places {
		got := make([]byte, len(want))
		if _, err := bigBack.ReadAt(got, at); (err != nil && at+int64(len(want)) < size) || string(got) != want {
			t.Errorf("at %d is %q, %v", at, got, err)
		}
	}
	if got, err := os.ReadFile(smallBack.Name()); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEveryBitCounts(t *testing.T) {
	data := written(t, "head", sparse(t, 1<<20, map[int64]string{100: "some", 70_000: "more"}))
	if _, err := read(data, 1<<20, sparse(t, 0, nil)); err != nil {
		t.Fatal(err)
	}
	to := sparse(t, 0, nil)
	for i := range 8 * len(data) {
		broken := bytes.Clone(data)
		broken[i/8] ^= 1 << (i % 8)
		if _, err := read(broken, 1<<20, to); err == nil && !reserved(data, broken, to, t) {
			t.Errorf("bit %d of %d is as good as the other", i, 8*len(data))
		}
	}
	for i := range data {
		if _, err := read(data[:i], 1<<20, to); err == nil {
			t.Errorf("%d bytes of %d are as good as all", i, len(data))
		}
	}
	for what, bad := range map[string][]byte{"four bytes more": append(bytes.Clone(data), 0, 0, 0, 0), "twice": append(bytes.Clone(data), data...)} {
		if _, err := read(bad, 1<<20, to); err == nil {
			t.Errorf("%s is as good as all", what)
		}
	}
	if _, err := read(data, 1<<20); err == nil {
		t.Error("a file may be left out")
	}
	if _, err := read(data, 1<<20, to, to); err == nil {
		t.Error("there is a file that is not there")
	}
}

// reserved says that a bit meant nothing: zstd has one of those, and what came out is the same.
func reserved(data, broken []byte, to *os.File, t *testing.T) bool {
	want, err := os.ReadFile(to.Name())
	if err != nil {
		t.Fatal(err)
	}
	other := sparse(t, 0, nil)
	if _, err := read(data, 1<<20, other); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(other.Name())
	return err == nil && bytes.Equal(got, want)
}

// Ten gigabytes in a few kilobytes are not written.
func TestABombIsNotWritten(t *testing.T) {
	bomb := sparse(t, 1<<20, map[int64]string{0: string(bytes.Repeat([]byte("x"), 1<<20))})
	data := written(t, "", bomb)
	to := sparse(t, 0, nil)
	var large *export.TooLarge
	if _, err := read(data, 512<<10, to); !errors.As(err, &large) || large.Most != 512<<10 || blocks(t, to) > 512<<10 {
		t.Errorf("%d bytes of it are written, %v", blocks(t, to), err)
	}
	var head bytes.Buffer
	zip, err := zstd.NewWriter(&head)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // a head of four gigabytes
		if _, err := zip.Write(bytes.Repeat([]byte{0, 0, 0, 0xff, 0, 0, 0, 0}, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := read(append([]byte("coinop machine 1\n"), head.Bytes()...), 1<<20); err == nil {
		t.Error("a head of four gigabytes is read")
	}
}

func TestWhatCannotBeReadIsNotWritten(t *testing.T) {
	if err := export.Write(&bytes.Buffer{}, make([]byte, 9<<20)); err == nil {
		t.Error("a head that cannot be read is written")
	}
	file := sparse(t, 1<<20, map[int64]string{0: "x"})
	file.Close()
	if err := export.Write(&bytes.Buffer{}, nil, file); err == nil {
		t.Error("what cannot be read is written")
	}
}

// memory is a file that takes no room on a disk.
type memory struct {
	size    int64
	written int64
	end     int64
}

func (m *memory) Truncate(size int64) error { m.size = size; return nil }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if at < m.end || at+int64(len(p)) > m.size || len(p) == 0 {
		return 0, errors.New("outside")
	}
	m.end = at + int64(len(p))
	m.written += int64(len(p))
	return len(p), nil
}

// Whatever comes, no more is written than may be, in order, and inside of what the file is to be. What is fuzzed is what lies in the
// stream, for behind zstd's and our checksum nothing else is ever seen.
func FuzzReader(f *testing.F) {
	plain := func(data []byte) []byte {
		unzip, err := zstd.NewReader(bytes.NewReader(data[len("coinop machine 1\n"):]))
		if err != nil {
			f.Fatal(err)
		}
		defer unzip.Close()
		var all bytes.Buffer
		if _, err := unzip.WriteTo(&all); err != nil {
			f.Fatal(err)
		}
		return all.Bytes()
	}
	f.Add(plain(written(f, "head", sparse(f, 1<<30, map[int64]string{0: "a", 1 << 29: "b"}), sparse(f, 0, nil))), false)
	f.Add(written(f, "head", sparse(f, 1<<20, map[int64]string{5: "a"})), true)
	f.Add([]byte{}, false)
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		if !whole {
			data = append([]byte("coinop machine 1\n"), zip.EncodeAll(data, nil)...)
		}
		r, err := export.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Drop()
		const most = 4096
		for range 3 {
			m := &memory{}
			if err := r.File(m, most); m.written > most || err != nil && err.Error() == "outside" {
				t.Errorf("%d bytes are written, %v", m.written, err)
			}
		}
		if r.Close() == nil {
			t.Log("all of it was right")
		}
	})
}
