package consensus

import "sync"

const sumsMax = 16_384

// sums remembers the checksum after each of the newest entries, to compare replicas by.
type sums struct {
	mu   sync.Mutex
	ring [sumsMax]struct {
		index uint64
		sum   [32]byte
	}
}

func newSums() *sums { return &sums{} }

func (s *sums) add(index uint64, sum [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring[index%sumsMax].index = index
	s.ring[index%sumsMax].sum = sum
}

func (s *sums) at(index uint64) ([32]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ring[index%sumsMax]
	return e.sum, index != 0 && e.index == index
}

func (s *sums) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ring[:])
}
