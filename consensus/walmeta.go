package consensus

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft-wal/types"
)

var errDamaged = errors.New("it is damaged")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once

func sumOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// metaFile is what raft-wal must remember beside its segments: which these are, and raft's term and vote. Raft-wal's own
// store, a bbolt file, checks few of its pages and begins anew where the file is missing, which deletes the segments.
type metaFile struct {
	file string
	must bool // it has been written once

	mu sync.Mutex
	metaState
}

type metaState struct {
	Log    types.PersistentState
	Stable map[string][]byte
}

// Load is part of types.MetaStore.
func (m *metaFile) Load(dir string) (types.PersistentState, error) {
	m.file, m.Stable = filepath.Join(dir, "meta"), map[string][]byte{}
	b, err := os.ReadFile(m.file)
	if errors.Is(err, os.ErrNotExist) && !m.must {
		segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if len(segments) > 0 {
			err = fmt.Errorf("%s is not there, and files of a log are", m.file)
		}
		return m.Log, err
	}
	if err != nil {
		return m.Log, err
	}
	if err := unseal(b, &m.metaState); err != nil {
		return m.Log, fmt.Errorf("read %s: %w", m.file, err)
	}
	turned, err := turnPage(dir, &m.Log)
	if err == nil && turned {
		err = m.write()
	}
	return m.Log, err
}

// CommitState is part of types.MetaStore.
func (m *metaFile) CommitState(s types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Log = s
	return m.write()
}

// GetStable is part of types.MetaStore.
func (m *metaFile) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Stable[string(key)], nil
}

// SetStable is part of types.MetaStore.
func (m *metaFile) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Stable[string(key)] = append([]byte(nil), value...)
	return m.write()
}

// Close is part of types.MetaStore.
func (*metaFile) Close() error { return nil }

func (m *metaFile) write() error {
	b, err := seal(m.metaState)
	if err != nil {
		return err
	}
	return writeFile(m.file, b)
}

// seal writes JSON behind a checksum.
func seal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", sumOf(b), b), nil
}

func unseal(text []byte, into any) error {
	const head = 2*crc32.Size + 1
	if len(text) <= head || string(text) != fmt.Sprintf("%08x %s\n", sumOf(text[head:len(text)-1]), text[head:len(text)-1]) {
		return errDamaged
	}
	return json.Unmarshal(text[head:], into)
}
