package machine

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A table with its overlay does what a plain map does whose changes are kept or thrown away, in
// the order of keys; the hook hears of each record that changed, once, with what it was before.
func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		heard := make(map[int]int)
		table := newTable[int, int](1, byNumber)
		table.hook = func(key, old, new int) {
			if heard[key] != old {
				t.Fatalf("hook of %d: old is %d, was %d", key, old, heard[key])
			}
			heard[key] = new
		}
		kept, now := make(map[int]int), make(map[int]int)
		key := rapid.IntRange(0, 30)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.IntRange(1, 9).Draw(t, "value")
				table.put(k, v)
				now[k] = v
			},
			"del": func(t *rapid.T) {
				k := key.Draw(t, "key")
				table.del(k)
				delete(now, k)
			},
			"merge": func(*rapid.T) { table.merge(); kept = clone(now) },
			"drop":  func(*rapid.T) { table.drop(); now = clone(kept) },
			"": func(t *rapid.T) {
				from := key.Draw(t, "from")
				var got []pair[int, int]
				table.scan(from, func(k, v int) bool {
					got = append(got, pair[int, int]{key: k, value: v})
					return true
				})
				if want := sorted(now, from); !slices.Equal(got, want) {
					t.Fatalf("scan from %d: %v, want %v", from, got, want)
				}
				if first, ok := table.get(from); ok != (now[from] != 0) || first != now[from] {
					t.Fatalf("get %d: %d", from, first)
				}
				if got := sorted(heard, 0); !slices.Equal(got, sorted(kept, 0)) {
					t.Fatalf("the hook knows %v, kept is %v", got, kept)
				}
				if table.len() != len(kept) {
					t.Fatalf("%d records, want %d", table.len(), len(kept))
				}
			},
		})
	})
}

func clone(m map[int]int) map[int]int {
	c := make(map[int]int, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func sorted(m map[int]int, from int) []pair[int, int] {
	var all []pair[int, int]
	for k, v := range m {
		if k >= from && v != 0 {
			all = append(all, pair[int, int]{key: k, value: v})
		}
	}
	slices.SortFunc(all, func(a, b pair[int, int]) int { return cmp.Compare(a.key, b.key) })
	return all
}

// A scan that is told to stop stops, wherever the records lie.
func TestScanStops(t *testing.T) {
	table := newTable[int, int](1, byNumber)
	for k := range 10 {
		table.put(2*k, 1)
	}
	table.merge()
	for k := range 10 {
		table.put(2*k+1, 1)
	}
	for stop := range 20 {
		seen := 0
		table.scan(0, func(int, int) bool {
			seen++
			return seen <= stop
		})
		if seen != min(stop+1, 20) {
			t.Errorf("told to stop after %d, saw %d", stop, seen)
		}
	}
}

// A large entry's overlay is given back, so that small entries after it do not pay for it.
func TestLargeOverlayIsGivenBack(t *testing.T) {
	table := newTable[int, int](1, byNumber)
	for k := range 10 * overlayKept {
		table.put(k, 1)
	}
	table.merge()
	if cap(table.changes) != 0 {
		t.Errorf("room for %d changes is kept", cap(table.changes))
	}
	if table.len() != 10*overlayKept {
		t.Errorf("%d records", table.len())
	}
}

// What a view was given does not change when the table goes on.
func TestFrozenRowsStay(t *testing.T) {
	table := newTable[int, int](1, byNumber)
	for k := range 500 {
		table.put(k, k)
	}
	table.merge()
	before := table.freeze()
	for k := range 500 {
		table.put(k, -1)
		table.del(k / 2)
	}
	table.merge()
	for k := range 500 {
		if v, ok := before.get(k); !ok || v != k {
			t.Fatalf("record %d is %d", k, v)
		}
	}
}
