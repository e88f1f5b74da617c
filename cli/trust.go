package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coinop/coinop/api/client"
)

// knownFile lies in COINOP_HOME: the fingerprints of servers that its owner has confirmed, a line each: HOST:PORT and
// sha256=…. What an address names itself needs no line here.
const knownFile = "known_servers"

// trust tells the connections which server is known by what: from its address, or from the file. On a terminal a
// server that nobody vouches for is shown and asked for; elsewhere it is refused when it is called.
func (a *app) trust(t *client.Transport, servers []string) error {
	dir, err := home()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, knownFile)
	for _, server := range servers {
		address, err := client.ParseAddress(server)
		if err != nil {
			return usageError{err}
		}
		if !address.HTTPS() || address.Pin != nil {
			continue
		}
		if err := readKnown(t, path); err != nil {
			return err
		}
		if t.Pinned(address.Host) || a.json || !a.isTerminal(a.in) || !a.isTerminal(a.err) {
			continue
		}
		if err := a.meet(t, address, path); err != nil {
			return err
		}
	}
	return nil
}

// readKnown pins what the file has.
func readKnown(t *client.Transport, path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the servers that are known: %w", err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		pin, err := client.ParsePin(strings.Join(fields[1:], " "))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		t.Pin(fields[0], pin, fmt.Sprintf("%s:%d", path, i+1))
	}
	return nil
}

// meet shows a person what an unknown server is known by, and writes down what was confirmed. One that does not answer
// is no matter of trust.
func (a *app) meet(t *client.Transport, address client.Address, path string) error {
	err := t.Look(context.Background(), address)
	var strange *client.Distrust
	if !errors.As(err, &strange) {
		return nil //nolint:nilerr // the request that follows says what is wrong, and other servers may do
	}
	fmt.Fprintf(a.err, "%s is not known here. It shows the fingerprint\n\n    %s\n\nIts operator saw it where the server was started. Is it the same? [y/N] ",
		address.Host, strange.Shown)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil && line == "" || answer != "y" && answer != "yes" {
		return &client.Unreachable{Tried: []client.Attempt{{Server: address.Host, Err: errors.New("its fingerprint was not confirmed")}}}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("remember the server: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remember the server: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %s\n", address.Host, strange.Shown)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember the server: %w", err)
	}
	a.note("remembered in %s", path)
	t.Pin(address.Host, strange.Shown, path)
	return nil
}
