package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) operatorVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "what needs an operator's token: coins, tokens, pools, servers, snapshots",
		Long: "What needs an operator's token. The first one lies in the first server's folder as operator.token,\n" +
			"readable by its owner: --token @DIR/operator.token.",
		Example: "  coinop operator issue 1000000 --token @srv/operator.token",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	token := &cobra.Command{Use: "token", Short: "make and revoke tokens", Args: cobra.NoArgs,
		Example: "  coinop operator token create --role executor", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	token.AddCommand(a.tokenCreateVerb(), a.tokenRevokeVerb())
	pool := &cobra.Command{Use: "pool", Short: "make and change pools", Args: cobra.NoArgs,
		Example: "  coinop operator pool set default --floor 1.5", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	pool.AddCommand(a.poolSetVerb())
	cmd.AddCommand(a.issueVerb(), token, a.tokensVerb(), pool, a.serversVerb(), a.mintURLVerb(), a.secretVerb(), a.snapshotVerb())
	return cmd
}

func (a *app) tokenCreateVerb() *cobra.Command {
	var role, note, ttl string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "make a token and print it, once",
		Long: "Make a token. Roles: operator (everything), submit (jobs in trusted pools), view (what is private of all jobs),\n" +
			"server and executor (to join: single-use, an hour long).",
		Example: "  coinop operator token create --role executor > join.token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if role == "" {
				return usageError{errors.New("name the token's role: --role operator, submit, view, server or executor")}
			}
			if err := oneOf("role", role, tokenRoles()...); err != nil {
				return err
			}
			r := client.TokenRequest{Role: role, Note: note}
			if ttl != "" {
				d, err := jobfile.ParseDuration(ttl)
				if err != nil {
					return usageError{err}
				}
				r.TTLMs = int64(d)
			}
			own := ""
			if role != "server" && role != "executor" {
				own = client.NewToken(role)
				r.SHA256 = client.HashKey(own)
			}
			answer, err := c.CreateToken(cmd.Context(), r)
			if err != nil {
				return err
			}
			if own != "" {
				answer.Token = own
			}
			return a.show(answer, func() { fmt.Fprintln(a.out, answer.Token) })
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "operator, submit, view, server or executor")
	cmd.Flags().StringVar(&note, "note", "", "what it is for")
	cmd.Flags().StringVar(&ttl, "ttl", "", "how long it holds (join tokens: at most an hour)")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(tokenRoles(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func tokenRoles() []string { return []string{"operator", "submit", "view", "server", "executor"} }

func (a *app) tokenRevokeVerb() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "make a token useless", Example: "  coinop operator token revoke 3f9c0a11d2e4b5c6", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if err := c.RevokeToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.show(map[string]any{"id": args[0], "revoked": true}, func() { a.say("token %s revoked", args[0]) })
		},
	}
}

func (a *app) tokensVerb() *cobra.Command {
	return &cobra.Command{
		Use: "tokens", Short: "list tokens: never the tokens themselves", Example: "  coinop operator tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			list, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(list, func() {
				rows := make([][]string, 0, len(list.Tokens))
				for _, t := range list.Tokens {
					state := "good"
					switch {
					case t.Revoked:
						state = "revoked"
					case t.Used:
						state = "used"
					case t.Expires != nil && t.Expires.Before(time.Now()):
						state = "expired"
					}
					rows = append(rows, []string{t.ID, t.Role, state, clock(&t.Created), clock(t.Expires), t.Note})
				}
				a.grid([]string{"ID", "ROLE", "STATE", "CREATED", "EXPIRES", "NOTE"}, rows)
			})
		},
	}
}

