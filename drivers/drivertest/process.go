package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/logs"
)

func programs(h Harness, _ drivers.Description) bool { return h.Programs }

func processChecks() []Check {
	return []Check{
		{Name: "a command that is not there is 127, one that cannot run 126", Needs: programs, Run: notRunnable},
		{Name: "a signal is told, and reaches the group", Needs: programs, Run: signals},
		{Name: "arguments and variables arrive byte for byte, and no others", Needs: programs, Run: passesBytes},
		{Name: "a task starts clean", Needs: programs, Run: startsClean},
		{Name: "a task is its user's to the machine", Needs: func(h Harness, _ drivers.Description) bool { return h.Programs && h.UID != 0 }, Run: runsAs},
		{Name: "output keeps its order", Needs: programs, Run: keepsOrder},
		{Name: "output is capped to its first and last bytes", Needs: programs, Run: capsOutput},
		{Name: "a reader beside the writer sees true bytes", Needs: programs, Run: readsBeside},
		{Name: "the end of a task is the end of its daemons", Needs: programs, Run: killsDaemons},
		{Name: "a frozen task does nothing", Needs: programs, Run: frozenIsStill},
		{Name: "usage counts processor time", Needs: programs, Run: counts},
	}
}

const noLimit = 1 << 30

// output reads all that is kept of a stream.
func output(task drivers.Task, name string) (string, error) {
	var all bytes.Buffer
	for offset := int64(0); ; {
		chunk, err := logs.Read(filepath.Join(task.Dir, name), offset, 1<<20)
		if err != nil {
			return "", err
		}
		if chunk.Gap > 0 {
			return "", fmt.Errorf("%d bytes are missing", chunk.Gap)
		}
		if len(chunk.Data) == 0 {
			return all.String(), nil
		}
		all.Write(chunk.Data)
		offset = chunk.Next
	}
}

// awaitReady waits for the first output of a task: then its program is past its beginnings.
func (s *Session) awaitReady(id string) error {
	if !s.Programs {
		return nil
	}
	for s.ctx.Err() == nil {
		usage, err := s.Driver().Usage(s.ctx, id)
		if err != nil {
			return err
		}
		if usage.LogBytes > 0 {
			return nil
		}
	}
	return fmt.Errorf("task %s never said anything", id)
}

func notRunnable(s *Session) error {
	for _, c := range []struct {
		command string
		code    int
	}{{"/nowhere/to/be/found", 127}, {"no-such-program-anywhere", 127}, {"/etc/passwd", 126}, {"/", 126}, {"", 127}} {
		task, err := s.task(c.command)
		if err != nil {
			return err
		}
		st, err := s.run(task)
		if err != nil {
			return err
		}
		if st.Exit.Code != c.code || st.Exit.Cause != drivers.CauseStartFailed || st.Exit.Message == "" {
			return fmt.Errorf("%q ended as %+v, want %d with a message", c.command, st.Exit, c.code)
		}
	}
	huge, err := s.task("true", strings.Repeat("x", 1<<20))
	if err != nil {
		return err
	}
	if _, err := s.start(huge); !errors.Is(err, drivers.ErrInvalid) {
		return fmt.Errorf("an argument of a megabyte: %v, want %v", err, drivers.ErrInvalid)
	}
	task, err := s.task("true")
	if err != nil {
		return err
	}
	task.WorkDir = "/nowhere"
	st, err := s.run(task)
	if err != nil {
		return err
	}
	if st.Exit.Cause != drivers.CauseStartFailed || !strings.Contains(st.Exit.Message, "work folder") {
		return fmt.Errorf("a work folder that is not there ended as %+v", st.Exit)
	}
	return nil
}

func signals(s *Session) error {
	own, err := s.shell("kill -SEGV $$")
	if err != nil {
		return err
	}
	st, err := s.run(own)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 139, 11, drivers.CauseSignalled); err != nil {
		return err
	}
	// The first shell ends with the second one's code, which is 42 only if the signal reached that one as well.
	group, err := s.shell(`trap : USR1; /bin/sh -c 'trap "exit 42" USR1; echo ready; while :; do sleep 0.05; done' &
		wait $!; code=$?; [ $code -gt 128 ] && { wait $!; code=$?; }; exit $code`)
	if err != nil {
		return err
	}
	if _, err := s.running(group); err != nil {
		return err
	}
	if err := s.awaitReady(group.ID); err != nil {
		return err
	}
	if err := s.control(group.ID, drivers.Control{Kind: drivers.Signal, Signal: 10, Group: true}); err != nil {
		return err
	}
	if st, err = s.awaitEnd(group.ID); err != nil {
		return err
	}
	return expectEnd(st, 42, 0, drivers.CauseExited)
}

