package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/scheduler/jobfile"
)

func (a *app) nodesVerb() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"sinfo"},
		Short:   "list the machines",
		Long: "List the machines. With -v, list their drivers and GPUs: what each can do, and why one gets no work (starting: it has not\n" +
			"answered yet, or is being started again; refused: it will not be used as it is).",
		Example: "  coinop nodes\n  coinop nodes -v\n  coinop nodes show n1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if verbose {
				list, err := c.NodesVerbose(cmd.Context())
				if err != nil {
					return err
				}
				return a.show(list, func() {
					a.printDrivers(list.Nodes...)
					a.printCards(list.Nodes...)
				})
			}
			list, err := c.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(list, func() { a.printNodes(list.Nodes) })
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the drivers and GPUs of each machine")
	cmd.AddCommand(&cobra.Command{
		Use: "show NAME", Short: "show one machine", Example: "  coinop nodes show n1", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			n, err := c.Node(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(n, func() { a.printNode(n) })
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "remove NAME", Short: "forget a machine that has no work",
		Long:    "Forget a machine that has no work: drain it first. A new one may then join by its name, with a token.",
		Example: "  coinop nodes remove n1 --token @operator.token", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if err := c.RemoveNode(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("node %s removed", args[0])
			return nil
		},
	})
	return cmd
}

func (a *app) printNodes(nodes []client.Node) {
	if len(nodes) == 0 {
		a.note("no nodes; `coinop executor -h` says how one joins")
		return
	}
	heads, gpus := []string{"NODE", "POOL", "STATE", "CPUS", "MEMORY"}, anyGPUs(nodes)
	if gpus {
		heads = append(heads, "GPUS")
	}
	rows := make([][]string, 0, len(nodes))
	for _, n := range nodes {
		row := []string{n.Node, n.Pool, n.State, cpus(n.CPUUsed) + "/" + cpus(n.CPUMilli), size(n.MemoryUsed) + "/" + size(n.MemoryBytes)}
		if gpus {
			row = append(row, fmt.Sprintf("%d/%d", n.GPUsUsed, n.GPUs))
		}
		rows = append(rows, append(row, strconv.Itoa(int(n.Runs)), strings.Join(n.Drivers, ","), n.Reason))
	}
	a.grid(append(heads, "RUNS", "DRIVERS", "REASON"), rows)
}

func (a *app) printNode(n client.Node) {
	a.fields("node", n.Node, "pool", n.Pool, "state", n.State, "reason", n.Reason, "deadline", clock(n.Deadline),
		"cpus", cpus(n.CPUUsed)+" of "+cpus(n.CPUMilli)+" sold", "memory", size(n.MemoryUsed)+" of "+size(n.MemoryBytes)+" sold",
		"disk", size(n.DiskUsed)+" of "+size(n.DiskBytes)+" sold", "runs", strconv.Itoa(int(n.Runs)),
		"drivers", strings.Join(n.Drivers, ", "), "labels", labels(n.Labels), "shares", strings.Join(n.Shares, ", "), "version", n.Version,
		"system", strings.TrimSpace(n.OS+" "+n.Arch), "joined", clock(&n.Joined))
	for _, missing := range n.Missing {
		a.fields("lacking", missing)
	}
	if len(n.DriverFacts) > 0 {
		a.printDrivers(n)
	}
	a.printCards(n)
}

func (a *app) printDrivers(nodes ...client.Node) {
	var rows [][]string
	for _, n := range nodes {
		for _, d := range n.DriverFacts {
			rows = append(rows, []string{n.Node, d.Driver, or(d.Version, "-"), or(d.Isolation, "-"), d.State, or(strings.Join(d.Can, ","), "-"), d.Reason})
		}
	}
	if len(rows) == 0 {
		a.note("no drivers: no machine has told of any")
		return
	}
	a.grid([]string{"NODE", "DRIVER", "VERSION", "ISOLATION", "STATE", "CAN", "REASON"}, rows)
}

func (a *app) drainVerb() *cobra.Command {
	var reason, deadline string
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "let a machine take no new work",
		Long: "Let a machine take no new work. What runs goes on; with --deadline, what still runs then is stopped,\n" +
			"and waits again, uncharged for what was not yet settled.",
		Example:           "  coinop drain n1 --reason 'new disk' --deadline 2h --token @operator.token",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			r := client.DrainRequest{Reason: reason}
			if deadline != "" {
				d, err := jobfile.ParseDuration(deadline)
				if err != nil {
					return usageError{err}
				}
				r.DeadlineMs = int64(d)
			}
			n, err := c.Drain(cmd.Context(), args[0], r)
			if err != nil {
				return err
			}
			return a.show(n, func() { a.say("node %s %s, %d runs go on", n.Node, n.State, n.Runs) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "shown in `coinop nodes`")
	cmd.Flags().StringVar(&deadline, "deadline", "", "stop what still runs after this long")
	return cmd
}

func (a *app) undrainVerb() *cobra.Command {
	return &cobra.Command{
		Use: "undrain NODE", Short: "let a drained or quarantined machine take work again",
		Example: "  coinop undrain n1 --token @operator.token", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			n, err := c.Undrain(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(n, func() { a.say("node %s %s", n.Node, n.State) })
		},
	}
}

func (a *app) poolsVerb() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use: "pools", Short: "list the pools: machines sold at one price", Example: "  coinop pools\n  coinop pools -v", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			list, err := c.Pools(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(list, func() {
				if verbose {
					var rows [][]string
					for _, p := range list.Pools {
						rows = append(rows, weightRows(p)...)
					}
					a.grid([]string{"POOL", "WHAT", "UNITS", "FOR EACH"}, rows)
					return
				}
				a.printPools(list.Pools)
			})
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list what each resource and kind of GPU weighs, in billing units")
	return cmd
}

func (a *app) printPools(pools []client.Pool) {
	heads := []string{"POOL", "ADMISSION", "PRICE", "FLOOR", "DEFAULT BID", "CPUS", "NODES", "LONGEST", "DRIVERS"}
	shares := slices.ContainsFunc(pools, func(p client.Pool) bool { return p.Share != "" })
	if shares {
		heads = append(heads, "SHARE")
	}
	rows := make([][]string, 0, len(pools))
	for _, p := range pools {
		row := []string{p.Pool, p.Admission, money(p.PriceMicro), money(p.FloorMicro), money(p.DefaultBidMicro),
			cpus(p.CPUUsed) + "/" + cpus(p.CPUMilli), strconv.Itoa(p.Nodes), span(p.TimeMaxMs), strings.Join(p.Drivers, ",")}
		if shares {
			row = append(row, p.Share)
		}
		rows = append(rows, row)
	}
	a.grid(heads, rows)
}

func (a *app) priceVerb() *cobra.Command {
	var history bool
	cmd := &cobra.Command{
		Use: "price POOL", Short: "print a pool's price per billing unit and second",
		Example: "  coinop price default\n  coinop price default --history", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			prices, err := c.Prices(cmd.Context(), args[0], time.Time{})
			if err != nil {
				return err
			}
			if !history && len(prices.Prices) > 1 {
				prices.Prices = prices.Prices[len(prices.Prices)-1:]
			}
			return a.show(prices, func() {
				if !history {
					for _, p := range prices.Prices {
						fmt.Fprintln(a.out, money(p.PriceMicro))
					}
					return
				}
				rows := make([][]string, 0, len(prices.Prices))
				for _, p := range prices.Prices {
					rows = append(rows, []string{clock(&p.At), money(p.PriceMicro)})
				}
				a.grid([]string{"SINCE", "PRICE"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&history, "history", false, "list its changes")
	return cmd
}
