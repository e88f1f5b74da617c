package image

import (
	"fmt"
	"os"
	"regexp"
	"slices"
)

func taskID(task string) error {
	if ok, _ := regexp.MatchString(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, task); !ok {
		return fmt.Errorf("hold an image: %q is no id of a task", task)
	}
	return nil
}

// holdFor keeps items for a task, instead of what it may have held.
func (s *Store) holdFor(task string, keys []string) error {
	if err := taskID(task); err != nil {
		return err
	}
	s.holding.Lock()
	defer s.holding.Unlock()
	// A loss of power ends the task as well, so the file need not survive that: only the process's end.
	made := s.path("tmp", "task."+task)
	err := writeJSON(made, keys)
	if err == nil {
		err = os.Rename(made, s.path("tasks", task))
	}
	if err != nil {
		return fmt.Errorf("hold an image for task %s: %w", task, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold(keys...)
	s.release(s.tasks[task]...)
	s.tasks[task] = keys
	return nil
}

// Drop ends what a task holds. One that holds nothing is fine.
func (s *Store) Drop(task string) error {
	if err := taskID(task); err != nil {
		return err
	}
	s.holding.Lock()
	defer s.holding.Unlock()
	if err := os.Remove(s.path("tasks", task)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("drop the image of task %s: %w", task, err)
	}
	s.mu.Lock()
	keys := s.tasks[task]
	delete(s.tasks, task)
	s.release(keys...)
	s.mu.Unlock()
	s.touch(keys...)
	return nil
}

// Tasks are those that hold something, in the order of their names.
func (s *Store) Tasks() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for task := range s.tasks {
		all = append(all, task)
	}
	slices.Sort(all)
	return all
}

// loadTasks finds what tasks hold since before this process. What is no longer there cannot be held; a file that cannot be
// read was being written when the power went, with all tasks.
func (s *Store) loadTasks() error {
	entries, err := os.ReadDir(s.path("tasks"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		var keys []string
		if taskID(e.Name()) != nil || readJSON(s.path("tasks", e.Name()), &keys) != nil {
			if err := os.RemoveAll(s.path("tasks", e.Name())); err != nil {
				return err
			}
			continue
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return s.items[key] == nil })
		s.tasks[e.Name()] = keys
		for _, key := range keys {
			s.items[key].held++
		}
	}
	return nil
}
