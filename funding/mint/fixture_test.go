package mint

import (
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

// at is a moment of cluster time within the keysets' life.
const at = int64(1_700_000_000_000)

const expiry = int64(2_000_000_000)

var testEpoch = Epoch{Number: 1, Secret: Secret{1, 2, 3}}

// state is the smallest replicated state that a check can read.
type state struct {
	keysets []Keyset
	spent   map[cashu.SpentKey]bool
	outputs map[cashu.Point]Output
	looked  int // coins looked up in the spent set
}

func (s *state) KeysetByID(id cashu.KeysetID) (Keyset, bool) {
	for _, k := range s.keysets {
		if k.ID == id {
			return k, true
		}
	}
	return Keyset{}, false
}

func (s *state) KeysetByNumber(n KeysetNumber) (Keyset, bool) {
	for _, k := range s.keysets {
		if k.Number == n {
			return k, true
		}
	}
	return Keyset{}, false
}

func (s *state) IsSpent(key cashu.SpentKey) bool {
	s.looked++
	return s.spent[key]
}

func (s *state) OutputAt(p cashu.Point) Output { return s.outputs[p] }

// bench is a mint with three keysets: active, retiring and active with a fee.
type bench struct {
	*state
	ring    *Keyring
	counter int
	curve   int // coins checked on the curve
}

func (b *bench) Verify(proof cashu.Proof, y cashu.Point) error {
	b.curve++
	return b.ring.Verify(proof, y)
}

func define(t testing.TB, number KeysetNumber, unit string, fee uint32) Keyset {
	t.Helper()
	k, err := Define(testEpoch, number, unit, fee, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBench(t testing.TB) *bench {
	t.Helper()
	active, old, paid := define(t, 1, "credit", 0), define(t, 2, "credit", 0), define(t, 3, "credit", 100)
	var err error
	if old, err = old.Move(KeysetRetiring); err != nil {
		t.Fatal(err)
	}
	b := &bench{state: &state{
		keysets: []Keyset{active, old, paid},
		spent:   map[cashu.SpentKey]bool{}, outputs: map[cashu.Point]Output{},
	}}
	if b.ring, err = NewKeyring([]Epoch{testEpoch}, b.keysets); err != nil {
		t.Fatal(err)
	}
	return b
}

// output makes a blinded output with what is needed to unblind it.
func (b *bench) output(t testing.TB, keyset int, amount cashu.Units) (cashu.BlindedMessage, string, cashu.Scalar) {
	t.Helper()
	b.counter++
	secret, r, err := cashu.Derive([]byte("seed"), b.keysets[keyset].ID, uint64(b.counter))
	if err != nil {
		t.Fatal(err)
	}
	blinded, err := cashu.Blind([]byte(secret), r)
	if err != nil {
		t.Fatal(err)
	}
	return cashu.BlindedMessage{Amount: amount, ID: b.keysets[keyset].ID, B_: blinded}, secret, r
}

// coin is a genuine coin, made the long way round.
func (b *bench) coin(t testing.TB, keyset int, amount cashu.Units) cashu.Proof {
	t.Helper()
	message, secret, r := b.output(t, keyset, amount)
	signature, err := b.ring.Sign(message.ID, amount, message.B_)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := b.keysets[keyset].Keys.For(amount)
	c, err := cashu.Unblind(signature.C_, r, key)
	if err != nil {
		t.Fatal(err)
	}
	return cashu.Proof{Amount: amount, ID: message.ID, Secret: secret, C: c}
}

func (b *bench) coins(t testing.TB, keyset int, amounts ...cashu.Units) []cashu.Proof {
	t.Helper()
	coins := make([]cashu.Proof, len(amounts))
	for i, amount := range amounts {
		coins[i] = b.coin(t, keyset, amount)
	}
	return coins
}

func (b *bench) blanks(t testing.TB, keyset, n int) []cashu.BlindedMessage {
	t.Helper()
	blanks := make([]cashu.BlindedMessage, n)
	for i := range blanks {
		blanks[i], _, _ = b.output(t, keyset, 0)
	}
	return blanks
}

func (b *bench) outputs2(t testing.TB, keyset int, amounts ...cashu.Units) []cashu.BlindedMessage {
	t.Helper()
	outputs := make([]cashu.BlindedMessage, len(amounts))
	for i, amount := range amounts {
		outputs[i], _, _ = b.output(t, keyset, amount)
	}
	return outputs
}

// spend stores what an entry would: the state after it.
func (b *bench) spend(t testing.TB, a Admitted, job uint64) {
	t.Helper()
	for _, input := range a.Inputs {
		b.spent[input.Key] = true
	}
	for _, o := range a.Outputs {
		next, err := b.OutputAt(o.B_).Allow(o.Keyset, o.Amount())
		if err != nil {
			t.Fatal(err)
		}
		b.state.outputs[o.B_] = next
	}
	for _, o := range a.Blanks {
		next, err := b.OutputAt(o.B_).Register(o.Keyset, job)
		if err != nil {
			t.Fatal(err)
		}
		b.state.outputs[o.B_] = next
	}
}

func (b *bench) admit(request Request) (Admitted, error) {
	request.Unit = "credit"
	return Admit(b, b, DefaultLimits(), at, request)
}
