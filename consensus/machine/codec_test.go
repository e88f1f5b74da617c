package machine

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
)

// kinds are all that a log may hold.
func kinds() []Kind {
	var all []Kind
	for k := Kind(0); k < 256; k++ {
		if commandOf(k) != nil {
			all = append(all, k)
		}
	}
	return all
}

// Every kind in the list has its struct, names itself, can be applied and comes back from its bytes
// as it went.
func TestEveryKind(t *testing.T) {
	if n := len(kinds()); n != 27 {
		t.Errorf("%d kinds, the list has 27", n)
	}
	for _, k := range kinds() {
		command := commandOf(k)
		if command.Kind() != k {
			t.Errorf("the struct of kind %d says that it is of kind %d", k, command.Kind())
		}
		if _, ok := command.(applier); !ok {
			t.Errorf("kind %d (%T) cannot be applied", k, command)
		}
		fill(reflect.ValueOf(command).Elem(), 1)
		entry, err := Encode(42, command)
		if err != nil {
			t.Fatalf("kind %d: %v", k, err)
		}
		at, again, err := Decode(entry)
		if err != nil {
			t.Fatalf("kind %d: %v", k, err)
		}
		if at != 42 || !reflect.DeepEqual(command, again) {
			t.Errorf("kind %d came back as %+v, went as %+v", k, again, command)
		}
	}
}

// fill sets every field that can be set, so that none can be lost unseen.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), depth)
		fill(v.Index(1), depth)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("b"), reflect.ValueOf("2"))
		v.SetMapIndex(reflect.ValueOf("a"), reflect.ValueOf("1"))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(2)
	default:
		v.SetInt(3)
	}
}

// A command has one form of bytes. Whatever else a decoder might take for it is refused.
func TestDecodeIsStrict(t *testing.T) {
	good, err := Encode(5, Format{Format: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Decode(good); err != nil {
		t.Fatal(err)
	}
	// [72, 5, {1: 1}]
	for name, entry := range map[string][]byte{
		"nothing":            {},
		"something after it": append(bytes.Clone(good), 0),
		"cut short":          good[:len(good)-1],
		"a longer number":    {0x83, 0x18, 72, 0x18, 5, 0xa1, 1, 1},
		"an unknown field":   {0x83, 0x18, 72, 5, 0xa2, 1, 1, 2, 1},
		"a field twice":      {0x83, 0x18, 72, 5, 0xa2, 1, 1, 1, 1},
		"a missing field":    {0x83, 0x18, 72, 5, 0xa0},
		"an open-ended map":  {0x83, 0x18, 72, 5, 0xbf, 1, 1, 0xff},
		"a tag":              {0x83, 0x18, 72, 5, 0xc1, 0xa1, 1, 1},
		"an unknown kind":    {0x83, 0x18, 99, 5, 0xa1, 1, 1},
		"a reserved kind":    {0x83, 0x18, 37, 5, 0xa1, 1, 1},
		"four parts":         {0x84, 0x18, 72, 5, 0xa1, 1, 1, 0},
		"a text":             {0x61, 'x'},
		"a negative format":  {0x83, 0x18, 72, 5, 0xa1, 1, 0x20},
	} {
		if _, c, err := Decode(entry); err == nil {
			t.Errorf("%s was read as %+v", name, c)
		}
	}
	if _, _, err := Decode(make([]byte, EntryBytesMax+1)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("too long: %v", err)
	}
	if _, err := Encode(5, Submit{Work: make([]byte, EntryBytesMax)}); err == nil {
		t.Error("an entry longer than the limit was written")
	}
}

// Byte strings of another length than their field, which a decoder might pad or cut, are refused.
func TestDecodeRefusesOtherLengths(t *testing.T) {
	good, err := Encode(5, Token{Hash: TokenHash{7}, Role: RoleView})
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, []byte{0x58, 32, 7})
	if at < 0 {
		t.Fatal("no hash in the entry")
	}
	short := append(bytes.Clone(good[:at]), 0x58, 31)
	short = append(append(short, good[at+2:at+33]...), good[at+34:]...)
	if _, c, err := Decode(short); err == nil {
		t.Errorf("a hash of 31 bytes was read as %+v", c)
	}
}

// FuzzDecode: what is read is written again as the same bytes; nothing panics.
func FuzzDecode(f *testing.F) {
	for _, k := range kinds() {
		command := commandOf(k)
		fill(reflect.ValueOf(command).Elem(), 1)
		entry, err := Encode(7, command)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		at, command, err := Decode(entry)
		if err != nil {
			return
		}
		again, err := Encode(at, command)
		if err != nil || !bytes.Equal(entry, again) {
			t.Fatalf("%x came back as %x: %v", entry, again, err)
		}
		m := New()
		if r := m.Apply(1, entry); r.Code == CodePanic || r.Code == CodeInternal {
			t.Fatalf("%s: %s %s", r.Code, r.Detail, r.Panic)
		}
		if err := m.View().Check(); err != nil {
			t.Fatal(err)
		}
		_ = funding.Millis(at)
	})
}
