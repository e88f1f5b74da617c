package inproc

import (
	"maps"
	"strings"
	"testing"
)

func TestWhatGrowsIsFound(t *testing.T) {
	before := footprint{heap: 50 << 20, goroutines: 300, files: 90, jobs: 100, events: 5000, dirs: map[string]size{
		"s0/book.db": {3, 4 << 20}, "s0/blobs": {600, 1 << 20}, "s0/raft": {9, 5 << 20}, "e0/runs": {2, 4 << 10},
	}}
	day := func(change func(f *footprint)) footprint {
		f := before
		f.dirs = maps.Clone(before.dirs)
		f.jobs, f.events, f.heap = f.jobs+100, f.events+5000, f.heap+3<<19
		f.dirs["s0/book.db"], f.dirs["s0/blobs"] = size{3, 7 << 20}, size{800, 2 << 20}
		change(&f)
		return f
	}
	if grown := day(func(*footprint) {}).since(before); grown != nil {
		t.Errorf("a day like others: %v", grown)
	}
	for want, change := range map[string]func(f *footprint){
		"heap":             func(f *footprint) { f.heap += 20 << 20 },
		"goroutines":       func(f *footprint) { f.goroutines += 20 },
		"open files":       func(f *footprint) { f.files += 20 },
		"s0/book.db bytes": func(f *footprint) { f.dirs["s0/book.db"] = size{3, 18 << 20} },
		"s0/book.db files": func(f *footprint) { f.dirs["s0/book.db"] = size{9, 5 << 20} },
		"s0/blobs files":   func(f *footprint) { f.dirs["s0/blobs"] = size{2000, 2 << 20} },
		"s0/raft bytes":    func(f *footprint) { f.dirs["s0/raft"] = size{9, 10 << 20} },
		"e0/runs files":    func(f *footprint) { f.dirs["e0/runs"] = size{102, 4 << 10} },
		"e0/new files":     func(f *footprint) { f.dirs["e0/new"] = size{30, 4 << 10} },
	} {
		if grown := day(change).since(before); len(grown) != 1 || !strings.HasPrefix(grown[0], want+":") {
			t.Errorf("%s: found %v", want, grown)
		}
	}
}
