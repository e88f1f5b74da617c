package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
)

// printJSON prints one value as one line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	_, err = fmt.Fprintln(a.out, string(b))
	return err
}

// show prints JSON where it was asked for, else what people calls prints.
func (a *app) show(v any, people func()) error {
	if a.json {
		return a.printJSON(v)
	}
	people()
	return nil
}

// grid prints rows in aligned columns. On a terminal the header is bold; in a pipe it is plain, so that awk and
// grep see what they expect.
func (a *app) grid(header []string, rows [][]string) {
	if a.quiet {
		for _, row := range rows {
			fmt.Fprintln(a.out, row[0])
		}
		return
	}
	bold := lipgloss.NewStyle().PaddingRight(2)
	cell := bold
	if a.isTerminal(a.out) {
		bold = bold.Bold(true)
	}
	t := table.New().Headers(header...).Rows(rows...).Wrap(false).
		Border(lipgloss.HiddenBorder()).BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderColumn(false).BorderHeader(false).
		StyleFunc(func(row, _ int) lipgloss.Style {
			if row == table.HeaderRow {
				return bold
			}
			return cell
		})
	for _, line := range strings.Split(t.String(), "\n") {
		fmt.Fprintln(a.out, strings.TrimRight(line, " "))
	}
}

// fields prints a name and a value a line; empty values are left out.
func (a *app) fields(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(a.out, "%-*s  %s\n", width, pairs[i], pairs[i+1])
		}
	}
}

// money is micro-units as a decimal number of whole units, without trailing zeros.
func money(micro int64) string {
	sign := ""
	u := uint64(micro)
	if micro < 0 {
		sign, u = "-", -u
	}
	whole, part := u/1_000_000, u%1_000_000
	if part == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%06d", part), "0")
}

// span is a duration in milliseconds as people say it: 1-02:03:04 from a day up, else 2:03:04 or 3:04.
func span(ms int64) string {
	s := ms / 1000
	d, h, m := s/86400, s/3600%24, s/60%60
	switch {
	case d > 0:
		return fmt.Sprintf("%d-%02d:%02d:%02d", d, h, m, s%60)
	case h > 0:
		return fmt.Sprintf("%d:%02d:%02d", h, m, s%60)
	}
	return fmt.Sprintf("%d:%02d", m, s%60)
}

// seconds is a short time to the millisecond.
func seconds(ms int64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", float64(ms)/1000), "0"), ".") + " s"
}

// size is bytes in powers of two.
func size(bytes int64) string {
	const units = "KMGTPE"
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value, i := float64(bytes)/1024, 0
	for value >= 1024 && i < len(units)-1 {
		value, i = value/1024, i+1
	}
	text := strconv.FormatFloat(value, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0") + " " + units[i:i+1] + "iB"
}

// cpus is thousandths of a CPU as a number of CPUs.
func cpus(milli int64) string { return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64) }

// count is a number of things.
func count(n int, thing string) string { return things(strconv.Itoa(n), thing) }

func things(n, thing string) string {
	if n != "1" {
		thing += "s"
	}
	return n + " " + thing
}

// clock is a time in the reader's zone: the hour today, else the date too.
func clock(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	local := t.Local()
	if now := time.Now(); local.YearDay() == now.YearDay() && local.Year() == now.Year() {
		return local.Format("15:04:05")
	}
	return local.Format("2006-01-02 15:04:05")
}

func code(exit *int32) string {
	if exit == nil {
		return ""
	}
	return strconv.Itoa(int(*exit))
}
