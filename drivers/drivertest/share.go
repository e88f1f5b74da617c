package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coinop/coinop/drivers"
)

func shareChecks() []Check {
	shares := func(h Harness, d drivers.Description) bool { return h.Programs && d.Share }
	none := func(h Harness, d drivers.Description) bool { return h.Programs && !d.Share }
	return []Check{
		{Name: "a task works in a shared folder as its user", Needs: shares, Run: worksThere},
		{Name: "no link leads a task out of a shared folder", Needs: shares, Run: noWayOut},
		{Name: "a link that is swapped under our hands leads nowhere", Needs: shares, Run: swappedLink},
		{Name: "a shared folder that cannot be is refused", Needs: shares, Run: noSuchShare},
		{Name: "a driver without shared folders refuses them", Needs: none, Run: sharesNothing},
	}
}

// share makes a folder that others have too, with one in it that is the task's user's, and what lies outside of it.
func (s *Session) share() (share, outside string, err error) {
	base, err := os.MkdirTemp("", "coinop-share-") // which the task's user must be able to walk to, as to no folder of a task
	if err != nil {
		return "", "", err
	}
	s.folders = append(s.folders, base)
	share, outside = filepath.Join(base, "share"), filepath.Join(base, "outside")
	err = errors.Join(os.Chmod(base, 0o755), os.MkdirAll(filepath.Join(share, "a b/project"), 0o755), os.MkdirAll(filepath.Join(outside, "deep"), 0o755), //nolint:gosec // for the task's user
		os.WriteFile(filepath.Join(share, "a b/project/given"), []byte("given\n"), 0o644), //nolint:gosec // for the task's user
		os.WriteFile(filepath.Join(outside, "deep/mark"), []byte("outside\n"), 0o644))     //nolint:gosec // for the task's user
	if s.UID != 0 {
		err = errors.Join(err, os.Chown(filepath.Join(share, "a b/project"), int(s.UID), int(s.GID)))
	}
	return share, outside, err
}

// worksThere: under the machine's name for it, reading what lies there; what it writes is its user's.
func worksThere(s *Session) error {
	share, _, err := s.share()
	if err != nil {
		return err
	}
	dir := filepath.Join(share, "a b/project")
	task, err := s.shell("echo made >made; mkdir folder; pwd; cat given; sleep 1000")
	if err != nil {
		return err
	}
	task.Share, task.Chdir = share, dir
	if _, err := s.running(task); err != nil {
		return err
	}
	var got string
	for !strings.HasSuffix(got, "given\n") {
		select {
		case <-time.After(10 * time.Millisecond): // nobody tells when what it says has come
		case <-s.ctx.Done():
			said, err := output(task, "stderr")
			return fmt.Errorf("it never found what lies there, and said %q, %w", said, errors.Join(s.ctx.Err(), err))
		}
		if got, err = output(task, "stdout"); err != nil {
			return err
		}
	}
	if s.description.Exec { // what joins it is there too
		var out bytes.Buffer
		if _, err := s.exec(task.ID, "cat made", drivers.ExecRequest{}, drivers.ExecStreams{Stdout: &out}); err != nil {
			return err
		}
		got += out.String()
	} else {
		got += "made\n"
	}
	if err := expect("where it is and what it finds", got, dir+"\ngiven\nmade\n"); err != nil {
		return err
	}
	uid, gid := s.UID, s.GID
	if uid == 0 { // the driver's own
		uid, gid = uint32(os.Geteuid()), uint32(os.Getegid())
	}
	for _, name := range []string{"made", "folder"} {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, name), &st); err != nil {
			return err
		}
		if st.Uid != uid || st.Gid != gid {
			return fmt.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
	return nil
}

