package sim

import (
	"errors"
	"slices"
	"testing"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler"
)

func keysets(t *testing.T) []machine.KeysetSpec {
	t.Helper()
	specs, err := Keysets()
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

func TestShortLivesHoldEveryInvariant(t *testing.T) {
	specs := keysets(t)
	var all Report
	for seed := uint64(1); seed <= 6; seed++ {
		report, err := Run(t.Context(), Config{Seed: seed, Entries: 800, Keysets: specs})
		if err != nil {
			t.Fatal(err)
		}
		all.GPUs, all.NoRoom = all.GPUs+report.GPUs, all.NoRoom+report.NoRoom
		all.Suspended, all.Woken, all.Again = all.Suspended+report.Suspended, all.Woken+report.Woken, all.Again+report.Again
		all.Moved += report.Moved
		if report.Jobs == 0 || report.Runs == 0 || report.Refused == 0 {
			t.Errorf("seed %d: %d jobs, %d runs, %d refusals: such a life shows nothing", seed, report.Jobs, report.Runs, report.Refused)
		}
	}
	if all.GPUs < 20 || all.NoRoom == 0 {
		t.Errorf("%d runs had GPUs, %d were refused by their machine: such lives show nothing of GPUs", all.GPUs, all.NoRoom)
	}
	if all.Suspended < 15 || all.Woken < 8 || all.Again < 3 || all.Moved < 3 {
		t.Errorf("%d runs were suspended, %d of them went on, %d were suspended again, %d moved: such lives show nothing of suspension", all.Suspended, all.Woken, all.Again, all.Moved)
	}
}

func TestTheSameSeedLivesTheSameLife(t *testing.T) {
	specs := keysets(t)
	live := func() Report {
		report, err := Run(t.Context(), Config{Seed: 7, Entries: 300, Keysets: specs, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	a, b := live(), live()
	if a.Jobs != b.Jobs || a.Runs != b.Runs || a.Refused != b.Refused || a.Days != b.Days {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// faulty is a machine with a fault planted in what it takes or in what it tells.
type faulty struct {
	*machine.Machine
	take func(machine.Command)
	late func(funding.Millis, machine.Command) // as take, and knows the time
	tell func(*machine.Result)
	left func(*machine.Result) // changes the records that an entry has left, as a machine with this fault would leave them

	seq   uint64 // of what it tells, where that is not what happened
	chain [32]byte
}

func (f *faulty) Apply(index uint64, entry []byte) machine.Result {
	if f.take != nil || f.late != nil {
		if at, command, err := machine.Decode(entry); err == nil {
			if f.take != nil {
				f.take(command)
			} else {
				f.late(at, command)
			}
			if changed, err := machine.Encode(at, command); err == nil {
				entry = changed
			}
		}
	}
	r := f.Machine.Apply(index, entry)
	if f.left != nil {
		f.left(&r)
	}
	if f.tell != nil {
		f.tell(&r)
	}
	return r
}

// Each planted fault must be named within a few short lives.
func TestOraclesBite(t *testing.T) {
	faults := map[string]func(*faulty){
		"a transfer is not told": func(f *faulty) {
			f.tell = func(r *machine.Result) { r.Events = without(r.Events, machine.EventTransfer) }
		},
		"a transfer is a micro-unit larger than what moved": func(f *faulty) {
			f.tell = func(r *machine.Result) {
				for i := range r.Events {
					if r.Events[i].Kind == machine.EventTransfer {
						r.Events[i].Amount++
						return
					}
				}
			}
		},
		"an event is lost": func(f *faulty) {
			f.tell = func(r *machine.Result) { r.Events = without(r.Events, machine.EventPlaced) }
		},
		"frozen time is billed": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachEnd(c, func(e *machine.End) { e.Stopped = nil })
			}
		},
		"ends come a second late": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachEnd(c, func(e *machine.End) { e.At += 1000 })
			}
		},
		"what nobody confirmed is settled": func(f *faulty) {
			f.late = func(at funding.Millis, c machine.Command) {
				eachRun(c, func(r *machine.RunReport) {
					if r.Alive != nil && r.Alive.To < at { // not those that are lies anyway
						r.Alive.To = at
					}
				})
			}
		},
		"half of what was frozen on the way is billed": func(f *faulty) {
			f.late = func(at funding.Millis, c machine.Command) {
				eachRun(c, func(r *machine.RunReport) {
					if r.Alive != nil && r.Alive.To < at {
						for i := range r.Alive.Stopped {
							span := &r.Alive.Stopped[i]
							span.From += (span.To - span.From) / 2
						}
					}
				})
			}
		},
		"an overrun is not booked": func(f *faulty) {
			f.tell = func(r *machine.Result) {
				var told []machine.Event
				for _, e := range r.Events {
					if e.Text == funding.CodeOverrun.String() {
						continue
					}
					f.seq++
					e.Seq = f.seq
					e.Hash, _ = machine.ChainHash(f.chain, e)
					f.chain = e.Hash
					told = append(told, e)
				}
				r.Events = told
			}
		},
		"a deposit is a coin short": func(f *faulty) {
			f.take = func(c machine.Command) {
				if d, ok := c.(*machine.Deposit); ok && d.Payment.Coins.Pay > 1 {
					d.Payment.Coins.Pay--
				}
			}
		},
		"a machine's cards are told twice over": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachFacts(c, func(facts *machine.NodeFacts) {
					facts.Cards = append(facts.Cards, facts.Cards...)
					facts.Has.GPUs *= 2
				})
			}
		},
		"a card has twice its slices of compute": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachProfile(c, func(p *scheduler.Profile) {
					if p.Slices == 7 {
						p.Slices = 14
					}
				})
			}
		},
		"memory of slices is sold as none": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachProfile(c, func(p *scheduler.Profile) { p.Memory = 0 })
			}
		},
		"another model will do": func(f *faulty) {
			f.take = func(c machine.Command) {
				if s, ok := c.(*machine.Submit); ok && s.GPU.Kind == scheduler.GPUWhole {
					s.GPU.Model = ""
				}
			}
		},
		"NVLink does not matter": func(f *faulty) {
			f.take = func(c machine.Command) {
				if s, ok := c.(*machine.Submit); ok {
					s.GPU.NVLink = false
				}
			}
		},
		"a sick card is sold": func(f *faulty) {
			f.take = func(c machine.Command) {
				eachFacts(c, func(facts *machine.NodeFacts) {
					for i := range facts.Cards {
						if card := &facts.Cards[i]; card.Sick {
							card.Sick = false
							facts.Has.GPUs += int64(card.Count)
						}
					}
				})
			}
		},
		"bids are doubled": func(f *faulty) {
			f.take = func(c machine.Command) {
				if s, ok := c.(*machine.Submit); ok && s.Bid < funding.RateMax/2 {
					s.Bid *= 2
				}
			}
		},
	}
	named := map[string][]string{ // where another oracle's word is not enough
		"what nobody confirmed is settled":             {"I8", "I11"},
		"half of what was frozen on the way is billed": {"I8", "I11"},
		"an overrun is not booked":                     {"I9"},
		"a machine's cards are told twice over":        {"cards"},
		"a card has twice its slices of compute":       {"cards"},
		"memory of slices is sold as none":             {"cards"},
		"another model will do":                        {"cards"},
		"NVLink does not matter":                       {"cards"},
		"a sick card is sold":                          {"cards"},
	}
	bite(t, faults, named)
}

