package scheduler

import "slices"

// owner marks what may be changed in place: what another index made is copied first. It is not empty,
// since pointers to empty things may be equal.
type owner struct{ _ byte }

// spot is one node's room.
type spot struct {
	worth int64 // the room in billing units; nodes are tried from the least
	node  NodeID
	parts uint8 // of GPUs, as deck.parts
	room  Resources
}

func (s *spot) before(worth int64, node NodeID) bool {
	return s.worth < worth || s.worth == worth && s.node < node
}

// sectionMax is the size at which a section splits: small enough to copy and to scan in well under
// a microsecond.
const sectionMax = 48

type leaf struct {
	own   *owner
	spots []spot
}

// section is a run of spots with the most that any of them has of each resource, so that a search
// passes over whole sections that cannot hold a task.
type section struct {
	most      Resources
	lastWorth int64
	lastNode  NodeID
	leaf      *leaf
}

// rooms are spots in the order of their worth. Copies share sections until one side changes them.
type rooms struct {
	own      *owner // of the list of sections
	sections []section
}

// seek finds the section in which a spot of that order is or would be.
func (r *rooms) seek(worth int64, node NodeID) int {
	lo, hi := 0, len(r.sections)
	for lo < hi {
		mid := (lo + hi) / 2
		s := &r.sections[mid]
		if s.lastWorth < worth || s.lastWorth == worth && s.lastNode < node {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (l *leaf) seek(worth int64, node NodeID) int {
	lo, hi := 0, len(l.spots)
	for lo < hi {
		mid := (lo + hi) / 2
		if l.spots[mid].before(worth, node) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// change makes section i the caller's own.
func (r *rooms) change(own *owner, i int) *section {
	if r.own != own {
		r.sections = slices.Clone(r.sections)
		r.own = own
	}
	s := &r.sections[i]
	if s.leaf.own != own {
		spots := make([]spot, len(s.leaf.spots), sectionMax+1)
		copy(spots, s.leaf.spots)
		s.leaf = &leaf{own: own, spots: spots}
	}
	return s
}

// put adds a node's room.
func (r *rooms) put(own *owner, s spot) {
	if len(r.sections) == 0 {
		first := &leaf{own: own, spots: append(make([]spot, 0, sectionMax+1), s)}
		r.sections, r.own = []section{summed(first)}, own
		return
	}
	i := min(r.seek(s.worth, s.node), len(r.sections)-1)
	at := r.change(own, i)
	j := at.leaf.seek(s.worth, s.node)
	at.leaf.spots = slices.Insert(at.leaf.spots, j, s)
	at.most = atLeast(at.most, s.room)
	last := &at.leaf.spots[len(at.leaf.spots)-1]
	at.lastWorth, at.lastNode = last.worth, last.node
	if len(at.leaf.spots) <= sectionMax {
		return
	}
	half := len(at.leaf.spots) / 2
	right := &leaf{own: own, spots: append(make([]spot, 0, sectionMax+1), at.leaf.spots[half:]...)}
	at.leaf.spots = at.leaf.spots[:half]
	*at = summed(at.leaf)
	r.sections = slices.Insert(r.sections, i+1, summed(right))
}

// drop takes a node's room out and reports whether it was there.
func (r *rooms) drop(own *owner, worth int64, node NodeID) bool {
	i := r.seek(worth, node)
	if i == len(r.sections) {
		return false
	}
	j := r.sections[i].leaf.seek(worth, node)
	if spots := r.sections[i].leaf.spots; spots[j].worth != worth || spots[j].node != node {
		return false
	}
	at := r.change(own, i)
	gone := at.leaf.spots[j].room
	at.leaf.spots = slices.Delete(at.leaf.spots, j, j+1)
	switch n := len(at.leaf.spots); {
	case n == 0:
		r.sections = slices.Delete(r.sections, i, i+1)
	case gone.CPUMilli == at.most.CPUMilli || gone.Memory == at.most.Memory || gone.Disk == at.most.Disk || gone.GPUs == at.most.GPUs:
		*at = summed(at.leaf)
	default:
		at.lastWorth, at.lastNode = at.leaf.spots[n-1].worth, at.leaf.spots[n-1].node
	}
	return true
}

// find is the first spot, from the least worth that could do, that holds need on a node not in skip, and suits where that
// is asked.
func (r *rooms) find(need Resources, worth int64, skip []NodeID, suits func(*spot) bool) *spot {
	for i := r.seek(worth, 0); i < len(r.sections); i++ {
		if !need.Within(r.sections[i].most) {
			continue
		}
		spots := r.sections[i].leaf.spots
		for j := range spots {
			if need.Within(spots[j].room) && (len(skip) == 0 || !slices.Contains(skip, spots[j].node)) && (suits == nil || suits(&spots[j])) {
				return &spots[j]
			}
		}
	}
	return nil
}

// most is the most that any one spot has of each resource.
func (r *rooms) most() Resources {
	var most Resources
	for i := range r.sections {
		most = atLeast(most, r.sections[i].most)
	}
	return most
}

// weighed is the same rooms in another order of worth.
func (r *rooms) weighed(own *owner, w Weights) rooms {
	var out rooms
	for _, s := range r.sections {
		for _, sp := range s.leaf.spots {
			sp.worth = worthOf(w, sp.room)
			out.put(own, sp)
		}
	}
	return out
}

func summed(l *leaf) section {
	last := &l.spots[len(l.spots)-1]
	s := section{leaf: l, lastWorth: last.worth, lastNode: last.node}
	for i := range l.spots {
		s.most = atLeast(s.most, l.spots[i].room)
	}
	return s
}

func atLeast(a, b Resources) Resources {
	return Resources{max(a.CPUMilli, b.CPUMilli), max(a.Memory, b.Memory), max(a.Disk, b.Disk), max(a.GPUs, b.GPUs)}
}
