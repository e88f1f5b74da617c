package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) receiptVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "receipt JOB",
		Short: "show what a job has cost, to the micro-unit",
		Long: "Show what a job has cost. Charged is the sum of its lines, and deposited = charged + refunded;\n" +
			"for a job paid from a shared pot, deposited is what it drew.",
		Example:           "  coinop receipt 12",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			n, err := jobNumber(args[0])
			if err != nil {
				return err
			}
			view, err := a.needViewKey(cmd.Context(), n)
			if err != nil {
				return err
			}
			r, err := c.Receipt(cmd.Context(), n, view)
			if err != nil {
				return err
			}
			return a.show(receiptOf(r), func() { a.printReceipt(r) })
		},
	}
}

// fixedReceipt is what --json prints: these fields and no others, since scripts rely on them.
type fixedReceipt struct {
	Job            uint64                  `json:"job"`
	DepositedMicro int64                   `json:"deposited_micro"`
	ChargedMicro   int64                   `json:"charged_micro"`
	RefundedMicro  int64                   `json:"refunded_micro"`
	BilledMs       int64                   `json:"billed_ms"`
	Deposits       []client.ReceiptDeposit `json:"deposits"`
	Lines          []client.ReceiptLine    `json:"lines"`
	Usage          client.Usage            `json:"usage"`
}

func receiptOf(r client.Receipt) fixedReceipt {
	return fixedReceipt{r.Job, r.DepositedMicro, r.ChargedMicro, r.RefundedMicro, r.BilledMs, r.Deposits, r.Lines, r.Usage}
}

func (a *app) printReceipt(r client.Receipt) {
	state := r.State
	if r.Reason != "" {
		state += ", " + r.Reason
	}
	if r.ExitCode != nil {
		state += ", code " + strconv.Itoa(int(*r.ExitCode))
	}
	if !r.Final {
		state += " (not final: the job goes on)"
	}
	fmt.Fprintf(a.out, "receipt for job %d: %s\n\n", r.Job, state)
	width := 0
	lines := [][2]string{{"deposited", money(r.DepositedMicro)}}
	for _, l := range r.Lines {
		lines = append(lines, [2]string{"  " + l.What, money(l.AmountMicro)})
	}
	lines = append(lines, [2]string{"charged", money(r.ChargedMicro)}, [2]string{"refunded", money(r.RefundedMicro)})
	for _, l := range lines {
		width = max(width, len(l[0]))
	}
	for _, l := range lines {
		fmt.Fprintf(a.out, "%-*s  %18s\n", width, l[0], decimals(l[1]))
	}
	if len(r.Deposits) > 1 {
		fmt.Fprintln(a.out)
		rows := make([][]string, 0, len(r.Deposits))
		for _, d := range r.Deposits {
			rows = append(rows, []string{strconv.FormatInt(d.Deposit, 10), money(d.DepositedMicro),
				money(d.ChargedMicro), money(d.RefundedMicro)})
		}
		a.grid([]string{"DEPOSIT", "DEPOSITED", "CHARGED", "REFUNDED"}, rows)
	}
	fmt.Fprintf(a.out, "\nbilled %s; used %s of CPU, at most %s of memory\n",
		seconds(r.BilledMs), seconds(r.Usage.CPUMs), size(r.Usage.MemoryPeakBytes))
	a.printGPUUsage(r.Usage.GPU)
}

// decimals pads a number so that the points of a column stand below each other.
func decimals(s string) string {
	for i := range s {
		if s[i] == '.' {
			return s + "000000"[:6-(len(s)-i-1)]
		}
	}
	return s + ".000000"
}
