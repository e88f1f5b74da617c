package tasks

import (
	"regexp"
	"strings"
	"testing"
)

func TestIDsAreCheckedAsTheirFormSays(t *testing.T) {
	form := regexp.MustCompile(idForm)
	ids := []string{"", "a", "1.0.1", "a.b_c-d", ".a", "-a", "_a", "a/b", "a b", "é", "a\n", "..", strings.Repeat("a", 64), strings.Repeat("a", 65)}
	for c := range 256 {
		ids = append(ids, string([]byte{byte(c)}), string([]byte{'a', byte(c)}))
	}
	for _, id := range ids {
		if validID(id) != form.MatchString(id) {
			t.Errorf("%q: %v", id, validID(id))
		}
	}
}
