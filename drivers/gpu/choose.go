package gpu

import "slices"

// Joined picks the count of free GPUs that are best joined by NVLink; among equals those that leave the others best joined, so that
// pairs stay pairs. With all, each must reach each of the others. free is of one model, in the library's order; nil: not enough.
func Joined(free []Device, count int, all bool) []Device {
	var best []Device
	bestInside, bestOutside := -1, 0
	for first := range free {
		chosen := grow(free, first, count)
		if len(chosen) < count || all && !complete(chosen) {
			continue
		}
		inside, outside := lanes(chosen, chosen), lanes(chosen, free)-lanes(chosen, chosen)
		if inside > bestInside || inside == bestInside && outside < bestOutside {
			best, bestInside, bestOutside = chosen, inside, outside
		}
	}
	return best
}

// grow adds to one GPU again and again the one that is best joined to those it has, then the one in the same NUMA node.
func grow(free []Device, first, count int) []Device {
	chosen := []Device{free[first]}
	for len(chosen) < count {
		next, most := -1, -1
		for i, d := range free {
			if slices.ContainsFunc(chosen, func(c Device) bool { return c.ID == d.ID }) {
				continue
			}
			score := 4 * lanes(chosen, free[i:i+1])
			if d.NUMA >= 0 && d.NUMA == chosen[0].NUMA {
				score += 2
			}
			if lanes(free[i:i+1], free) == lanes(free[i:i+1], chosen) { // it leaves no partner behind
				score++
			}
			if score > most {
				next, most = i, score
			}
		}
		if next < 0 {
			return nil
		}
		chosen = append(chosen, free[next])
	}
	return chosen
}

// lanes counts what joins GPUs of one set with those of another.
func lanes(from, to []Device) int {
	sum := 0
	for _, d := range from {
		for _, link := range d.Links {
			if slices.ContainsFunc(to, func(t Device) bool { return t.ID == link.Peer }) {
				sum += link.Lanes
			}
		}
	}
	return sum
}

func complete(set []Device) bool {
	for _, d := range set {
		for _, other := range set {
			if d.ID != other.ID && !slices.ContainsFunc(d.Links, func(l Link) bool { return l.Peer == other.ID }) {
				return false
			}
		}
	}
	return true
}

// Place is a run of a GPU's memory slices.
type Place struct{ Start, Size int }

func (p Place) overlaps(other Place) bool {
	return p.Start < other.Start+other.Size && other.Start < p.Start+p.Size
}

// Layout is how a GPU may be cut and how it is.
type Layout struct {
	Profiles [][]Place // where each profile may lie, the largest profile first
	Taken    []Place
}

// Free lists where a profile has room.
func (l Layout) Free(profile int) []Place {
	var free []Place
	for _, place := range l.Profiles[profile] {
		if !slices.ContainsFunc(l.Taken, place.overlaps) {
			free = append(free, place)
		}
	}
	return free
}

// Loss says how many places each profile loses when one is taken: the smallest, compared from the largest profile on, keeps
// large slices possible.
func (l Layout) Loss(taken Place) []int {
	after := Layout{Profiles: l.Profiles, Taken: append(slices.Clone(l.Taken), taken)}
	loss := make([]int, len(l.Profiles))
	for i := range l.Profiles {
		loss[i] = len(l.Free(i)) - len(after.Free(i))
	}
	return loss
}

// Pack picks where among several GPUs a profile is cut, each layout with the number that the profile has in it (-1: it has it not).
func Pack(layouts []Layout, profile []int) (gpu int, place Place, ok bool) {
	var best []int
	for i, l := range layouts {
		if profile[i] < 0 {
			continue
		}
		for _, free := range l.Free(profile[i]) {
			if loss := l.Loss(free); best == nil || slices.Compare(loss, best) < 0 {
				best, gpu, place, ok = loss, i, free, true
			}
		}
	}
	return gpu, place, ok
}