// bite has each planted fault found, and by an oracle that is named where another one's word is not enough.
func bite(t *testing.T, faults map[string]func(*faulty), named map[string][]string) {
	t.Helper()
	specs := keysets(t)
	for name, plant := range faults {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 20; seed++ {
				life := Config{Seed: seed, Entries: 800, Keysets: specs, Alone: true, Replica: func() Replica {
					f := &faulty{Machine: machine.New()}
					plant(f)
					return f
				}}
				_, err := Run(t.Context(), life)
				var failure *Failure
				if errors.As(err, &failure) {
					if want := named[name]; want != nil && !slices.Contains(want, failure.Invariant) {
						continue
					}
					t.Logf("seed %d, entry %d: %s: %s", seed, failure.Entry, failure.Invariant, failure.Found)
					life.Entries = failure.Entry + 1
					if _, again := Run(t.Context(), life); again == nil || again.Error() != err.Error() {
						t.Errorf("once more: %v", again)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Error("twenty lives passed without a word")
		})
	}
}

// A leader that does not look lets streams run on past their money.
func TestTheEndOfMoneyBites(t *testing.T) {
	specs := keysets(t)
	for seed := uint64(1); seed <= 20; seed++ {
		w := newWorld(Config{Seed: seed, Entries: 2000, FullEach: 250, Keysets: specs, Alone: true, Replica: func() Replica { return machine.New() }})
		w.found()
		for w.entries < 400 && w.failure == nil {
			w.step()
		}
		for _, r := range w.runs {
			r.plan = 100 * day
		}
		w.now += day
		if w.checkMoney(); w.failure != nil {
			if w.failure.Invariant != "I9" {
				t.Fatal(w.failure)
			}
			return
		}
	}
	t.Error("streams without money ran for a day and nobody said a word")
}

func without(events []machine.Event, kind machine.EventKind) []machine.Event {
	for i := range events {
		if events[i].Kind == kind {
			return append(append([]machine.Event(nil), events[:i]...), events[i+1:]...)
		}
	}
	return events
}

// eachFacts changes what a machine says of itself; the machine does not know, so its list is copied.
func eachFacts(c machine.Command, change func(*machine.NodeFacts)) {
	switch c := c.(type) {
	case *machine.NodeJoin:
		change(&c.Facts)
	case *machine.NodeUpdate:
		change(&c.Facts)
	}
}

func eachProfile(c machine.Command, change func(*scheduler.Profile)) {
	eachFacts(c, func(facts *machine.NodeFacts) {
		for i := range facts.Cards {
			for k := range facts.Cards[i].Profiles {
				change(&facts.Cards[i].Profiles[k])
			}
		}
	})
}

func eachRun(c machine.Command, change func(*machine.RunReport)) {
	if report, ok := c.(*machine.Report); ok {
		for i := range report.Runs {
			change(&report.Runs[i])
		}
	}
}

func eachEnd(c machine.Command, change func(*machine.End)) {
	eachRun(c, func(r *machine.RunReport) {
		if r.Ended != nil {
			change(r.Ended)
		}
	})
}

// Two machines that make something else of one log are told apart, even where no result shows it.
func TestMachinesThatPartAreFound(t *testing.T) {
	_, err := Run(t.Context(), Config{Seed: 1, Entries: 800, Keysets: keysets(t), Replica: func() Replica {
		return &faulty{Machine: machine.New(), take: func(c machine.Command) {
			if s, ok := c.(*machine.Submit); ok {
				s.Work = append(s.Work, 0)
			}
		}}
	}})
	var failure *Failure
	if !errors.As(err, &failure) || failure.Invariant != "I12" {
		t.Errorf("it ended with: %v", err)
	}
}

// A seed's troubles are its own, and all kinds are met in a hundred.
func TestTroublesAreOfTheSeed(t *testing.T) {
	var met [troubleKinds]int
	calm := 0
	for seed := range uint64(100) {
		set := troublesOf(seed)
		if set != troublesOf(seed) {
			t.Fatal("one seed has two sets of troubles")
		}
		if set == ([troubleKinds]bool{}) {
			calm++
		}
		for kind, on := range set {
			if on {
				met[kind]++
			}
		}
	}
	for kind, n := range met {
		if n == 0 {
			t.Errorf("no life has %v", trouble(kind))
		}
	}
	if calm == 0 {
		t.Error("no life is calm")
	}
}
