package pki

import (
	"strings"
	"testing"
)

func TestNamesOfMembers(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "n1": true, "rack-7.example.org": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "-a": false, "a.": false, "A": false, "a b": false, "a\n": false, "é": false,
	} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
