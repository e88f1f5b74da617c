// Package cli is the command line: one verb a file, and how answers are printed.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/coinop/coinop/api/client"
)

// DefaultServer is where a server listens unless told otherwise.
const DefaultServer = "127.0.0.1:2770"

// app is what every verb shares: streams, settings from flags and environment, and what is opened on demand.
type app struct {
	version string
	in      io.Reader
	out     io.Writer
	err     io.Writer

	servers   string // --server, COINOP_ADDR
	tokenFile string // --token, COINOP_TOKEN_FILE
	json      bool
	quiet     bool

	api   *client.Client    // by connect
	http  *client.Transport // by connect: the connections of api and of the mint's calls
	began seen              // by connect: what earlier commands have seen
	purse *purse            // by openWallet
}

// Main runs one command line and returns its exit code.
func Main(version string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &app{version: version, in: os.Stdin, out: os.Stdout, err: os.Stderr}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if closed := a.close(); err == nil {
		err = closed
	}
	var code exitCode
	if err != nil && !errors.As(err, &code) {
		fmt.Fprintln(a.err, "coinop:", explain(err)+aboutWallet(err))
	}
	return codeOf(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "coinop",
		Short:         "A coin-operated cluster: money travels with the job",
		Long:          rootHelp,
		Args:          cobra.ArbitraryArgs, // so that an unknown verb comes to RunE
		RunE:          unknownVerb,
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true, // `completion` is a verb of ours, with its example
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.servers, "server", or(os.Getenv("COINOP_ADDR"), DefaultServer), "servers: HOST:PORT or URL, comma-separated; https://HOST:PORT#sha256=... names a fingerprint")
	flags.StringVar(&a.tokenFile, "token", os.Getenv("COINOP_TOKEN_FILE"), "file with an operator's or submitter's token: @FILE, or - for standard input")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only what was asked for")
	root.SetFlagErrorFunc(flagError)
	for _, verb := range a.verbs() {
		root.AddCommand(verb)
	}
	wrapArgs(root)
	nameValues(root)
	return root
}

const rootHelp = `A coin-operated cluster. You put money in with the job, the best-funded work runs first,
you pay by the second, and the change comes back. No account, no plan ahead.

Exit codes: 0 done; 1 error; 2 usage; 3 not found; 4 key or role; 5 money; 6 no server answered.
With run and --wait: the job's code, 128+n for a signal, 124 time or money ended,
125 coinop's fault, 126 not executable, 127 not found.`

// unknownVerb helps, or names the verbs that may have been meant.
func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return root.Help()
	}
	text := fmt.Sprintf("there is no verb %q; `coinop -h` lists them", args[0])
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		text = fmt.Sprintf("there is no verb %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usageError{errors.New(text)}
}

// flagError says what is wrong with a flag, once.
func flagError(cmd *cobra.Command, err error) error {
	var (
		value *pflag.InvalidValueError
		name  *pflag.NotExistError
	)
	switch {
	case errors.As(err, &value):
		flag := value.GetFlag().Name
		err = fmt.Errorf("--%s %s: %s", flag, value.GetValue(), strings.TrimPrefix(value.Unwrap().Error(), flag+": "))
	case errors.As(err, &name):
		err = fmt.Errorf("%w; `%s -h` lists them", err, cmd.CommandPath())
	}
	return usageError{err}
}

// oneOf refuses a flag's value that is none of the words it may be.
func oneOf(flag, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return usageError{fmt.Errorf("--%s %s: it may be %s", flag, value, strings.Join(words, ", "))}
}

// wrapArgs makes every wrong argument count a usage error, so that it exits with 2.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w\nusage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// home is where the wallet with all secrets lies, in a folder of its own that only its owner can enter.
func home() (string, error) {
	if dir := os.Getenv("COINOP_HOME"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "coinop"), nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a home for the wallet: %w; set COINOP_HOME", err)
	}
	return filepath.Join(dir, ".local", "share", "coinop"), nil
}

// secretFile reads a secret from @FILE, a plain path, or - for standard input: never from the command line itself.
func (a *app) secretFile(arg string) (string, error) {
	name := strings.TrimPrefix(arg, "@")
	var (
		b   []byte
		err error
	)
	if name == "-" {
		b, err = io.ReadAll(io.LimitReader(a.in, 1<<20))
	} else {
		b, err = os.ReadFile(name)
	}
	var missing *fs.PathError
	switch {
	case errors.As(err, &missing) && !strings.HasPrefix(arg, "@"):
		// It may be the secret itself, which must not be printed.
		return "", usageError{fmt.Errorf("read secret: %w; a secret comes from a file, as @FILE, or from standard input, as -", missing.Err)}
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (a *app) isTerminal(stream any) bool {
	if _, drawn := stream.(*frame); drawn {
		return true
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// say prints a line for people: not with --json or -q.
func (a *app) say(format string, args ...any) {
	if !a.json && !a.quiet {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// note prints a line about progress to standard error: not with -q.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

func or(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
