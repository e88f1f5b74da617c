package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers/container/image/unpack"
)

// Config is what a store is opened with.
type Config struct {
	Dir        string        // made if it is not there, for its owner alone: setuid files of strangers lie in it
	LimitBytes int64         // of all that is unpacked
	Stall      time.Duration // a registry from which nothing comes for so long is given up; 0: a minute
}

// Store is a folder of unpacked layers and of what is known of images. One process has it open at a time.
//
//	layers/HEX/fs, layer.json   a layer, by the digest of what it was before compression
//	images/HEX/image.json       an image, by its digest; beside it top, if it needs a folder above its layers
//	tasks/ID                    what a task holds
//	tmp/                        what is being made or removed; nothing of it outlives the process
type Store struct {
	config Config
	lock   *os.File

	holding sync.Mutex // while tasks/ changes; taken before mu

	mu     sync.Mutex
	items  map[string]*item         // what is there, by its path below the folder
	making map[string]chan struct{} // by their places and paths; closed when it has been made, or has not
	bytes  int64                    // of the items, and of what is being made
	tasks  map[string][]string      // the items that each holds
}

// item is a folder that is there in full.
type item struct {
	bytes int64
	held  int // by Images and by tasks
	used  time.Time
}

// Open opens a store, and clears away what an earlier process left in the midst of its work.
func Open(config Config) (*Store, error) {
	if !filepath.IsAbs(config.Dir) || config.LimitBytes <= 0 {
		return nil, errors.New("open the image store: it needs an absolute path and a limit above zero")
	}
	if config.Stall == 0 {
		config.Stall = time.Minute
	}
	s := &Store{config: config, items: map[string]*item{}, making: map[string]chan struct{}{}, tasks: map[string][]string{}}
	err := os.MkdirAll(config.Dir, 0o700)
	if err == nil {
		err = s.takeLock()
	}
	if err == nil {
		err = s.load()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open the image store: %w", err)
	}
	return s, nil
}

// Close lets another process open the store. Nothing of this one may be going on.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

func (s *Store) takeLock() error {
	file, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("%s is in use by another process: give each its own folder", s.config.Dir)
	}
	s.lock = file
	return nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.config.Dir}, parts...)...)
}

// load finds out what is there. What does not say of itself that it is whole is removed.
func (s *Store) load() error {
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return err
	}
	for _, dir := range []string{"tmp", "layers", "images", "tasks"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return err
		}
	}
	for _, kind := range []string{"layers", "images"} {
		entries, err := os.ReadDir(s.path(kind))
		if err != nil {
			return err
		}
		for _, e := range entries {
			key := filepath.Join(kind, e.Name())
			bytes, err := s.loadItem(kind, key)
			if err != nil {
				if err := os.RemoveAll(s.path(key)); err != nil {
					return err
				}
				continue
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			s.items[key] = &item{bytes: bytes, used: info.ModTime()}
			s.bytes += bytes
		}
	}
	return s.loadTasks()
}

// loadItem reads what an item says of itself.
func (s *Store) loadItem(kind, key string) (int64, error) {
	if kind == "images" {
		var r record
		err := readJSON(s.path(key, "image.json"), &r)
		if err == nil && imageKey(r.Digest) != key {
			err = errors.New("it is of another image")
		}
		return r.Bytes, err
	}
	var l unpack.Layer
	err := readJSON(s.path(key, "layer.json"), &l)
	if err == nil && layerKey(l.DiffID) != key {
		err = errors.New("it is another layer")
	}
	return l.Bytes, err
}
