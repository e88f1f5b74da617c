package scheduler

import (
	"cmp"
	"fmt"
	"slices"
)

// Card is GPUs of a node that are alike: so many of one model and size, that reach each other by NVLink, or each stand alone.
type Card struct {
	Count    int32     `cbor:"1,keyasint"`
	Model    string    `cbor:"2,keyasint"` // a100-sxm4-80gb
	Memory   int64     `cbor:"3,keyasint"` // bytes of each
	Island   int32     `cbor:"4,keyasint,omitempty"`
	Shares   int32     `cbor:"5,keyasint,omitempty"` // as how many time-sliced shares each may be sold
	MIG      bool      `cbor:"6,keyasint,omitempty"` // they may be cut into slices
	Profiles []Profile `cbor:"7,keyasint,omitempty"`
	Sick     bool      `cbor:"8,keyasint,omitempty"`
	Reason   string    `cbor:"9,keyasint,omitempty"`  // why it is not to be had
	ID       string    `cbor:"10,keyasint,omitempty"` // of one that is sick, so that it can be found

	SlicesOnly bool `cbor:"11,keyasint,omitempty"` // they cannot be had whole
}

// Profile is one size of slice.
type Profile struct {
	Name   string `cbor:"1,keyasint"`
	Slices int32  `cbor:"2,keyasint"` // of compute
	Memory int64  `cbor:"3,keyasint"`
	Max    int32  `cbor:"4,keyasint,omitempty"` // how many an empty card holds
}

// Equal compares two rows.
func (c Card) Equal(o Card) bool {
	return c.Count == o.Count && c.Model == o.Model && c.Memory == o.Memory && c.Island == o.Island && c.Shares == o.Shares &&
		c.MIG == o.MIG && slices.Equal(c.Profiles, o.Profiles) && c.Sick == o.Sick && c.Reason == o.Reason && c.ID == o.ID &&
		c.SlicesOnly == o.SlicesOnly
}