func passesBytes(s *Session) error {
	weird := []string{"", " ", "-n", "a\nb", "\xff\xfe", "ü€😀", "--", "$HOME", "'\"\\", strings.Repeat("x", 100_000)}
	task, err := s.task(append([]string{"/usr/bin/printf", `%s\0`}, weird...)...)
	if err != nil {
		return err
	}
	if st, err := s.run(task); err != nil || st.Exit.Code != 0 {
		return fmt.Errorf("%+v: %w", st.Exit, err)
	}
	got, err := output(task, "stdout")
	if err != nil {
		return err
	}
	if err := expect("arguments", got, strings.Join(weird, "\x00")+"\x00"); err != nil {
		return err
	}
	show, err := s.task("/usr/bin/env", "-0")
	if err != nil {
		return err
	}
	show.Env = append(show.Env, "EMPTY=", "B\xff=\xfe\n", "E=a=b")
	if _, err := s.run(show); err != nil {
		return err
	}
	if got, err = output(show, "stdout"); err != nil {
		return err
	}
	return expect("variables", got, strings.Join(show.Env, "\x00")+"\x00")
}

func startsClean(s *Session) error {
	task, err := s.shell(`read -r line; echo "stdin $?"; echo "umask $(umask)"; echo "core $(ulimit -c)"
		printf "fds"; for f in /proc/$$/fd/*; do [ -e $f ] && printf " ${f##*/}"; done; echo
		cat /proc/self/status | while read -r key value rest; do case $key in NoNewPrivs:|SigIgn:|SigBlk:|Groups:|Uid:) echo $key $value $rest;; esac; done
		cut -d' ' -f5,6 /proc/$$/stat; echo $$; pwd`)
	if err != nil {
		return err
	}
	if st, err := s.run(task); err != nil || st.Exit.Code != 0 {
		return fmt.Errorf("%+v: %w", st.Exit, err)
	}
	got, err := output(task, "stdout")
	if err != nil {
		return err
	}
	for _, want := range []string{"stdin 1\n", "umask 0022\n", "core 0\n", "fds 0 1 2\n", "NoNewPrivs: 1", "SigBlk: 0000000000000000",
		"SigIgn: 0000000000000000"} {
		if !strings.Contains(got, want) {
			return fmt.Errorf("%q is not in %q", want, got)
		}
	}
	lines := strings.Split(strings.TrimSpace(got), "\n")
	pid := lines[len(lines)-2]
	if err := expect("group and session", lines[len(lines)-3], pid+" "+pid); err != nil {
		return err
	}
	if err := expect("work folder", lines[len(lines)-1], s.seenWorkDir()); err != nil {
		return err
	}
	uid, gid := s.seenUser()
	if s.UID != 0 && (!strings.Contains(got, fmt.Sprintf("Uid: %d %d", uid, uid)) || !strings.Contains(got, fmt.Sprintf("Groups: %d\n", gid))) {
		return fmt.Errorf("it does not run as %d:%d alone: %q", uid, gid, got)
	}
	return nil
}

// runsAs looks from outside, where a container's own word for its user does not count.
func runsAs(s *Session) error {
	task, err := s.task(s.Block...)
	if err != nil {
		return err
	}
	st, err := s.running(task)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.Pid))
	if err != nil {
		return err
	}
	for _, want := range []string{fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", s.UID), fmt.Sprintf("Gid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", s.GID)} {
		if !strings.Contains(string(data), want) {
			return fmt.Errorf("%q is not in %q", want, data)
		}
	}
	return nil
}

func keepsOrder(s *Session) error {
	task, err := s.shell(`i=0; while [ $i -lt 5000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done`)
	if err != nil {
		return err
	}
	if _, err := s.run(task); err != nil {
		return err
	}
	for name, word := range map[string]string{"stdout": "out", "stderr": "err"} {
		var want strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&want, "%s %d\n", word, i)
		}
		got, err := output(task, name)
		if err != nil {
			return err
		}
		if got != want.String() {
			return fmt.Errorf("%s: %d bytes differ from the %d written", name, len(got), want.Len())
		}
	}
	return nil
}

func capsOutput(s *Session) error {
	task, err := s.shell(`seq -w 1 99999`)
	if err != nil {
		return err
	}
	task.LogHeadBytes, task.LogTailBytes = 10_000, 100_001
	if _, err := s.run(task); err != nil {
		return err
	}
	const total = 6 * 99999
	var whole strings.Builder
	for i := 1; i <= 99999; i++ {
		fmt.Fprintf(&whole, "%05d\n", i)
	}
	path := filepath.Join(task.Dir, "stdout")
	var head, tail string
	gap := int64(0)
	for offset := int64(0); ; {
		chunk, err := logs.Read(path, offset, 7777)
		if err != nil {
			return err
		}
		gap += chunk.Gap
		if len(chunk.Data) == 0 {
			break
		}
		if gap == 0 {
			head += string(chunk.Data)
		} else {
			tail += string(chunk.Data)
		}
		offset = chunk.Next
	}
	if err := errors.Join(expect("gap", gap, int64(total-110_001)), expect("first bytes", head, whole.String()[:10_000]),
		expect("last bytes", tail, whole.String()[total-100_001:])); err != nil {
		return err
	}
	usage, err := s.Driver().Usage(s.ctx, task.ID)
	if err != nil {
		return err
	}
	return expect("bytes written", usage.LogBytes, int64(total))
}

