package image

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func layerKey(diffID string) string { return filepath.Join("layers", hexOf(diffID)) }
func imageKey(digest string) string { return filepath.Join("images", hexOf(digest)) }

// hexOf is the part of a digest that is a file's name. Digests were checked when they were read.
func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func writeJSON(path string, from any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// syncAll has the disk keep everything below a folder. Flushing its file system at once is cheaper than ten thousand
// files one by one, and tells of writes that failed behind our back.
func syncAll(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(file.Fd())))
}
