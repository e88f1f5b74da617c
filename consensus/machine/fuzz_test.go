package machine

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding"
)

// FuzzApply plays arbitrary sequences of commands, most of them slightly wrong: nothing panics,
// nothing is caught by an assertion, the sums hold after every entry, and a replica that comes from
// a snapshot half way agrees.
func FuzzApply(f *testing.F) {
	for seed := range int64(8) {
		f.Add(seed, uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed int64, length uint8) {
		wander(t, seed, int(length))
	})
}

// TestWander is FuzzApply with seeds of its own, for every run of the tests.
func TestWander(t *testing.T) {
	for seed := range int64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { wander(t, 1000+seed, 120) })
	}
}

// wander plays lines of all stories, in any order, with words exchanged, and entries of random
// fields between them.
func wander(t *testing.T, seed int64, length int) {
	r := rand.New(rand.NewSource(seed))
	w := newWorld(t)
	w.play(strings.Fields("init fee=100"))
	w.play(strings.Fields("issue alice 100000"))
	lines := linesOfStories(t)
	for range length {
		if r.Intn(4) == 0 {
			c := commandOf(kinds()[r.Intn(len(kinds()))])
			scatter(r, reflect.ValueOf(c).Elem())
			if _, first := c.(*Init); !first {
				w.apply(c)
			}
		} else {
			w.play(lines[r.Intn(len(lines))])
		}
		if err := w.m.View().Check(); err != nil {
			t.Fatalf("seed %d: after entry %d: %v", seed, w.index, err)
		}
	}
	w.replay()
}

// linesOfStories are the lines that any world can play, whatever went before.
func linesOfStories(t *testing.T) [][]string {
	files, _ := filepath.Glob("testdata/*.txt")
	var lines [][]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			command, _, _ := strings.Cut(line, "->")
			words := strings.Fields(command)
			if len(words) > 0 && wanders(words[0]) && !strings.Contains(line, "used") && !strings.Contains(line, "twice") {
				lines = append(lines, words)
			}
		}
	}
	return lines
}

// wanders says whether a verb makes sense in any world.
func wanders(name string) bool {
	for _, verb := range []string{"issue", "quote", "mint", "swap", "pot", "deposit", "close", "claim", "token", "keyset", "server", "copy",
		"submit", "place", "placeall", "start", "finish", "cancel", "hold", "release", "reprice", "pulse", "node", "drain", "undrain",
		"lose", "back", "pool", "wait", "limit", "forget", "collect"} {
		if name == verb {
			return true
		}
	}
	return false
}

// scatter sets fields at random: small numbers, which often name something, and large ones.
func scatter(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				scatter(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if r.Intn(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			scatter(r, v.Elem())
		}
	case reflect.Slice:
		n := r.Intn(4)
		if n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range n {
			scatter(r, v.Index(i))
		}
	case reflect.Array:
		v.Index(0).SetUint(uint64(r.Intn(4)))
	case reflect.String:
		v.SetString([]string{"", "process", "default", "n1", strings.Repeat("x", 300)}[r.Intn(5)])
	case reflect.Bool:
		v.SetBool(r.Intn(2) == 0)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(uint64(r.Int63()) >> (r.Intn(8) * 8) & (1<<v.Type().Bits() - 1))
		if r.Intn(2) == 0 {
			v.SetUint(uint64(r.Intn(4)))
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		scatterInt(r, v)
	}
}

func scatterInt(r *rand.Rand, v reflect.Value) {
	n := r.Int63() >> (r.Intn(8) * 8)
	if r.Intn(4) == 0 {
		n = -n
	}
	switch {
	case v.Type() == reflect.TypeFor[funding.Millis]() && r.Intn(2) == 0:
		n = int64(dayOne) + int64(r.Intn(1000))
	case r.Intn(2) == 0:
		n = int64(r.Intn(4))
	}
	if v.OverflowInt(n) {
		n %= 100
	}
	v.SetInt(n)
}
