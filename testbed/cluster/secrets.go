package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// secretLeast is the length from which bytes are long enough not to be met by chance.
const secretLeast = 12

// Secrets are what must not be found where others can read. The zero value has none.
type Secrets struct {
	needles map[uint64][]needle // by their first eight bytes
	known   map[string]bool
}

type needle struct {
	name string
	text []byte
}

// Add takes a secret by its bytes: they are looked for as they are, in hexadecimal and in base64, within longer texts too.
func (s *Secrets) Add(name string, secret []byte) error {
	if len(secret) < secretLeast {
		return fmt.Errorf("add the secret %s: %d bytes are found anywhere", name, len(secret))
	}
	if s.known == nil {
		s.known, s.needles = map[string]bool{}, map[uint64][]needle{}
	}
	if s.known[string(secret)] {
		return nil
	}
	s.known[string(secret)] = true
	s.put(name, secret)
	text := hex.EncodeToString(secret)
	s.put(name+" in hex", []byte(text))
	s.put(name+" in hex", []byte(strings.ToUpper(text)))
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // bytes that stand before it in the same group of three
			text := encoding.EncodeToString(append(make([]byte, before), secret...))
			from := (8*before + 5) / 6 // the characters that hold nothing else
			to := 8 * (before + len(secret)) / 6
			s.put(name+" in base64", []byte(text[from:to]))
		}
	}
	return nil
}

// AddText takes a secret that is a text: hexadecimal digits are taken by their bytes as well.
func (s *Secrets) AddText(name, text string) error {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) >= secretLeast {
		if err := s.Add(name, raw); err != nil {
			return err
		}
	}
	return s.Add(name, []byte(text))
}

// Len is how many there are.
func (s *Secrets) Len() int { return len(s.known) }

func (s *Secrets) put(name string, text []byte) {
	key := binary.LittleEndian.Uint64(text)
	for _, n := range s.needles[key] {
		if bytes.Equal(n.text, text) {
			return
		}
	}
	s.needles[key] = append(s.needles[key], needle{name, text})
}

// In names the secrets that some bytes hold.
func (s *Secrets) In(data []byte) []string {
	var found []string
	for at := 0; at+8 <= len(data); at++ {
		for _, n := range s.needles[binary.LittleEndian.Uint64(data[at:])] {
			if bytes.HasPrefix(data[at:], n.text) && !slices.Contains(found, n.name) {
				found = append(found, n.name)
			}
		}
	}
	return found
}

// Below looks through all files below a folder, but for those whose path from there is said to be skipped.
func (s *Secrets) Below(dir string, skip func(name string) bool) (found []string, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path) // it begins with dir
		if err != nil || !entry.Type().IsRegular() || skip != nil && skip(name) {
			return ignoreGone(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		files++
		for _, what := range s.In(data) {
			found = append(found, path+" holds "+what)
		}
		return nil
	})
	if err != nil {
		return nil, files, fmt.Errorf("look for secrets: %w", err)
	}
	return found, files, nil
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// Said is what `ps` shows of all processes, and what their environment is: by the text, who was the first to show it.
func Said(into map[string]string) {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return
	}
	for _, dir := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || len(data) == 0 {
				continue // it has ended
			}
			if _, known := into[string(data)]; !known {
				into[string(data)] = dir + "/" + file
			}
		}
	}
}
