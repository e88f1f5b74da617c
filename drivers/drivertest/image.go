package drivertest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/coinop/coinop/drivers"
)

func imageChecks() []Check {
	images := func(h Harness, d drivers.Description) bool { return h.Programs && d.Images }
	disk := func(h Harness, d drivers.Description) bool { return images(h, d) && supports(d, drivers.LimitDisk) }
	network := func(h Harness, d drivers.Description) bool { return h.Programs && d.Network }
	return []Check{
		{Name: "a task's root is its image, for itself alone", Needs: images, Run: ownRoot},
		{Name: "what a task writes to its work folder is its user's", Needs: images, Run: ownFiles},
		{Name: "a root may be read-only", Needs: images, Run: readOnlyRoot},
		{Name: "shared memory has its size", Needs: images, Run: sharedMemory},
		{Name: "an image's entrypoint can be replaced", Needs: images, Run: entrypoint},
		{Name: "a task starts where it is told", Needs: images, Run: startsThere},
		{Name: "an image that is not there is refused", Needs: images, Run: noImage},
		{Name: "what a task changes in its image counts to its disk", Needs: disk, Run: rootCounts},
		{Name: "the network is withheld, and granted", Needs: network, Run: withholdsNetwork},
	}
}

// says runs a script and returns what it said.
func (s *Session) says(script string, change func(*drivers.Task)) (drivers.Task, string, error) {
	task, err := s.shell(script)
	if err != nil {
		return task, "", err
	}
	if change != nil {
		change(&task)
	}
	st, err := s.run(task)
	if err != nil {
		return task, "", err
	}
	if st.Exit.Code != 0 {
		return task, "", fmt.Errorf("%q ended as %+v", script, st.Exit)
	}
	got, err := output(task, "stdout")
	return task, got, err
}

func ownRoot(s *Session) error {
	const mark = "/drivertest-was-here"
	script := `[ -e ` + mark + ` ] && echo found; echo x >` + mark + ` && echo written; ls "$OUTSIDE" "$OUTSIDE"/.. && echo seen; exit 0`
	for range 2 {
		_, got, err := s.says(script, func(t *drivers.Task) { t.Env = append(t.Env, "OUTSIDE="+t.WorkDir) })
		if err != nil {
			return err
		}
		if err := expect("what it finds and can do", got, "written\n"); err != nil {
			return err
		}
	}
	if _, err := os.Stat(mark); err == nil {
		return errors.Join(errors.New("it wrote to the machine's root"), os.Remove(mark))
	}
	return nil
}

func ownFiles(s *Session) error {
	task, _, err := s.says(`echo x >file; mkdir folder; echo x >folder/file`, nil)
	if err != nil {
		return err
	}
	for _, name := range []string{"file", "folder", "folder/file"} {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(task.WorkDir, name), &st); err != nil {
			return err
		}
		if st.Uid != s.UID || st.Gid != s.GID {
			return fmt.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, s.UID, s.GID)
		}
	}
	return nil
}

func readOnlyRoot(s *Session) error {
	for _, c := range []struct {
		readOnly bool
		want     string
	}{{true, "ro\nwork\nshm\n"}, {false, "rw\nwork\nshm\n"}} {
		_, got, err := s.says(`(echo x >/file) 2>/dev/null && echo rw || echo ro; echo x >file && echo work; echo x >/dev/shm/file && echo shm`,
			func(t *drivers.Task) { t.ReadOnlyRoot = c.readOnly })
		if err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("what can be written with read-only %v", c.readOnly), got, c.want); err != nil {
			return err
		}
	}
	return nil
}

func sharedMemory(s *Session) error {
	_, got, err := s.says(`dd if=/dev/zero of=/dev/shm/file bs=64k count=64 2>/dev/null; ls -l /dev/shm/file | awk '{print $5}'`,
		func(t *drivers.Task) { t.ShmBytes = 1 << 20 })
	if err != nil {
		return err
	}
	return expect("bytes that fit in a mebibyte of shared memory", strings.TrimSpace(got), "1048576")
}

func entrypoint(s *Session) error {
	_, got, err := s.says("", func(t *drivers.Task) {
		t.Entrypoint, t.Argv = []string{"/bin/sh", "-c", `echo "$@"`, "sh", "one"}, []string{"two"}
	})
	if err != nil {
		return err
	}
	return expect("entrypoint and arguments", got, "one two\n")
}

// startsThere: in a folder of the image, or one that is made for it; what joins it later starts there too.
func startsThere(s *Session) error {
	for _, dir := range []string{"/tmp", "/drivertest/made/for it"} {
		task, err := s.shell("pwd; sleep 1000")
		if err != nil {
			return err
		}
		task.StartDir = dir
		if _, err := s.running(task); err != nil {
			return err
		}
		if err := s.awaitReady(task.ID); err != nil {
			return err
		}
		got, err := output(task, "stdout")
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if !s.description.Exec {
			out.WriteString(dir + "\n")
		} else {
			if _, err := s.exec(task.ID, "pwd", drivers.ExecRequest{}, drivers.ExecStreams{Stdout: &out}); err != nil {
				return err
			}
		}
		if err := expect("where it starts, and where what joins it does", got+out.String(), dir+"\n"+dir+"\n"); err != nil {
			return err
		}
	}
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	task.StartDir = "/etc/passwd"
	st, err := s.run(task)
	if err != nil {
		return err
	}
	if st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Code != 126 || !strings.Contains(st.Exit.Message, "/etc/passwd") {
		return fmt.Errorf("started in a file it ended as %+v, want 126 with a message that names it", st.Exit)
	}
	return nil
}

func noImage(s *Session) error {
	task, err := s.task(s.Exit(0)...)
	if err != nil {
		return err
	}
	for _, ref := range []string{"", "no/such/image@sha256:" + strings.Repeat("0", 64)} {
		task.Image = ref
		if _, err := s.start(task); err == nil {
			return fmt.Errorf("image %q is no image, and a task of it was started", ref)
		}
	}
	task.Image = s.Image // nothing of it is left in the way
	st, err := s.run(task)
	if err != nil {
		return err
	}
	return expectEnd(st, 0, 0, drivers.CauseExited)
}

func rootCounts(s *Session) error {
	task, err := s.shell(`i=0; while [ $i -lt 8 ]; do i=$((i+1)); head -c 2000000 /dev/zero >/file$i; done; sleep 1000`)
	if err != nil {
		return err
	}
	task.DiskBytes = 8 << 20
	st, err := s.run(task)
	if err != nil {
		return err
	}
	return expectEnd(st, 137, 9, drivers.CauseDisk)
}

// withholdsNetwork calls a service of the machine that only a task with the network may reach.
func withholdsNetwork(s *Session) error {
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer service.Close()
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "reached") //nolint:errcheck // the caller may be gone
			c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(service.Addr().String())
	if err != nil {
		return err
	}
	for _, c := range []struct {
		granted bool
		want    string
	}{{true, "reached\n"}, {false, ""}} {
		_, got, err := s.says("$(command -v nc || echo busybox nc) -w 5 "+cmp.Or(s.Machine, "127.0.0.1")+" "+port+" </dev/null 2>/dev/null; exit 0", func(t *drivers.Task) { t.Network = c.granted })
		if err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("with the network %v, what the service says", c.granted), got, c.want); err != nil {
			return err
		}
	}
	return nil
}