// readsBeside reads a small ring at its oldest and newest places while it is being overwritten. Every line of seq is a number that
// grows with it, so each byte read can be told from its offset.
func readsBeside(s *Session) error {
	task, err := s.task("seq", "1000001", "1299999")
	if err != nil {
		return err
	}
	task.LogHeadBytes, task.LogTailBytes = 1000, 100_000
	if _, err := s.start(task); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.awaitEnd(task.ID)
		ended <- err
	}()
	path := filepath.Join(task.Dir, "stdout")
	over := false // seen before the last reads, not after them
	for reads := 0; !over; reads++ {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			over = true
		default:
		}
		for _, from := range []int64{1000, -100_000, -50} {
			chunk, err := logs.Read(path, from, 30_000)
			if err != nil {
				return err
			}
			var want []byte
			for line := chunk.Offset/8 + 1; line <= chunk.Next/8+1; line++ {
				want = fmt.Appendf(want, "%d\n", 1_000_000+line)
			}
			want = want[chunk.Offset%8:][:len(chunk.Data)]
			if !bytes.Equal(chunk.Data, want) {
				return fmt.Errorf("read %d: at %d of %d is %q, want %q", reads, chunk.Offset, chunk.Total, chunk.Data, want)
			}
		}
	}
	return nil
}

// marked counts the processes with the harness's mark and a word of the check's own.
func (s *Session) marked(word string) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return 0, err
	}
	count := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended, or is another user's
		}
		if bytes.Contains(data, []byte(s.Mark)) && bytes.Contains(data, []byte(word)) {
			count++
		}
	}
	return count, nil
}

func killsDaemons(s *Session) error {
	task, err := s.shell(`(setsid /bin/sh -c 'trap "" TERM HUP; sleep 1000 & sleep 1000' & ) ; (sleep 1000 &) ; setsid sleep 1000 & echo ready; exit 5`)
	if err != nil {
		return err
	}
	word := "DAEMONS=" + task.ID
	task.Env = append(task.Env, word)
	st, err := s.run(task)
	if err != nil {
		return err
	}
	if err := expectEnd(st, 5, 0, drivers.CauseExited); err != nil {
		return err
	}
	left, err := s.marked(word)
	if err != nil {
		return err
	}
	return expect("processes left of an ended task", left, 0)
}

func frozenIsStill(s *Session) error {
	task, err := s.shell(`while :; do echo tick; done & (setsid /bin/sh -c 'while :; do echo tock >&2; done' &) ; wait`)
	if err != nil {
		return err
	}
	if _, err := s.running(task); err != nil {
		return err
	}
	if err := s.awaitReady(task.ID); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Freeze}); err != nil {
		return err
	}
	// Other tasks, one after the other, are the time that passes; what was in the pipes is read meanwhile.
	elapse := func() (int64, error) {
		wait, err := s.task("sleep", "0.2")
		if err != nil {
			return 0, err
		}
		if _, err := s.run(wait); err != nil {
			return 0, err
		}
		usage, err := s.Driver().Usage(s.ctx, task.ID)
		return usage.LogBytes, err
	}
	before, err := elapse()
	if err != nil {
		return err
	}
	after, err := elapse()
	if err != nil {
		return err
	}
	if err := expect("bytes written while frozen", after-before, int64(0)); err != nil {
		return err
	}
	if err := s.control(task.ID, drivers.Control{Kind: drivers.Thaw}); err != nil {
		return err
	}
	if after, err = elapse(); err != nil {
		return err
	}
	if after <= before {
		return errors.New("it wrote nothing after it was thawed")
	}
	return nil
}

func counts(s *Session) error {
	task, err := s.shell(`i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; /bin/sh -c 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done'`)
	if err != nil {
		return err
	}
	if _, err := s.run(task); err != nil {
		return err
	}
	usage, err := s.Driver().Usage(s.ctx, task.ID)
	if err != nil {
		return err
	}
	if usage.CPUMillis < 20 || usage.CPUMillis > 60_000 || usage.MemoryPeakBytes < 100_000 || usage.MemoryPeakBytes > noLimit {
		return fmt.Errorf("two busy shells used %s ms and %d bytes", strconv.FormatInt(usage.CPUMillis, 10), usage.MemoryPeakBytes)
	}
	return nil
}
