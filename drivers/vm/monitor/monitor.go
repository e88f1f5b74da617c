package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/shim"
	"github.com/coinop/coinop/drivers/vm/guest"
)

const (
	bootPatience  = 2 * time.Minute  // until the first process speaks, and again until the command runs: a machine may have a tenth of a processor
	filesPatience = 30 * time.Minute // for a work folder
)

// monitor is one machine's life. After the boot its machine, and whether that stands still, belong to whoever obeys the driver.
type monitor struct {
	box   string
	order Order
	line  *line
	main  *channel
	calls chan func() // for the thread that QEMU lives and dies with

	qemu    *qemu
	still   bool
	leaving atomic.Bool // its end is meant
	latest  atomic.Pointer[qemu]
	died    chan struct{}
	up      atomic.Bool   // its first process has spoken: what fails from then on is due to the image or the task, not to this machine
	begun   chan struct{} // the task's command has begun
	over    chan struct{} // and has ended: its output is passed on, and no suspension comes any more
	passing passing       // whose attends
	asked   chan chan passing
	news    news
	end     End
}

// Run is the whole of a monitor's process. It does not return: it ends as the task did.
func Run(box string) {
	runtime.LockOSThread()
	m := &monitor{box: box, line: newLine(), calls: make(chan func()), died: make(chan struct{}, 1), begun: make(chan struct{}), over: make(chan struct{}), asked: make(chan chan passing)}
	go m.live()
	for call := range m.calls {
		call()
	}
}

func (m *monitor) live() {
	ctx := context.Background()
	status, err := m.task(ctx)
	var own *failure
	switch {
	case errors.As(err, &own):
		if m.up.Load() {
			own.code = max(own.code, ofImage)
		}
		m.end.Exit = drivers.Exit{Code: own.code, Cause: drivers.CauseStartFailed, Message: printable(own.message)}
	case err != nil:
		m.end.Exit = drivers.Exit{Code: 125, Cause: drivers.CauseExited, Message: printable(err.Error())}
	}
	_ = writeEnd(m.box, m.end) // without it the end is told by the process's own
	if q := m.latest.Load(); q != nil {
		q.end()
	}
	if err == nil && status.Signaled() {
		dieBy(status.Signal())
	}
	code := status.ExitStatus()
	if err != nil {
		code = m.end.Exit.Code
	}
	os.Exit(code)
}

// task runs the machine and the task's command in it. Errors before that begins are failures.
func (m *monitor) task(ctx context.Context) (status syscall.WaitStatus, err error) {
	if m.order, err = ReadOrder(m.box); err != nil {
		return 0, fail("read what to run: %v", err)
	}
	m.news = newNews(m.order.NoticeDir)
	listener, err := listen(m.box)
	if err != nil {
		return 0, fail("listen to the driver: %v", err)
	}
	signals := hear()
	if m.order.GoesOn != nil {
		if err := m.goOn(ctx, *m.order.GoesOn); err != nil {
			return 0, fail("go on from where it was suspended: %v", err)
		}
	} else {
		if err := m.launch(ctx, nil); err != nil {
			return 0, fail("start the machine: %v", err)
		}
		m.line.join(m.qemu)
	}
	nonsense := make(chan error, 1)
	open := map[uint16]*channel{}
	for _, number := range []uint16{0, mainChannel} {
		if open[number], err = m.line.open(number); err != nil {
			return 0, err
		}
	}
	m.main = open[mainChannel]
	go func() { nonsense <- m.line.take() }()
	go m.serve(ctx, listener)
	result := make(chan error, 1)
	go func() { result <- m.run(ctx, open[0], signals, &status) }()
	select {
	case err = <-result:
	case err = <-nonsense:
		if !errors.Is(err, errNonsense) {
			<-m.died
			err = m.dead()
		}
	case <-m.died:
		err = m.dead()
	}
	return status, err
}

func (m *monitor) hasBegun() bool {
	select {
	case <-m.begun:
		return true
	default:
		return false
	}
}

// dead is an error of a machine that ended by itself.
func (m *monitor) dead() error {
	if m.hasBegun() {
		return errors.New("the machine was switched off, or its kernel gave up" + m.said())
	}
	return fail("the machine ended before the task began%s", m.said())
}

// said is why a machine ended, as QEMU or the kernel in it told.
func (m *monitor) said() string {
	q := m.latest.Load()
	if q == nil {
		return ""
	}
	why := q.said.line("")
	if why == "" {
		why = q.aloud.line("Kernel panic")
	}
	if why == "" {
		return ""
	}
	return ": " + why
}

