package client

import "testing"

// FuzzParseAddress: an address that is read leads to one place, and comes back the same.
func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"127.0.0.1:2770", "https://a.example:1", "https://a.example:1#sha256=" + "ab", "http://u:p@x:1", "[::1]:7", "://", "x:1?y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.URL)
		if err != nil || again.URL != a.URL || again.Host != a.Host || again.HTTPS() != a.HTTPS() {
			t.Fatalf("%q is %+v, that is %+v: %v", text, a, again, err)
		}
	})
}

// FuzzParseSecret: a secret that is read is written the same.
func FuzzParseSecret(f *testing.F) {
	f.Add(Secret{1, 2, 3}.Hex())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err != nil {
			return
		}
		if again, err := ParseSecret(s.Hex()); err != nil || again != s {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
