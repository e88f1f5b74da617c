package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/coinop/coinop/drivers"
)

// AnswerTimeout is for a plugin that is there but says nothing.
const AnswerTimeout = 10 * time.Second

const (
	askEvery     = 10 * time.Second
	answerWithin = 30 * time.Second

	restartPause   = 50 * time.Millisecond
	restartPauseTo = time.Minute
	// livedWell is how long a plugin must have answered for its end to count as the first one.
	livedWell = time.Minute
)

// address is what is written down of a running plugin, for the next client.
type address struct {
	Socket string `json:"socket"`
	Pid    int    `json:"pid"`
	Build  string `json:"build"`
}

// build tells one build of the plugin from the next, which is put in its place while it runs.
func (c *Keeper[L]) build() string {
	path, err := exec.LookPath(c.config.Command[0])
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d", info.ModTime().UTC().Format(time.RFC3339Nano), info.Size())
}

func (c *Keeper[L]) addressFile() string { return filepath.Join(c.config.Dir, "plugin.json") }

// Run keeps the plugin running until ctx ends, and then ends it; its tasks go on. If the caller is killed instead, the plugin
// goes on too, and the next Run finds it.
func (c *Keeper[L]) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.config.Dir, 0o700); err != nil {
		return fmt.Errorf("run %s plugin: %w", c.contract.Name, err)
	}
	if err := os.Chmod(c.config.Dir, 0o700); err != nil {
		return fmt.Errorf("run %s plugin: %w", c.contract.Name, err)
	}
	unlock, err := lock(filepath.Join(c.config.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("run %s plugin: %w", c.contract.Name, err)
	}
	defer unlock()
	defer c.set(nil, errors.New("it has been stopped"))
	pause := restartPause
	for {
		began := time.Now()
		begun, err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if begun {
			if time.Since(began) >= livedWell {
				pause = restartPause
			}
			c.config.Log.Warn(c.contract.Name+" plugin lost, starting it again", "err", err, "in", pause)
		} else {
			c.config.Log.Error(c.contract.Name+" plugin does not start", "err", err, "again_in", pause)
			c.set(nil, err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, restartPauseTo)
		case <-ctx.Done():
			return nil
		}
	}
}

// lock keeps two agents from sharing a folder.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("folder %s is in use by another process: %w", filepath.Dir(path), err)
	}
	return func() { file.Close() }, nil
}

// once lives through one plugin process. begun says whether it answered.
func (c *Keeper[L]) once(ctx context.Context) (begun bool, err error) {
	plugin, conn, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	defer c.bury(plugin)
	stop := ctx.Done()
	ctx, end := context.WithCancel(ctx)
	defer end()
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		if silent := c.ask(ctx, conn); silent != nil {
			c.config.Log.Error("a "+c.contract.Name+" plugin does not answer, ending it", "err", silent)
			end()
		}
	})
	err = c.live(ctx, conn, func(l *L) {
		begun = true
		c.setLink(l, nil, end)
	})
	c.set(nil, nil)
	select {
	case <-stop: // it is to end in its own time
	default: // it ended by itself, or is not to be asked about it
		plugin.kill()
	}
	end()
	return begun, err
}

// ask asks the plugin again and again whether it lives, and returns when it does not say so in time.
func (c *Keeper[L]) ask(ctx context.Context, conn *grpc.ClientConn) error {
	next := time.NewTicker(c.config.Ask)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		asked, cancel := context.WithTimeout(ctx, c.config.Answer)
		_, _, err := c.contract.Hello(asked, conn)
		late := asked.Err() != nil
		cancel()
		if err != nil && late && ctx.Err() == nil {
			return fmt.Errorf("it was asked %s ago: %w", c.config.Answer, err)
		}
	}
}

// connect takes up a plugin that is running already, or starts one.
func (c *Keeper[L]) connect(ctx context.Context) (*child, *grpc.ClientConn, error) {
	config := &goplugin.ClientConfig{
		HandshakeConfig: c.contract.handshake(), VersionedPlugins: c.contract.sets(nil), AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger: hclog.NewNullLogger(), Stderr: c.config.Stderr, SkipHostEnv: true, StartTimeout: min(AnswerTimeout, c.config.Answer),
	}
	if old, build := c.reattach(); old != nil {
		again := *config
		again.Reattach = old
		again.Plugins = c.contract.sets(nil)[c.contract.Version]
		plugin, conn, err := c.dial(ctx, goplugin.NewClient(&again))
		if err == nil && build != c.build() {
			c.config.Log.Info("an older build of the "+c.contract.Name+" plugin runs, starting this one", "pid", old.Pid)
			c.bury(plugin)
		} else if err == nil {
			c.config.Log.Info("found the "+c.contract.Name+" plugin running", "pid", old.Pid)
			return plugin, conn, nil
		}
		if err != nil {
			c.config.Log.Warn("a "+c.contract.Name+" plugin runs and does not answer, starting another", "pid", old.Pid, "err", err)
		}
	}
	c.sweep()
	base, err := c.socketDir()
	if err != nil {
		return nil, nil, err
	}
	within, err := os.MkdirTemp(base, "plugin-dir")
	if err != nil {
		return nil, nil, fmt.Errorf("make folder for socket: %w", err)
	}
	config.Cmd = exec.Command(c.config.Command[0], c.config.Command[1:]...)
	// go-plugin tells a plugin of its folder only where another runs it, and else lets it use /tmp.
	config.Cmd.Env = append(slices.Clone(c.config.Env), goplugin.EnvUnixSocketDir+"="+within)
	config.Cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is the agent's business
	plugin, conn, err := c.dial(ctx, goplugin.NewClient(config))
	if err != nil {
		if base != c.config.Dir { // which nothing else knows of
			_ = os.RemoveAll(base)
		}
		if said, found := strings.CutPrefix(err.Error(), "Unrecognized remote plugin message: "); found { // and twelve lines of advice
			said, _, _ = strings.Cut(said, "\n")
			err = fmt.Errorf("it is no plugin: it began with %q", said)
		}
		return nil, nil, fmt.Errorf("start %s: %w", strings.Join(c.config.Command, " "), err)
	}
	return plugin, conn, nil
}