// launch starts QEMU, on the thread that lasts.
func (m *monitor) launch(ctx context.Context, state *os.File) error {
	type started struct {
		q   *qemu
		err error
	}
	done := make(chan started)
	m.calls <- func() {
		q, err := start(m.box, m.order, state)
		done <- started{q, err}
	}
	s := <-done
	if s.err != nil {
		return s.err
	}
	m.qemu = s.q
	m.latest.Store(s.q)
	m.leaving.Store(false)
	go func() { // a kernel that gives up says why
		_, _ = io.Copy(io.MultiWriter(s.q.aloud, os.Stderr), s.q.console)
		s.q.console.Close()
		close(s.q.quiet)
	}()
	go func() {
		<-s.q.ended
		<-s.q.quiet
		if m.latest.Load() == s.q && !m.leaving.Load() {
			select {
			case m.died <- struct{}{}:
			default:
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, qmpPatience)
	defer cancel()
	if err := s.q.ready(ctx); err != nil {
		if why := s.q.said.line(""); why != "" { // it has ended, and said why
			return errors.New("QEMU: " + why)
		}
		return err
	}
	return nil
}

// run is what is asked of the machine, one thing after the other.
func (m *monitor) run(ctx context.Context, first *channel, signals <-chan os.Signal, status *syscall.WaitStatus) error {
	if err := m.begin(ctx, first); err != nil {
		return err
	}
	close(m.begun)
	go m.pass(ctx, signals)
	go m.news.keep(ctx, m.line)
	if err := m.attend(ctx, status); err != nil {
		return err
	}
	files, cancel := context.WithTimeout(ctx, filesPatience)
	defer cancel()
	if err := m.line.collect(files, m.order.DiskBytes); err != nil {
		return fmt.Errorf("bring the work folder out of the machine: %w", err)
	}
	return nil
}

// begin brings a machine to where the task's command runs.
func (m *monitor) begin(ctx context.Context, first *channel) error {
	if m.order.GoesOn != nil {
		return m.leave(ctx, m.order.GoesOn.Open)
	}
	if err := m.boot(ctx, first); err != nil {
		return err
	}
	files, cancel := context.WithTimeout(ctx, filesPatience)
	defer cancel()
	if err := m.line.fill(files); err != nil {
		return fail("%v", err)
	}
	m.news.tell(ctx, m.line)
	if err := m.main.send(ctx, guest.AskStart, m.command().Encode()); err != nil {
		return fail("%v", err)
	}
	if err := m.main.send(ctx, guest.AskEnd, nil); err != nil {
		return fail("%v", err)
	}
	return m.awaitCommand(ctx)
}

func (m *monitor) boot(ctx context.Context, first *channel) error {
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	for {
		select {
		case f := <-first.frames:
			switch f.Kind {
			case guest.TellHello:
				m.up.Store(true)
				o := m.order
				b := guest.Boot{MemoryBytes: o.TaskBytes, PidsMax: o.PidsMax, ShmBytes: o.ShmBytes, Network: o.Network, ReadOnly: o.ReadOnly, UID: o.UID, GID: o.GID, Notices: o.NoticeDir != "", Partition: uint32(o.Partition), Host: o.Host, Kind: o.Kind}
				if err := first.send(ctx, guest.AskBoot, b.Encode()); err != nil {
					return fail("%v", err)
				}
			case guest.TellReady:
				said := bytes.NewReader(f.Data) // an answer, then what the kernel told of it
				a, err := shim.ReadAnswer(said)
				if err != nil {
					return fail("%v", errNonsense)
				}
				if a.Errno == 0 {
					return nil
				}
				if said.Len() > 0 {
					return fail("%s: %v: %s", a.Step, a.Errno, f.Data[len(f.Data)-said.Len():])
				}
				return fail("%s: %v", a.Step, a.Errno)
			}
		case <-ctx.Done():
			return fail("the machine did not come up in %v%s", bootPatience, m.said())
		}
	}
}

func (m *monitor) command() guest.Start {
	s := guest.Start{UID: m.order.UID, GID: m.order.GID}
	s.WorkDir, s.FilesMax = m.order.WorkDir, m.order.FilesMax
	s.Argv, s.Env = words(m.order.Argv), words(m.order.Env)
	return s
}

// awaitCommand waits until the task's command runs. That it could not be started is believed now and never later, when it costs
// nothing: who runs in the machine by then may be the one who says it.
func (m *monitor) awaitCommand(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	select {
	case f := <-m.main.frames:
		switch f.Kind {
		case guest.TellBegun:
			return nil
		case guest.TellExit:
			return m.refused(f.Data)
		}
		return errNonsense
	case <-ctx.Done():
		return fail("its command did not begin in %v", bootPatience)
	}
}

func (m *monitor) used(data []byte) error {
	u, err := guest.DecodeUsed(data)
	if err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	m.end.MemoryPeakBytes, m.end.PidsPeak, m.end.Exit.OOMSeen = u.MemoryPeakBytes, u.PidsPeak, u.OOM
	switch {
	case u.OOM:
		m.end.Exit.Message = "the memory limit struck"
	case u.PidsStruck:
		m.end.Exit.Message = "the limit of processes was reached"
	}
	return nil
}

// refused is why the task's command could not be started.
func (m *monitor) refused(data []byte) error {
	a, err := shim.ReadAnswer(bytes.NewReader(data))
	if err != nil || a.Errno == 0 {
		return errNonsense
	}
	e := &failure{ofImage, a.Step + ": " + a.Errno.Error()}
	if a.Step == shim.StepEnter {
		e.message = fmt.Sprintf("%s %.200s: %v", a.Step, m.order.WorkDir, a.Errno)
	}
	if a.Step == shim.StepExecute && len(m.order.Argv) > 0 {
		e.message = fmt.Sprintf("%s %.200s: %v", a.Step, m.order.Argv[0], a.Errno)
		if a.Errno == syscall.ENOENT || a.Errno == syscall.ENOTDIR {
			e.code = 127
		}
	}
	return e
}

func (m *monitor) ended(data []byte, status *syscall.WaitStatus) error {
	a, err := shim.ReadAnswer(bytes.NewReader(data))
	if err != nil || a.Errno != 0 || !a.Status.Exited() && !a.Status.Signaled() {
		return errNonsense
	}
	*status = a.Status
	if a.Status.Signaled() && a.Status.Signal() == syscall.SIGKILL && m.end.Exit.OOMSeen {
		m.end.Exit.Cause = drivers.CauseOOM
	}
	return nil
}

func words(all [][]byte) []string {
	out := make([]string, len(all))
	for i, word := range all {
		out[i] = string(word)
	}
	return out
}

// printable is for people: what a machine said may be anything.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const most = 500
	return text[:min(len(text), most)]
}

// listen opens the socket in the box. By the folder's descriptor it has a name short enough for an address.
func listen(box string) (*net.UnixListener, error) {
	folder, err := os.Open(box)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	path := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), Socket)
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
