package container

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/coinop/coinop/drivers/shim"
)

// settings are what a command that joins the task later has in common with its first one.
type settings struct {
	Env       [][]byte // which may be no text
	WorkDir   []byte   // where it starts
	FilesMax  int64
	FileBytes int64
}

func settingsFile(box string) string { return filepath.Join(box, "settings.json") }

func writeSettings(box string, spec *shim.Spec) error {
	s := settings{WorkDir: []byte(spec.WorkDir), FilesMax: spec.FilesMax, FileBytes: spec.FileBytes}
	for _, entry := range spec.Env {
		s.Env = append(s.Env, []byte(entry))
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(settingsFile(box), data, 0o600)
}

func readSettings(box string) (s settings, err error) {
	data, err := os.ReadFile(settingsFile(box))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (s settings) env() []string {
	var all []string
	for _, entry := range s.Env {
		all = append(all, string(entry))
	}
	return all
}