func (a *app) poolSetVerb() *cobra.Command {
	var admission, floor, bid, fee, timeDefault, timeMax, killDelay, grace, user, share string
	var drivers []string
	var weights weightFlags
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "make a pool, or change what the flags name; what is left out stays",
		Long: "Make a pool, or change it. A raised floor refuses lower bids at once, with their money, and raises\n" +
			"the price only as far as the lowest running bid.",
		Example: "  coinop operator pool set night --admission open --drivers container --floor 0.5 --default-bid 1\n" +
			"  coinop operator pool set gpu --weight gpu=8000 --weight gpu/a100=20000 --weight gpu/a100/1g.10gb=3000",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if err := oneOf("admission", admission, "open", "trusted"); err != nil {
				return err
			}
			r := client.PoolSet{Drivers: drivers}
			set := poolSetter{changed: cmd.Flags().Changed}
			set.text("admission", admission, &r.Admission)
			set.text("user", user, &r.User)
			set.text("share", share, &r.Share)
			set.rate("floor", floor, &r.FloorMicro)
			set.rate("default-bid", bid, &r.DefaultBidMicro)
			set.rate("submit-fee", fee, &r.SubmitFeeMicro)
			set.span("time-default", timeDefault, &r.TimeDefaultMs)
			set.span("time-max", timeMax, &r.TimeMaxMs)
			set.span("kill-delay", killDelay, &r.KillDelayMs)
			set.span("pause-grace", grace, &r.PauseGraceMs)
			if set.err != nil {
				return usageError{set.err}
			}
			if _, err := weights.over(client.Weights{}); err != nil {
				return usageError{err}
			}
			p, err := c.SetPool(cmd.Context(), args[0], r)
			if err == nil && len(weights.said) > 0 { // which are set as a whole: those that are not named stay
				w, _ := weights.over(p.Weights)
				p, err = c.SetPool(cmd.Context(), args[0], client.PoolSet{Weights: &w})
			}
			if err != nil {
				return err
			}
			return a.show(p, func() {
				a.say("pool %s: %s, floor %s, default bid %s, price %s", p.Pool, p.Admission, money(p.FloorMicro), money(p.DefaultBidMicro), money(p.PriceMicro))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&admission, "admission", "", "open: anyone who pays, isolating drivers only; trusted: holders of a submit token")
	f.StringSliceVar(&drivers, "drivers", nil, "what its jobs may be run by, as `process,container`")
	f.StringArrayVar(&weights.said, "weight", nil, "what one of a resource weighs, in thousandths of a billing unit, as `NAME=N`: cpu, memory, disk and suspended (a GiB), gpu, gpu/a100,\n"+
		"gpu/a100/1g.10gb, gpu/a100/share; gpu/KIND=none takes a kind off the list")
	f.StringVar(&floor, "floor", "", "the least bid, in credits per billing unit and second")
	f.StringVar(&bid, "default-bid", "", "the bid of who names none")
	f.StringVar(&fee, "submit-fee", "", "credits for each submission")
	f.StringVar(&timeDefault, "time-default", "", "the time limit that --pay alone buys first")
	f.StringVar(&timeMax, "time-max", "", "the longest time limit")
	f.StringVar(&killDelay, "kill-delay", "", "between SIGTERM and SIGKILL, at most a tenth of the limit")
	f.StringVar(&grace, "pause-grace", "", "how long a paused task keeps its place")
	f.StringVar(&user, "user", "", "whom executors run tasks as")
	f.StringVar(&share, "share", "", "a `DIR` that its machines have in common (a network file system), for jobs to work in with --chdir; those that have it offer\n"+
		"it with: coinop executor --share DIR. Empty: none. An open pool has none: strangers would see each other's files")
	_ = cmd.MarkFlagDirname("share")
	return cmd
}

// poolSetter fills the fields whose flags were given, and keeps the first error.
type poolSetter struct {
	changed func(string) bool
	err     error
}

func (s *poolSetter) text(flag, value string, to **string) {
	if s.changed(flag) {
		*to = &value
	}
}

func (s *poolSetter) rate(flag, value string, to **int64) {
	if !s.changed(flag) || s.err != nil {
		return
	}
	rate, err := jobfile.ParseBid(value)
	if err != nil {
		s.err = fmt.Errorf("--%s: %w", flag, err)
		return
	}
	micro := int64(rate)
	*to = &micro
}

func (s *poolSetter) span(flag, value string, to **int64) {
	if !s.changed(flag) || s.err != nil {
		return
	}
	d, err := jobfile.ParseDuration(value)
	if err != nil {
		s.err = fmt.Errorf("--%s: %w", flag, err)
		return
	}
	ms := int64(d)
	*to = &ms
}

func (a *app) serversVerb() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		servers, err := c.ServerList(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(servers, func() { a.printServers(servers) })
	}
	cmd := &cobra.Command{Use: "servers", Short: "list the servers of the cluster", Example: "  coinop operator servers", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(&cobra.Command{
		Use: "remove ID", Short: "take a server out of the cluster for good", Example: "  coinop operator servers remove s3", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			servers, err := c.RemoveServer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(servers, func() {
				a.printServers(servers)
				a.note("it knew the mint's secret: consider a new keyset epoch")
			})
		},
	})
	return cmd
}

func (a *app) printServers(l client.ServerList) {
	rows := make([][]string, 0, len(l.Servers))
	for _, s := range l.Servers {
		role := "follower"
		if s.Leader {
			role = "leader"
		}
		if !s.Voter {
			role = "learner"
		}
		rows = append(rows, []string{s.ID, role, s.HTTP, s.Cluster})
	}
	a.grid([]string{"SERVER", "ROLE", "HTTP", "CLUSTER"}, rows)
	for _, s := range l.Servers {
		if s.Alarm != "" {
			a.note("ALARM of server %s: %s", s.ID, s.Alarm)
		}
	}
	a.note("cluster %s, term %s, index %s", l.ClusterID, strconv.FormatUint(l.Term, 10), strconv.FormatUint(l.Index, 10))
}