// profile finds a size of slice that these cards can be cut into.
func (c *Card) profile(name string) (Profile, bool) {
	i := slices.IndexFunc(c.Profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 || !c.MIG {
		return Profile{}, false
	}
	return c.Profiles[i], true
}

// parts is how many slices of compute a card has: those of its largest profile.
func (c *Card) parts() (most int32) {
	for _, p := range c.Profiles {
		most = max(most, p.Slices)
	}
	return most
}

// Take is what a run has of its node's GPUs, by the scheduler's reckoning: which card it has in truth is the provider's choice.
type Take struct {
	Run     RunID   `cbor:"1,keyasint"`
	Cards   []int32 `cbor:"2,keyasint,omitempty"` // counted through the node's rows, from zero; none: what it had is gone
	Kind    GPUKind `cbor:"3,keyasint,omitempty"`
	Profile string  `cbor:"4,keyasint,omitempty"`
}

// slot is one GPU and what of it is taken.
type slot struct {
	card   int32 // its row
	whole  bool
	cuts   int32 // slices of compute
	bytes  int64 // of memory, by slices
	shares int32
}

func (s *slot) untouched() bool { return !s.whole && s.cuts == 0 && s.shares == 0 }

// isIdle says whether a GPU could be had whole.
func (d *deck) isIdle(i int) bool {
	s := &d.slots[i]
	return s.untouched() && !d.cards[s.card].Sick && !d.cards[s.card].SlicesOnly
}

// deck is a node's GPUs, one by one.
type deck struct {
	cards []Card
	slots []slot
}

// deckOf lays out cards with what is taken of them.
func deckOf(cards []Card, takes []Take) *deck {
	d := &deck{cards: cards}
	for i := range cards {
		for range cards[i].Count {
			d.slots = append(d.slots, slot{card: int32(i)})
		}
	}
	for i := range takes {
		d.take(&takes[i])
	}
	return d
}

func (d *deck) clone() *deck { return &deck{d.cards, slices.Clone(d.slots)} }

func (d *deck) take(t *Take) {
	for _, i := range t.Cards {
		if int(i) >= len(d.slots) {
			continue
		}
		switch s := &d.slots[i]; t.Kind {
		case GPUWhole:
			s.whole = true
		case GPUSlice:
			p, _ := d.cards[s.card].profile(t.Profile)
			s.cuts, s.bytes = s.cuts+p.Slices, s.bytes+p.Memory
		case GPUShare:
			s.shares++
		}
	}
}

// idle counts the GPUs that could be had whole.
func (d *deck) idle() (n int64) {
	for i := range d.slots {
		if d.isIdle(i) {
			n++
		}
	}
	return n
}

// What a node may have room for of parts of GPUs: of some that are in parts already, and of idle ones.
const (
	cutSlice = 1 << iota
	idleSlice
	cutShare
	idleShare
)

// parts says of which sort there is room for any part at all, so that a search need not look at most nodes.
func (d *deck) parts() (p uint8) {
	for i := range d.slots {
		s, c := &d.slots[i], &d.cards[d.slots[i].card]
		idle := d.isIdle(i)
		if s.whole || c.Sick {
			continue
		}
		if c.MIG && s.shares == 0 && s.cuts < c.parts() {
			p |= either(idle, idleSlice, cutSlice)
		}
		if s.cuts == 0 && s.shares < c.Shares && !c.SlicesOnly {
			p |= either(idle, idleShare, cutShare)
		}
	}
	return p
}

func either(first bool, a, b uint8) uint8 {
	if first {
		return a
	}
	return b
}

// CheckCards says whether more is taken of a node's GPUs than there is: a whole one twice or a part of it beside, more
// slices than compute or memory, more shares than it is sold as, anything of a sick one.
func (n *Node) CheckCards() error {
	d := deckOf(n.Cards, nil)
	for i := range n.Takes {
		t := &n.Takes[i]
		for _, at := range t.Cards {
			if int(at) >= len(d.slots) {
				return fmt.Errorf("run %d has GPU %d of %d", t.Run, at, len(d.slots))
			}
			s, c := &d.slots[at], &d.cards[d.slots[at].card]
			p, cuts := c.profile(t.Profile)
			switch {
			case c.Sick:
				return fmt.Errorf("run %d has GPU %d, which is sick", t.Run, at)
			case s.whole || t.Kind == GPUWhole && !d.isIdle(int(at)):
				return fmt.Errorf("run %d has GPU %d, of which others have something", t.Run, at)
			case t.Kind == GPUSlice && (!cuts || s.shares > 0 || s.cuts+p.Slices > c.parts() || s.bytes+p.Memory > c.Memory):
				return fmt.Errorf("run %d has a %s of GPU %d, which has no room for it", t.Run, t.Profile, at)
			case t.Kind == GPUShare && (c.SlicesOnly || s.cuts > 0 || s.shares >= c.Shares):
				return fmt.Errorf("run %d has a share of GPU %d, of which there are %d", t.Run, at, c.Shares)
			}
			d.take(&Take{Cards: []int32{at}, Kind: t.Kind, Profile: t.Profile})
		}
	}
	return nil
}

// cardKind is what tells the hardware of nodes apart.
type cardKind struct {
	memory int64
	model  string
}

func compareKinds(a, b cardKind) int {
	return cmp.Or(cmp.Compare(a.memory, b.memory), cmp.Compare(a.model, b.model))
}

// kindsOf lists the sorts of cards that a node sells, those with the least memory first.
func kindsOf(n *Node) []cardKind {
	var kinds []cardKind
	for i := range n.Cards {
		if c := &n.Cards[i]; !c.Sick && c.Count > 0 {
			kinds = append(kinds, cardKind{c.Memory, c.Model})
		}
	}
	slices.SortFunc(kinds, compareKinds)
	return slices.Compact(kinds)
}

// ValidateCards checks what a machine says of its GPUs.
func ValidateCards(cards []Card) error {
	var count, profiles int64
	for i := range cards {
		c := &cards[i]
		g, err := ParseGPU(c.Model)
		switch {
		case err != nil:
			return err
		case c.Model == "" || g != GPURequest{Model: c.Model}:
			return &FieldError{"cards", fmt.Sprintf("%.80q is no model's name", c.Model)}
		case c.Count < 1 || c.Memory < 0 || c.Memory > BytesMax || c.Island < 0 || c.Shares < 0 || len(c.Profiles) > 64:
			return &FieldError{"cards", fmt.Sprintf("of %s there are %d of %d bytes, which cannot be", c.Model, c.Count, c.Memory)}
		}
		for _, p := range c.Profiles {
			profiles++
			if !IsProfile(p.Name) || p.Slices < 1 || p.Slices > 64 || p.Memory < 0 || p.Memory > BytesMax {
				return &FieldError{"cards", fmt.Sprintf("%.80q of %s is no slice", p.Name, c.Model)}
			}
		}
		count += int64(c.Count)
	}
	if count > GPUsMax || profiles > GPUsMax {
		return &LimitError{What: "cards", Max: GPUsMax, Got: max(count, profiles), Unit: "devices or profiles"}
	}
	return nil
}