// dial connects and hears one answer. On an error the plugin is dead.
func (c *Keeper[L]) dial(ctx context.Context, client *goplugin.Client) (*child, *grpc.ClientConn, error) {
	plugin := &child{client: client}
	fail := func(err error) (*child, *grpc.ClientConn, error) {
		c.bury(plugin)
		return nil, nil, err
	}
	connection, err := client.Client()
	plugin.hold()
	if err != nil {
		return fail(err)
	}
	raw, err := connection.Dispense(c.contract.Name)
	if err != nil {
		return fail(err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return fail(fmt.Errorf("%w: it is no %s", drivers.ErrInvalid, c.contract.Name))
	}
	ctx, cancel := context.WithTimeout(ctx, min(AnswerTimeout, c.config.Answer))
	defer cancel()
	name, version, err := c.contract.Hello(ctx, conn)
	if err != nil {
		return fail(c.contract.Errors.FromWire(err))
	}
	if version != c.contract.Version {
		return fail(fmt.Errorf("%w: it speaks version %d, not %d", drivers.ErrInvalid, version, c.contract.Version))
	}
	if c.config.Name != "" && name != c.config.Name {
		return fail(fmt.Errorf("%w: it calls itself %.64q, and is to be %q", drivers.ErrInvalid, name, c.config.Name))
	}
	if err := c.note(client); err != nil {
		return fail(err)
	}
	return plugin, conn, nil
}

// note writes down how to find the plugin again.
func (c *Keeper[L]) note(plugin *goplugin.Client) error {
	found := plugin.ReattachConfig()
	if found == nil {
		return fmt.Errorf("note the plugin: %w: it has no address", drivers.ErrUnavailable)
	}
	data, err := json.Marshal(address{Socket: found.Addr.String(), Pid: found.Pid, Build: c.build()})
	if err != nil {
		return fmt.Errorf("note the plugin: %w", err)
	}
	temporary := c.addressFile() + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("note the plugin: %w", err)
	}
	if err := os.Rename(temporary, c.addressFile()); err != nil {
		return fmt.Errorf("note the plugin: %w", err)
	}
	return nil
}

// reattach returns how to reach the plugin of an earlier client, nil if it is gone, and which build it is.
func (c *Keeper[L]) reattach() (*goplugin.ReattachConfig, string) {
	data, err := os.ReadFile(c.addressFile())
	if err != nil {
		return nil, ""
	}
	var a address
	if json.Unmarshal(data, &a) != nil || a.Pid <= 1 {
		return nil, ""
	}
	runner, err := findPlugin(a)
	if err != nil {
		return nil, ""
	}
	return &goplugin.ReattachConfig{
		Protocol: goplugin.ProtocolGRPC, ProtocolVersion: c.contract.Version, Pid: a.Pid,
		Addr: &net.UnixAddr{Name: a.Socket, Net: "unix"}, ReattachFunc: runner.attach,
	}, a.Build
}

// socketDir is the client's own folder, unless its name is too long for a socket's address.
func (c *Keeper[L]) socketDir() (string, error) {
	const roomForNames = 48
	if len(c.config.Dir)+roomForNames < 107 {
		return c.config.Dir, nil
	}
	dir, err := os.MkdirTemp("/tmp", socketDirPrefix) // TMPDIR may be as long
	if err != nil {
		return "", fmt.Errorf("make folder for socket: %w", err)
	}
	return dir, nil
}

const socketDirPrefix = "coinop-plugin-"

// sweep removes what dead plugins left.
func (c *Keeper[L]) sweep() {
	var a address
	if data, err := os.ReadFile(c.addressFile()); err == nil && json.Unmarshal(data, &a) == nil {
		removeSocketDir(a.Socket)
	}
	left, err := filepath.Glob(filepath.Join(c.config.Dir, "plugin-dir*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		_ = os.RemoveAll(dir) // an empty folder too many does no harm
	}
	_ = os.Remove(c.addressFile())
}

// removeSocketDir removes the folder that go-plugin made, and ours around it if there is one.
func removeSocketDir(socket string) {
	dir := filepath.Dir(socket)
	if !strings.HasPrefix(filepath.Base(dir), "plugin-dir") {
		return
	}
	_ = os.RemoveAll(dir)
	if outer := filepath.Dir(dir); strings.HasPrefix(filepath.Base(outer), socketDirPrefix) {
		_ = os.Remove(outer)
	}
}
