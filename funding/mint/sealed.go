package mint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The sealed file is text, one epoch a line, closed by a checksum:
//
//	coinop mint secret 1
//	epoch 1 0011…
//	sha256 aabb…
const (
	sealedHeader   = "coinop mint secret 1"
	sealedBytesMax = 64 << 10
)

// WriteSealed keeps the secrets of all epochs in a file that only its owner can
// read. It is complete or absent whatever happens meanwhile: it is written
// beside, synced, renamed, and the folder synced.
func WriteSealed(path string, epochs []Epoch) error {
	if len(epochs) == 0 {
		return errors.New("write mint secret: there is none")
	}
	body := sealedText(epochs)
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, ".secret-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("write mint secret: %w", err)
	}
	defer os.Remove(file.Name()) // gone after the rename
	_, err = file.WriteString(body)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err == nil {
		err = syncFolder(folder)
	}
	if err != nil {
		return fmt.Errorf("write mint secret to %s: %w", path, err)
	}
	return nil
}

func sealedText(epochs []Epoch) string {
	var text strings.Builder
	text.WriteString(sealedHeader + "\n")
	for _, epoch := range epochs {
		fmt.Fprintf(&text, "epoch %d %s\n", epoch.Number, hex.EncodeToString(epoch.Secret[:]))
	}
	sum := sha256.Sum256([]byte(text.String()))
	fmt.Fprintf(&text, "sha256 %s\n", hex.EncodeToString(sum[:]))
	return text.String()
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if closed := folder.Close(); err == nil {
		err = closed
	}
	return err
}

// ReadSealed reads the file back. It refuses one that others can read, since
// the secret may then be known, and one that was cut or altered.
func ReadSealed(path string) ([]Epoch, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read mint secret: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > sealedBytesMax {
		return nil, fmt.Errorf("read mint secret: %s is not a secret's file", path)
	}
	if open := info.Mode().Perm() & (fs.ModePerm ^ 0o700); open != 0 {
		return nil, fmt.Errorf("read mint secret: others may read %s (mode %o); look who did, then `chmod 600` it", path, info.Mode().Perm())
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read mint secret: %w", err)
	}
	epochs, err := ParseSealed(string(body))
	if err != nil {
		return nil, fmt.Errorf("read mint secret from %s: %w", path, err)
	}
	return epochs, nil
}

var errSealed = errors.New("the file is damaged; put it back from the recovery words or from another server")

// ParseSealed reads the text of a sealed file.
func ParseSealed(body string) ([]Epoch, error) {
	end := strings.LastIndex(strings.TrimSuffix(body, "\n"), "\n")
	if end < 0 || len(body) > sealedBytesMax {
		return nil, errSealed
	}
	var epochs []Epoch
	lines := strings.Split(body[:end], "\n")
	if lines[0] != sealedHeader {
		return nil, errSealed
	}
	for _, line := range lines[1:] {
		fields := strings.Split(line, " ")
		if len(fields) != 3 || fields[0] != "epoch" {
			return nil, errSealed
		}
		number, err := strconv.ParseUint(fields[1], 10, 32)
		raw, errHex := hex.DecodeString(fields[2])
		if err != nil || errHex != nil || number == 0 || len(raw) != SecretBytes {
			return nil, errSealed
		}
		epochs = append(epochs, Epoch{Number: EpochNumber(number), Secret: Secret(raw)})
	}
	// Writing it again gives the same text exactly if nothing was altered.
	if len(epochs) == 0 || sealedText(epochs) != body {
		return nil, errSealed
	}
	return epochs, nil
}
