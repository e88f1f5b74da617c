package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/server"
)

func (a *app) snapshotVerb() *cobra.Command {
	cmd := &cobra.Command{Use: "snapshot", Short: "save and restore the whole state", Args: cobra.NoArgs,
		Example: "  coinop operator snapshot save cluster.snap", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(
		&cobra.Command{Use: "save FILE", Short: "save the state to a file; it holds no secret", Example: "  coinop operator snapshot save cluster.snap",
			Args: cobra.ExactArgs(1), RunE: a.snapshotSave},
		a.snapshotRestoreVerb(), a.snapshotReconcileVerb())
	return cmd
}

func (a *app) snapshotRestoreVerb() *cobra.Command {
	var (
		f     serverFlags
		words string
	)
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "make a new cluster from a snapshot and the recovery words, and serve it",
		Long: "Make a new first server from a snapshot and the mint's recovery words, and serve it. The words are a file\n" +
			"as `coinop operator secret export` prints it. The new folder has an operator's token of its own. The old\n" +
			"keysets stay stopped until `coinop operator snapshot reconcile`: coins may have moved since the snapshot.",
		Example: "  coinop operator snapshot restore cluster.snap --words @words --dir s1 --http 127.0.0.1:2770 --cluster 127.0.0.1:2771",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.dir == "" || f.cluster == "" || words == "" {
				return usageError{fmt.Errorf("restoring needs --dir DIR, --cluster HOST:PORT and --words @FILE")}
			}
			text, err := a.secretFile(words)
			if err != nil {
				return err
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			c := a.serverConfig(f)
			c.Restore = &server.Restore{Snapshot: path, Words: text}
			return a.serve(cmd.Context(), c)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "the new server's folder")
	f.publicFlags(fl)
	fl.StringVar(&f.cluster, "cluster", "", "HOST:PORT of the cluster port")
	fl.StringVar(&f.level, "log", "", "debug, info, warn or error")
	fl.StringVar(&words, "words", "", "file with the recovery words: @FILE, or - for standard input")
	return cmd
}

// tellStopped says what is left to do where a state was restored whose coins may have moved since.
func (a *app) tellStopped(s *server.Server, url, dir string) {
	stopped := s.Stopped()
	if len(stopped) == 0 {
		return
	}
	a.note("This server goes on from a saved state, and coins of its keysets are refused, since they may have moved since it\n"+
		"was saved: what was spent since would be good once more. If nothing was, or if you bear it, let them go on:\n\n"+
		"    coinop operator snapshot reconcile --server %s --token @%s\n\n"+
		"Otherwise make a new keyset (POST /v1/keysets, see the guide), whose coins are good at once. Stopped: %s\n"+
		"Executors join again, each with a new token.", url, filepath.Join(dir, "operator.token"), strings.Join(stopped, ", "))
}

func (a *app) snapshotReconcileVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile [KEYSET...]",
		Short: "after a restore: let the coins of stopped keysets be spent again",
		Long: "After a restore: let the coins of stopped keysets be spent again, of those that are named or of all. What was\n" +
			"spent after the snapshot was saved is good once more, and what was issued since can be spent as well; say this\n" +
			"only when nothing was, or when you bear the difference.",
		Example: "  coinop operator snapshot reconcile --token @s1/operator.token",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			answer, err := c.Reconcile(cmd.Context(), client.ReconcileRequest{Keysets: args})
			if err != nil {
				return err
			}
			return a.show(answer, func() {
				for _, k := range answer.Going {
					a.say("keyset %s goes on: %d outstanding", k.Keyset, k.Outstanding)
				}
				for _, k := range answer.Stopped {
					a.say("keyset %s is still stopped: %d outstanding", k.Keyset, k.Outstanding)
				}
				if len(answer.Going)+len(answer.Stopped) == 0 {
					a.say("no keyset is stopped")
				}
			})
		},
	}
}

// snapshotSave writes to a file beside the target first, so that a broken transfer leaves no half snapshot.
func (a *app) snapshotSave(cmd *cobra.Command, args []string) (err error) {
	c, err := a.connect()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(args[0]), ".snapshot-*")
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err := c.Snapshot(cmd.Context(), f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := os.Rename(f.Name(), args[0]); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return a.show(map[string]any{"file": args[0], "bytes": n}, func() {
		a.say("%s saved to %s; it holds no secret: keep the recovery words too", size(n), args[0])
	})
}
