package funding

import (
	"fmt"
)

// StreamHold is what a pot has reserved for its running work in one pool: a tranche ahead, and a
// reserve for the time in which the work is paused. All its runs accrue at once: what they owe
// together is linear in the pool's index, weight × index − offset, so that a change of the price
// touches no run and the index at which the money ends does not move with it.
type StreamHold struct {
	Pot     PotID   `cbor:"1,keyasint"`
	Pool    uint32  `cbor:"2,keyasint"`
	Weight  Weight  `cbor:"3,keyasint"`            // of its runs together
	Offset  Accrual `cbor:"4,keyasint"`            // Σ weight × start of each run, and what was settled of it
	Runs    int64   `cbor:"5,keyasint"`            // each may round up by one micro-unit when it ends
	Held    Amount  `cbor:"6,keyasint"`            // of the pot: tranche and reserve
	Reserve Amount  `cbor:"7,keyasint"`            // the part for being paused
	Noticed bool    `cbor:"8,keyasint,omitempty"`  // told that the money is ending
	Paused  Millis  `cbor:"9,keyasint,omitempty"`  // since when, or zero
	Closing bool    `cbor:"10,keyasint,omitempty"` // its runs are being stopped for want of money
	Grace   Millis  `cbor:"11,keyasint,omitempty"` // while paused: until when at the latest
}

// settledPart is what a run's settled amount takes out of the accrual.
func settledPart(settled Amount) Accrual {
	return product(uint64(max(settled, 0)), micro).accrual()
}

func partOf(w Weight, from Index, settled Amount) (Accrual, error) {
	part, err := from.MulWeight(w)
	if err != nil {
		return Accrual{}, err
	}
	return part.Add(settledPart(settled))
}

// Start lets a run accrue from an index on and adds what was held for it.
func (s StreamHold) Start(w Weight, from Index, held Amount) (StreamHold, error) {
	part, err := partOf(w, from, 0)
	if err != nil {
		return s, fmt.Errorf("start a run in a stream: %w", err)
	}
	if s.Offset, err = s.Offset.Add(part); err != nil {
		return s, fmt.Errorf("start a run in a stream: %w", err)
	}
	if s.Weight > 1<<62-w {
		return s, fmt.Errorf("start a run in a stream: weight: %w", ErrRange)
	}
	s.Weight, s.Runs, s.Held = s.Weight+w, s.Runs+1, s.Held+held
	return s, nil
}

// End takes a run out of the accrual. Its money is settled apart, see Settled.
func (s StreamHold) End(w Weight, from Index, settled Amount) (StreamHold, error) {
	part, err := partOf(w, from, settled)
	if err != nil {
		return s, fmt.Errorf("end a run in a stream: %w", err)
	}
	if s.Offset, err = s.Offset.Sub(part); err != nil {
		return s, fmt.Errorf("end a run in a stream: %w", err)
	}
	if w > s.Weight || s.Runs <= 0 {
		return s, fmt.Errorf("end a run in a stream that has %d of weight %d: %w", s.Runs, s.Weight, ErrRange)
	}
	s.Weight, s.Runs = s.Weight-w, s.Runs-1
	return s, nil
}

// Skip takes a stretch of the index out of what a run accrues: it stood still, and nothing is owed.
func (s StreamHold) Skip(w Weight, stretch Index) (StreamHold, error) {
	part, err := stretch.MulWeight(w)
	if err != nil {
		return s, fmt.Errorf("skip a stretch in a stream: %w", err)
	}
	if s.Offset, err = s.Offset.Add(part); err != nil {
		return s, fmt.Errorf("skip a stretch in a stream: %w", err)
	}
	return s, nil
}

// Settle notes that an amount of what a run that goes on has accrued was posted.
func (s StreamHold) Settle(posted Amount) (StreamHold, error) {
	var err error
	if s.Offset, err = s.Offset.Add(settledPart(posted)); err != nil {
		return s, fmt.Errorf("settle a stream: %w", err)
	}
	return s, nil
}

// Accrued is what the runs owe together at an index, at most: each may round up when it ends.
func (s StreamHold) Accrued(at Index) (Amount, error) {
	gross, err := at.MulWeight(s.Weight)
	if err != nil {
		return 0, fmt.Errorf("accrued: %w", err)
	}
	if gross.Cmp(s.Offset) <= 0 {
		// What was settled was rounded up, so it may lie ahead by less than a micro-unit a run.
		return Amount(s.Runs), nil
	}
	net, err := gross.Sub(s.Offset)
	if err != nil {
		return 0, fmt.Errorf("accrued: %w", err)
	}
	sum, err := net.Up()
	if err != nil {
		return 0, fmt.Errorf("accrued: %w", err)
	}
	return sum.Plus(Amount(s.Runs))
}

// Left is what is held and not accrued; negative once it was overrun.
func (s StreamHold) Left(at Index) (Amount, error) {
	accrued, err := s.Accrued(at)
	if err != nil {
		return 0, err
	}
	return s.Held - accrued, nil
}

// Threshold is the last index at which no more than an amount has accrued, and false where
// nothing accrues.
func (s StreamHold) Threshold(amount Amount) (Index, bool) {
	if s.Weight <= 0 {
		return Index{}, false
	}
	room, ok := settledPart(amount - Amount(s.Runs)).wide().add(s.Offset.wide())
	if !ok {
		return Index{}, false
	}
	return room.down(uint64(s.Weight)).index(), true
}

// Ends is the index at which the next thing happens to a stream: the tranche is used up, or, once
// it is paused, the reserve.
func (s StreamHold) Ends() (Index, bool) {
	if s.Paused != 0 {
		return s.Threshold(s.Held)
	}
	return s.Threshold(s.Held - s.Reserve)
}

// Want is what a stream should hold beyond what has accrued: a tranche and a reserve at a price.
func (s StreamHold) Want(price Rate, tranche, grace Millis) (ahead, reserve Amount, err error) {
	if s.Weight <= 0 {
		return 0, 0, nil
	}
	// The sum of many runs' weights may exceed what one run may weigh, so this is not Rate.Cost.
	over := func(d Millis) (Amount, error) {
		stretch, err := (Index{}).After(price, d)
		if err != nil {
			return 0, err
		}
		accrued, err := stretch.MulWeight(s.Weight)
		if err != nil {
			return 0, err
		}
		return accrued.Up()
	}
	if ahead, err = over(tranche); err != nil {
		return 0, 0, fmt.Errorf("tranche: %w", err)
	}
	if reserve, err = over(grace); err != nil {
		return 0, 0, fmt.Errorf("reserve: %w", err)
	}
	return ahead, reserve, nil
}
