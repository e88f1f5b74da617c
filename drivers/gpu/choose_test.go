package gpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// gpus makes devices of one model from what links them: "0-1 0-2:4" is twelve lanes and four.
func gpus(n int, links string) []Device {
	all := make([]Device, n)
	for i := range all {
		all[i] = Device{ID: fmt.Sprint(i), NUMA: -1}
	}
	for _, link := range strings.Fields(links) {
		var a, b, lanes int
		if _, err := fmt.Sscanf(link, "%d-%d:%d", &a, &b, &lanes); err != nil {
			lanes = 12
		}
		all[a].Links = append(all[a].Links, Link{fmt.Sprint(b), lanes})
		all[b].Links = append(all[b].Links, Link{fmt.Sprint(a), lanes})
	}
	return all
}

func ids(devices []Device) string {
	var all []string
	for _, d := range devices {
		all = append(all, d.ID)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestJoined(t *testing.T) {
	mesh := ""
	for a := range 8 {
		for b := range a {
			mesh += fmt.Sprintf("%d-%d:1 ", b, a)
		}
	}
	for _, test := range []struct {
		n     int
		links string
		free  string // of them
		count int
		all   bool
		want  string
	}{
		{4, "0-1 2-3", "0 1 2 3", 2, true, "0 1"},
		{4, "0-1 2-3", "1 2 3", 2, false, "2 3"},
		{4, "0-1 2-3", "1 2 3", 1, false, "1"}, // whose partner is away already
		{4, "0-1 2-3", "0 2", 2, false, "0 2"},
		{4, "0-1 2-3", "0 2", 2, true, ""},
		{4, "0-1 2-3", "0 1 2 3", 3, true, ""},
		{4, "0-1 2-3", "0 1 2 3", 3, false, "0 1 2"},
		{4, "0-1 2-3", "0 1 2 3", 5, false, ""},
		{4, "0-1:2 1-2:12 2-3:2", "0 1 2 3", 2, true, "1 2"},
		{8, mesh, "0 1 2 3 4 5 6 7", 8, true, "0 1 2 3 4 5 6 7"},
		{8, "", "0 1 2 3 4 5 6 7", 3, false, "0 1 2"},
		{2, "", "", 1, false, ""},
	} {
		var free []Device
		for _, d := range gpus(test.n, test.links) {
			if slices.Contains(strings.Fields(test.free), d.ID) {
				free = append(free, d)
			}
		}
		if got := ids(Joined(free, test.count, test.all)); got != test.want {
			t.Errorf("%d of %q with %q (all joined: %v): got %q, want %q", test.count, test.free, test.links, test.all, got, test.want)
		}
	}
}

func TestJoinedKeepsToANUMANode(t *testing.T) {
	free := gpus(4, "")
	for i := range free {
		free[i].NUMA = i % 2
	}
	if got := ids(Joined(free, 2, false)); got != "0 2" {
		t.Errorf("got %q", got)
	}
}

// a100 is NVIDIA's table for A100, largest profile first: 7g 4g 3g 2g 1g.10gb 1g.5gb.
func a100() Layout {
	row := func(size int, starts ...int) (all []Place) {
		for _, start := range starts {
			all = append(all, Place{start, size})
		}
		return all
	}
	return Layout{Profiles: [][]Place{row(8, 0), row(4, 0), row(4, 0, 4), row(2, 0, 2, 4), row(2, 0, 2, 4, 6), row(1, 0, 1, 2, 3, 4, 5, 6)}}
}

func TestPack(t *testing.T) {
	for _, test := range []struct {
		taken string // "start+size" of the first GPU; the second is empty
		want  int
		at    string
	}{
		{"", 5, "0@6+1"},        // loses no 2g
		{"6+1", 5, "0@4+1"},     // and keeps 4g
		{"0+4", 2, "0@4+4"},     // fills the rest
		{"4+4", 5, "0@0+1"},     // rather than cutting the empty one
		{"0+4 4+4", 5, "1@6+1"}, // full
		{"0+4", 0, "1@0+8"},
		{"0+1", 1, "1@0+4"},
		{"2+2", 3, "0@0+2"}, // 4g is lost already, 3g at 4 stays
	} {
		first := a100()
		for _, word := range strings.Fields(test.taken) {
			var p Place
			if _, err := fmt.Sscanf(word, "%d+%d", &p.Start, &p.Size); err != nil {
				t.Fatal(err)
			}
			first.Taken = append(first.Taken, p)
		}
		gpu, place, ok := Pack([]Layout{first, a100()}, []int{test.want, test.want})
		if got := fmt.Sprintf("%d@%d+%d", gpu, place.Start, place.Size); !ok || got != test.at {
			t.Errorf("profile %d beside %q: got %s %v, want %s", test.want, test.taken, got, ok, test.at)
		}
	}
	if _, _, ok := Pack([]Layout{a100(), a100()}, []int{-1, -1}); ok {
		t.Error("a profile that no GPU has was placed")
	}
}

// Of the same arrivals, fewer large slices are refused than where each takes the first place that is free.
func TestPackKeepsLargeSlicesPossible(t *testing.T) {
	type task struct {
		gpu   int
		place Place
		until int
	}
	refused := func(pack func([]Layout, []int) (int, Place, bool)) (large int) {
		random := rand.New(rand.NewPCG(1, 2))
		cards := []Layout{a100(), a100(), a100(), a100()}
		var running []task
		for now := range 20_000 {
			running = slices.DeleteFunc(running, func(r task) bool {
				if r.until <= now {
					cards[r.gpu].Taken = slices.DeleteFunc(cards[r.gpu].Taken, func(p Place) bool { return p == r.place })
				}
				return r.until <= now
			})
			want, until := 1+random.IntN(5), now+1+random.IntN(20)
			gpu, place, ok := pack(cards, []int{want, want, want, want})
			if ok {
				cards[gpu].Taken = append(cards[gpu].Taken, place)
				running = append(running, task{gpu, place, until})
			} else if want <= 2 { // 4g and 3g
				large++
			}
		}
		return large
	}
	first := func(cards []Layout, profiles []int) (int, Place, bool) {
		for i, card := range cards {
			if free := card.Free(profiles[i]); len(free) > 0 {
				return i, free[0], true
			}
		}
		return 0, Place{}, false
	}
	packed, naive := refused(Pack), refused(first)
	t.Logf("of about 8,000 slices of 4g and 3g, %d refused packed, %d at the first free place", packed, naive)
	if packed >= naive {
		t.Errorf("%d large slices refused packed, %d at the first free place", packed, naive)
	}
}