// noWayOut: what others have planted in the share, and folders that are none.
func noWayOut(s *Session) error {
	share, outside, err := s.share()
	if err != nil {
		return err
	}
	closed := filepath.Join(share, "closed/deep")
	err = errors.Join(os.Symlink(outside, filepath.Join(share, "absolute")), os.Symlink("../outside", filepath.Join(share, "up")),
		os.Symlink("absolute", filepath.Join(share, "chain")), os.Symlink("/proc/self/root", filepath.Join(share, "magic")), os.Symlink("round", filepath.Join(share, "round")),
		os.WriteFile(filepath.Join(share, "file"), nil, 0o644), //nolint:gosec // for the task's user
		os.Symlink("a b", filepath.Join(share, "within")), os.MkdirAll(closed, 0o755), os.Chmod(filepath.Dir(closed), 0o700))
	if err != nil {
		return err
	}
	tries := []string{"absolute", "absolute/deep", "up/deep", "chain/deep", "magic", "magic/etc", "round", "file", "missing", "within/missing"}
	if s.UID != 0 && os.Geteuid() == 0 {
		tries = append(tries, "closed", "closed/deep") // by root's rights they could be entered
	}
	for _, name := range tries {
		task, err := s.shell("pwd; ls")
		if err != nil {
			return err
		}
		task.Share, task.Chdir = share, filepath.Join(share, name)
		st, err := s.run(task)
		if err != nil {
			return err
		}
		if st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Code != 126 || !strings.Contains(st.Exit.Message, filepath.Base(name)) {
			got, _ := output(task, "stdout") // what there is of it
			return fmt.Errorf("started in %s it ended as %+v and said %q, want 126 with a message that names it", name, st.Exit, got)
		}
	}
	_, got, err := s.says("cat given", func(t *drivers.Task) { t.Share, t.Chdir = share, filepath.Join(share, "within/project") })
	if err != nil {
		return err
	}
	return expect("by a link within the share", got, "given\n")
}

// swappedLink: whoever writes in the share makes a folder on the way a link and a folder again, as fast as can be.
func swappedLink(s *Session) error {
	share, outside, err := s.share()
	if err != nil {
		return err
	}
	dir, link := filepath.Join(share, "x"), filepath.Join(share, "y")
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "deep"), 0o755), os.WriteFile(filepath.Join(dir, "deep/mark"), []byte("inside\n"), 0o644), //nolint:gosec // for the task's user
		os.Symlink(outside, link))
	if err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				stopped <- err
				return
			}
		}
	}()
	err = s.enterOften(share, filepath.Join(dir, "deep"))
	close(stop)
	return errors.Join(err, <-stopped)
}

func (s *Session) enterOften(share, dir string) error {
	const enough = 8
	for inside, refused := 0, 0; inside < enough || refused < enough; {
		task, err := s.shell("cat mark")
		if err != nil {
			return err
		}
		task.Share, task.Chdir = share, dir
		st, err := s.run(task)
		if err != nil {
			return err
		}
		got, err := output(task, "stdout")
		if err != nil {
			return err
		}
		switch {
		case st.Exit.Code == 0 && got == "inside\n":
			inside++
		case st.Exit.Cause == drivers.CauseStartFailed && st.Exit.Code == 126 && got == "":
			refused++
		default:
			return fmt.Errorf("it said %q and ended as %+v", got, st.Exit)
		}
	}
	return nil
}

// noSuchShare: what cannot be is refused, and a share that is not there is the machine's fault, not the job's.
func noSuchShare(s *Session) error {
	share, outside, err := s.share()
	if err != nil {
		return err
	}
	for _, c := range [][2]string{{share, outside}, {share, share + "/../outside"}, {share, share + "x"}, {share, ""}, {"", share}, {share, share + "/"}, {"/", "/etc"}, {share, "project"}, {share, share + "/\x00"}} {
		task, err := s.task(s.Exit(0)...)
		if err != nil {
			return err
		}
		task.Share, task.Chdir = c[0], c[1]
		if _, err := s.start(task); !errors.Is(err, drivers.ErrInvalid) {
			return fmt.Errorf("start in %q of the share %q: %v, want %v", c[1], c[0], err, drivers.ErrInvalid)
		}
	}
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	task.Share, task.Chdir = share+"/gone", share+"/gone/x"
	st, err := s.run(task)
	if err != nil {
		return err
	}
	if st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Code != 125 {
		return fmt.Errorf("in a share that is not there it ended as %+v, want 125", st.Exit)
	}
	return nil
}

func sharesNothing(s *Session) error {
	share, _, err := s.share()
	if err != nil {
		return err
	}
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	task.Share, task.Chdir = share, share
	if _, err := s.start(task); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("start in a shared folder: %v, want %v", err, drivers.ErrInvalid)
	}
	return nil
}
