package drivertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/drivers"
)

func moveChecks() []Check {
	moves := func(_ Harness, d drivers.Description) bool { return d.Moves != "" }
	programs := func(h Harness, d drivers.Description) bool { return h.Programs && d.Moves != "" }
	return []Check{
		{Name: "a suspended task goes on elsewhere", Needs: programs, Run: goesOnElsewhere},
		{Name: "what is exported starts elsewhere, once and again", Needs: moves, Run: startsElsewhere},
		{Name: "only a suspended task is exported", Needs: moves, Run: exportsTheSuspended},
		{Name: "a task goes on from nothing that is broken", Needs: moves, Run: refusesToGoOn},
		{Name: "what cannot move says so", Needs: func(_ Harness, d drivers.Description) bool { return d.Moves == "" }, Run: refusesToMove},
	}
}

// elsewhere is a session on the other driver, to be closed. What is left anywhere is looked for once, when all of them are.
func (s *Session) elsewhere() *Session {
	other := &Session{Harness: s.Harness, ctx: s.ctx, description: s.description, prefix: s.prefix + "e"}
	other.Leaks = nil
	if s.Elsewhere != nil {
		other.Driver = s.Elsewhere
	}
	return other
}

// file makes an empty file that a driver may fill.
func (s *Session) file() (string, error) {
	folder, err := s.Folder()
	if err != nil {
		return "", err
	}
	s.folders = append(s.folders, folder)
	path := filepath.Join(folder, "export")
	return path, os.WriteFile(path, nil, 0o600)
}

func (s *Session) export(id string) (path string, err error) {
	if path, err = s.file(); err != nil {
		return "", err
	}
	return path, s.control(id, drivers.Control{Kind: drivers.Export, File: path})
}

// goOn starts a task from a file, of the same kind as the one that was exported, and waits until it runs.
func (s *Session) goOn(like drivers.Task, path string) (drivers.Task, error) {
	task, err := s.task(like.Argv...)
	if err != nil {
		return task, err
	}
	task.From = path
	if _, err = s.start(task); err != nil {
		return task, err
	}
	_, err = s.awaitState(task.ID, drivers.StateRunning)
	return task, err
}

// mover counts aloud, in fits, and writes how far it came when it is told to end.
const mover = `trap 'echo $i >$0; exit 5' TERM; i=0; while :; do i=$((i+1)); echo $i; [ $((i%100)) != 0 ] || sleep 0.05; done`

func goesOnElsewhere(s *Session) (err error) {
	task, err := s.task("/bin/sh", "-c", mover, filepath.Join(s.seenWorkDir(), "count"))
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	if _, err := s.counts(task, 1000); err != nil {
		return err
	}
	if err := s.suspend(task.ID); err != nil {
		return err
	}
	path, err := s.export(task.ID)
	if err != nil {
		return err
	}
	if _, err := s.awaitState(task.ID, drivers.StateSuspended); err != nil {
		return err
	}
	before, err := output(task, "stdout")
	if err != nil {
		return err
	}
	if err := s.Driver().Remove(s.ctx, task.ID); err != nil {
		return err
	}
	other := s.elsewhere()
	defer func() { err = errors.Join(err, other.close()) }()
	for range 2 { // once more from there, by the way it came
		if before, path, err = other.seam(task, path, before); err != nil {
			return err
		}
	}
	return other.endsElsewhere(task, path, before)
}

// seam lets a task go on, and be suspended again; before is all that it has said so far.
func (s *Session) seam(like drivers.Task, path, before string) (said, next string, err error) {
	task, err := s.goOn(like, path)
	if err != nil {
		return "", "", err
	}
	if _, err := s.saysMore(task, before); err != nil {
		return "", "", err
	}
	if err := s.suspend(task.ID); err != nil {
		return "", "", err
	}
	if next, err = s.export(task.ID); err != nil {
		return "", "", err
	}
	said, err = s.saysMore(task, before)
	return said, next, errors.Join(err, s.Driver().Remove(s.ctx, task.ID))
}

// saysMore waits until a counter has gone on by a thousand, with not a byte lost or told twice, and returns all that it said.
func (s *Session) saysMore(task drivers.Task, before string) (string, error) {
	from := strings.Count(before, "\n")
	for s.ctx.Err() == nil {
		text, err := output(task, "stdout")
		if err != nil {
			return "", err
		}
		n, err := countedIn(before + text)
		if err != nil {
			return "", fmt.Errorf("after %d: %w", from, err)
		}
		if n > from+1000 {
			return before + text, nil
		}
	}
	return "", fmt.Errorf("it counted to %d and no further", from)
}

