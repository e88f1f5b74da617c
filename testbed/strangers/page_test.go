package strangers

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/coinop/coinop/testbed/guide"
)

const page = "../../docs/strangers.md"

// blocks are the page's commands. A page that has lost its marks would make its test pass.
func blocks(t *testing.T) (text string, found []guide.Block) {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if found, err = guide.Blocks(string(raw)); err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("%d blocks are run, there were thirteen", len(found))
	}
	return string(raw), found
}

// What readers are told to install is what the test installs, to the byte.
func TestThePageNamesTheWalletThatIsTested(t *testing.T) {
	text, _ := blocks(t)
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	raw, err := os.ReadFile("testdata/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &lock); err != nil {
		t.Fatal(err)
	}
	wallet := lock.Packages["node_modules/@cashu/cashu-ts"]
	if wallet.Version == "" || !strings.Contains(text, "npm install @cashu/cashu-ts@"+wallet.Version+"`") {
		t.Errorf("the page does not say: npm install @cashu/cashu-ts@%s", wallet.Version)
	}
	for name, p := range lock.Packages {
		if name != "" && p.Integrity == "" {
			t.Errorf("%s is not pinned by its hash", name)
		}
	}
}
