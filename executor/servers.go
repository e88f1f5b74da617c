package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// servers lists where a leader is looked for: what the last one has told, then what this machine was started with. All
// of those may have been replaced since.
func (e *Executor) servers() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.Clone(e.told)
	for _, address := range e.config.Servers {
		if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

// serversFile holds a cluster port a line. Whoever answers there has to prove that it is of the cluster.
func (l layout) serversFile() string { return filepath.Join(l.dir, "servers") }

func (e *Executor) openServers() error {
	text, err := os.ReadFile(e.layout.serversFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read where the servers are: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = addresses(strings.Fields(string(text)))
	return nil
}

// learn keeps where the servers are. The caller holds mu.
func (e *Executor) learn(list []string) {
	list = addresses(list)
	if len(list) == 0 || slices.Equal(list, e.told) {
		return
	}
	e.told = list
	file := e.layout.serversFile()
	err := os.WriteFile(file+".new", []byte(strings.Join(list, "\n")+"\n"), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		e.log.Warn("where the servers are will be forgotten at the next start", "error", err)
	}
}

// addresses leaves out what is none.
func addresses(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(address string) bool {
		_, _, err := net.SplitHostPort(address)
		return err != nil
	})
}