func (s *Session) endsElsewhere(like drivers.Task, path, before string) error {
	task, err := s.goOn(like, path)
	if err != nil {
		return err
	}
	if _, err := s.saysMore(task, before); err != nil {
		return err
	}
	if s.description.Exec {
		var out strings.Builder
		if _, err := s.exec(task.ID, "echo still here", drivers.ExecRequest{}, drivers.ExecStreams{Stdout: &out}); err != nil {
			return err
		}
		if err := expect("a command after it", out.String(), "still here\n"); err != nil {
			return err
		}
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
		return err
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	text, err := s.saysMore(task, before)
	if err != nil {
		return err
	}
	brought, err := os.ReadFile(filepath.Join(task.WorkDir, "count"))
	if err != nil {
		return fmt.Errorf("what it wrote at its end: %w", err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(brought)))
	if said := strings.Count(text, "\n"); err != nil || last != said && last != said+1 { // it may not have come to say the last one
		return fmt.Errorf("it counted to %d, and %q is in its work folder", said, brought)
	}
	return expectEnd(st, 5, 0, drivers.CauseStopped)
}

// suspended is a task that is.
func (s *Session) suspended() (drivers.Task, error) {
	task, err := s.task(s.Block...)
	if err != nil {
		return task, err
	}
	if _, err := s.running(task); err != nil {
		return task, err
	}
	for s.ctx.Err() == nil { // what is only on its way up cannot be
		if err = s.suspend(task.ID); err == nil {
			return task, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ctx.Done():
		}
	}
	return task, err
}

func startsElsewhere(s *Session) (err error) {
	other := s.elsewhere()
	if there, err := other.Driver().Describe(s.ctx); err != nil || there.Moves != s.description.Moves {
		return fmt.Errorf("elsewhere it says %q and here %q: %w", there.Moves, s.description.Moves, err)
	}
	defer func() { err = errors.Join(err, other.close()) }()
	task, err := s.suspended()
	if err != nil {
		return err
	}
	var paths []string
	for range 2 {
		path, err := s.export(task.ID)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if err := s.resume(task.ID); err != nil { // what was exported is another matter
		return err
	}
	for _, path := range paths {
		moved, err := other.goOn(task, path)
		if err != nil {
			return err
		}
		if err := other.control(moved.ID, drivers.Control{Kind: drivers.Stop}); err != nil {
			return err
		}
		if _, err := other.awaitEnd(moved.ID); err != nil {
			return err
		}
	}
	return nil
}

func exportsTheSuspended(s *Session) error {
	path, err := s.file()
	if err != nil {
		return err
	}
	export := drivers.Control{Kind: drivers.Export, File: path}
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	if err := s.control(task.ID, export); !errors.Is(err, drivers.ErrNoTask) {
		return fmt.Errorf("export of no task: %v, want %v", err, drivers.ErrNoTask)
	}
	if task, err = s.suspended(); err != nil {
		return err
	}
	for _, path := range []string{"", "export"} {
		if err := s.control(task.ID, drivers.Control{Kind: drivers.Export, File: path}); !errors.Is(err, drivers.ErrInvalid) {
			return fmt.Errorf("export to %q: %v, want %v", path, err, drivers.ErrInvalid)
		}
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Export, File: path + ".none"}); err == nil {
		return errors.New("it is exported to a file that is not there")
	}
	if err := s.resume(task.ID); err != nil {
		return err
	}
	if err := s.control(task.ID, export); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("export of a running task: %v, want %v", err, drivers.ErrInvalid)
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	if err := s.control(task.ID, export); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("export of a frozen task: %v, want %v", err, drivers.ErrInvalid)
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Kill}); err != nil {
		return err
	}
	if _, err := s.awaitEnd(task.ID); err != nil {
		return err
	}
	if err := s.control(task.ID, export); !errors.Is(err, drivers.ErrEnded) {
		return fmt.Errorf("export of a task that has ended: %v, want %v", err, drivers.ErrEnded)
	}
	return nil
}

func refusesToGoOn(s *Session) (err error) {
	task, err := s.suspended()
	if err != nil {
		return err
	}
	path, err := s.export(task.ID)
	if err != nil {
		return err
	}
	good, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	other := s.elsewhere()
	defer func() { err = errors.Join(err, other.close()) }()
	flipped := func(at int) []byte {
		data := append([]byte{}, good...)
		data[at] ^= 4
		return data
	}
	for what, data := range map[string][]byte{
		"an empty file": nil, "garbage": []byte(strings.Repeat("garbage ", 10_000)), "the first half": good[:len(good)/2], "all but the last byte": good[:len(good)-1],
		"a bit flipped at the beginning": flipped(1), "a bit flipped in the middle": flipped(len(good) / 2), "a bit flipped at the end": flipped(len(good) - 1),
		"more than all": append(good[:len(good):len(good)], "more"...),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		if err := other.staysOut(path); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, path := range []string{"export", path + ".none", filepath.Dir(path)} {
		if err := other.staysOut(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// staysOut expects that nothing goes on from a file, for a reason, and that nothing is left of the try.
func (s *Session) staysOut(path string) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	task.From = path
	if _, err := s.start(task); err != nil {
		if entries, readErr := os.ReadDir(task.Dir); readErr == nil && len(entries) > 0 {
			return fmt.Errorf("refused by %q it left %s", err, entries[0].Name())
		}
		if _, err := s.Driver().Usage(s.ctx, task.ID); !errors.Is(err, drivers.ErrNoTask) {
			return fmt.Errorf("of what was refused there is a task: %v", err)
		}
		return nil
	}
	st, err := s.awaitEnd(task.ID)
	if err != nil {
		return err
	}
	if st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Code != 125 || st.Exit.Message == "" {
		return fmt.Errorf("it ended as %+v", st.Exit)
	}
	return nil
}

func refusesToMove(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	path, err := s.file()
	if err != nil {
		return err
	}
	moved := task
	moved.From = path
	if _, err := s.start(moved); !errors.Is(err, drivers.ErrUnsupported) {
		return fmt.Errorf("start from a file: %v, want %v", err, drivers.ErrUnsupported)
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Export, File: path}); !errors.Is(err, drivers.ErrUnsupported) {
		return fmt.Errorf("export: %v, want %v", err, drivers.ErrUnsupported)
	}
	return nil
}
