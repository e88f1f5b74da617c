package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// machine is a line on where this runs.
func machine() string {
	cpu := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, text, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(text)
				break
			}
		}
	}
	commit := "unknown commit"
	if text, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		commit = strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("coinop %s · %s, %d cores · %s · medians; a ratio is the median of ratios within a round", commit, cpu, runtime.NumCPU(), runtime.Version())
}

// load is the machine's load average over the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// print writes a measure's medians, its bar, and the ratios to its references.
func (m measure) print(out io.Writer, rounds [][]reading, loadBefore string) {
	own := rounds[0][0]
	values := column(rounds, 0)
	fmt.Fprintf(out, "\n%-8s %s\n", m.name, m.what)
	fmt.Fprintf(out, "         %s %s  (%s to %s in %d rounds; load before %s)%s\n",
		number(median(values)), own.unit, number(slices.Min(values)), number(slices.Max(values)), len(values), loadBefore, m.bar.verdict(median(values), own.unit))
	for i := 1; i < len(rounds[0]); i++ {
		r := rounds[0][i]
		line := fmt.Sprintf("         %s: %s %s", r.what, number(median(column(rounds, i))), r.unit)
		if r.unit == own.unit {
			ratios := make([]float64, len(rounds))
			for n, round := range rounds {
				ratios[n] = round[0].value / round[i].value
			}
			line += fmt.Sprintf("; ratio %.2f", median(ratios))
		}
		fmt.Fprintln(out, line)
	}
}

func (b bar) verdict(value float64, unit string) string {
	switch {
	case b == bar{}:
		return ""
	case b.least && value >= b.value, !b.least && value <= b.value:
		return fmt.Sprintf("  bar %s %s: holds", number(b.value), unit)
	default:
		return fmt.Sprintf("  bar %s %s: missed", number(b.value), unit)
	}
}

func column(rounds [][]reading, i int) []float64 {
	values := make([]float64, len(rounds))
	for n, round := range rounds {
		values[n] = round[i].value
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// number has three digits that matter.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
