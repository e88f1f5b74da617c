package mint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
)

// TestPublishedNonces reads the protocol's page of proofs: another server must make the very same ones.
func TestPublishedNonces(t *testing.T) {
	dir := os.Getenv("COINOP_TESTDATA")
	if dir == "" {
		t.Skip("COINOP_TESTDATA names no folder of test vectors")
	}
	page, err := os.ReadFile(filepath.Join(dir, "cashu-vectors", "12-tests.md"))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Deterministic nonce")
	part, _, _ := strings.Cut(rest, "Verification")
	said := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+): +([0-9a-f]+)$`).FindAllStringSubmatch(part, -1) {
		said[m[1]] = m[2]
	}
	if len(said) != 6 {
		t.Fatalf("the page says %v", said)
	}
	scalar, err := cashu.ParseScalar(said["a"])
	if err != nil {
		t.Fatal(err)
	}
	keys := pair{private: scalar}
	public, ok := multiplyBase(&keys.private)
	if !ok || public.compress().String() != said["A"] {
		t.Fatalf("A is %s, want %s", public.compress(), said["A"])
	}
	keys.public = public
	b, err := cashu.ParsePoint(said["B_"])
	if err != nil {
		t.Fatal(err)
	}
	blinded, ok := decompress(b)
	if !ok {
		t.Fatal("B_ is refused")
	}
	signed, ok := blinded.multiply(&keys.private)
	if !ok || signed.compress().String() != said["C_"] {
		t.Fatalf("C_ is %s, want %s", signed.compress(), said["C_"])
	}
	proof, err := prove(&keys, blinded, signed)
	if err != nil || proof.E.String() != said["e"] || proof.S.String() != said["s"] {
		t.Errorf("e %s s %s (%v), want %s %s", proof.E, proof.S, err, said["e"], said["s"])
	}
}
