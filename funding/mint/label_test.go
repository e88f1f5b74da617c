package mint

import "testing"

func TestEveryServerDerivesTheSameSecretForAUse(t *testing.T) {
	epochs := []Epoch{{Number: 1, Secret: Secret{1}}}
	var sets []Keyset
	for number := range KeysetNumber(3) {
		set, err := Define(epochs[0], number+1, "credit", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	one, err := NewKeyring(epochs, sets)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKeyring(epochs, []Keyset{sets[2], sets[0], sets[1]})
	if err != nil {
		t.Fatal(err)
	}
	a, ok := one.Label("challenges")
	b, _ := other.Label("challenges")
	c, _ := one.Label("something else")
	if !ok || a != b || a == c || a == ([32]byte{}) {
		t.Errorf("%v: %x, %x, and for another use %x", ok, a, b, c)
	}
	if a == one.keysets[sets[0].ID].pairs[0].private {
		t.Error("it is the key itself")
	}
	if _, ok := new(Keyring).Label("challenges"); ok {
		t.Error("a ring of nothing has a secret")
	}
}
