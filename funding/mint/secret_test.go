package mint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRecoveryWordsGiveTheSecretBack(t *testing.T) {
	words, err := Words(testEpoch.Secret)
	if err != nil || len(strings.Fields(words)) != 24 {
		t.Fatalf("%q %v", words, err)
	}
	for _, text := range []string{words, strings.ToUpper(words), "  " + strings.ReplaceAll(words, " ", "\n ")} {
		if got, err := SecretFromWords(text); err != nil || got != testEpoch.Secret {
			t.Errorf("%q: %v", text, err)
		}
	}
	twelve := "half depart obvious quality work element tank gorilla view sugar picture humble"
	one, err := SecretFromWords(twelve)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := SecretFromWords(twelve); err != nil || one != two || one == (Secret{}) {
		t.Error("12 words do not give one secret")
	}
	fields := strings.Fields(words)
	for name, text := range map[string]string{
		"none": "", "23 words": strings.Join(fields[1:], " "), "a word unknown": strings.Join(append([]string{"coinop"}, fields[1:]...), " "),
		"two changed": strings.Join(append([]string{fields[1], fields[0]}, fields[2:]...), " "),
		"15 words":    strings.Join(fields[:15], " "),
	} {
		if _, err := SecretFromWords(text); err == nil {
			t.Errorf("%s were read", name)
		}
	}
}

func TestTheSealedFileComesBackWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	want := []Epoch{testEpoch, {Number: 2, Secret: Secret{9, 9}}}
	if err := WriteSealed(path, want[:1]); err != nil {
		t.Fatal(err)
	}
	if err := WriteSealed(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSealed(path)
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("%v %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v %v", left, err)
	}
}

func TestADamagedOrOpenSecretIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := WriteSealed(path, []Epoch{testEpoch}); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSealed(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others read: %v", err)
	}
	for i := range body {
		touched := append([]byte(nil), body...)
		touched[i] ^= 1
		if got, err := ParseSealed(string(touched)); err == nil {
			t.Fatalf("byte %d touched: %v", i, got)
		}
		if got, err := ParseSealed(string(body[:i])); err == nil {
			t.Fatalf("cut at %d: %v", i, got)
		}
	}
	if _, err := ParseSealed(string(body) + "\n"); err == nil {
		t.Error("a line more passes")
	}
	if _, err := ReadSealed(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(unwrap(err)) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadSealed(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
	if err := WriteSealed(path, nil); err == nil {
		t.Error("no secret was written")
	}
	if err := WriteSealed(filepath.Join(path, "x"), []Epoch{testEpoch}); err == nil {
		t.Error("a file was written into a file")
	}
}

func unwrap(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = inner.Unwrap()
	}
}

func FuzzParseSealed(f *testing.F) {
	f.Add(sealedText([]Epoch{testEpoch}))
	f.Add("coinop mint secret 1\nsha256 00\n")
	f.Fuzz(func(t *testing.T, body string) {
		epochs, err := ParseSealed(body)
		if err == nil && sealedText(epochs) != body {
			t.Fatal("what was read is written otherwise")
		}
	})
}

func FuzzSecretFromWords(f *testing.F) {
	words, err := Words(testEpoch.Secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(words)
	f.Fuzz(func(t *testing.T, text string) {
		if secret, err := SecretFromWords(text); err == nil && secret == (Secret{}) {
			t.Skip("the words of zero are valid")
		}
	})
}
