package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// perProcs is what the testing package adds to a benchmark's name.
var perProcs = regexp.MustCompile(`-\d+$`)

// goBench reads a benchmark of a package. Own and references are written `name unit`; own may be ns/op times a scale
// under another unit. Of a unit like payment-µs only µs is shown and compared.
func goBench(pkg, pattern, own string, scale float64, references ...string) func(context.Context, *bench) ([][]reading, error) {
	return func(ctx context.Context, b *bench) ([][]reading, error) {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-count", strconv.Itoa(b.rounds), "-timeout", "30m", pkg)
		text, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, text)
		}
		said := parseBench(string(text))
		rounds := make([][]reading, b.rounds)
		for i, what := range append([]string{own}, references...) {
			name, unit, _ := strings.Cut(what, " ")
			values, times := said[what], 1.0
			if i == 0 && scale != 1 {
				values, times = said[name+" ns/op"], scale
			}
			if len(values) != b.rounds {
				return nil, fmt.Errorf("%s printed %d values of %s, want %d:\n%s", strings.Join(cmd.Args, " "), len(values), what, b.rounds, text)
			}
			for n, v := range values {
				rounds[n] = append(rounds[n], reading{name, unit[strings.LastIndex(unit, "-")+1:], v * times})
			}
		}
		return rounds, nil
	}
}

// parseBench collects the values of each `name unit` in what `go test -bench` prints.
func parseBench(text string) map[string][]float64 {
	said := map[string][]float64{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := perProcs.ReplaceAllString(words[0], "")
		for i := 2; i+1 < len(words); i += 2 {
			if v, err := strconv.ParseFloat(words[i], 64); err == nil {
				said[name+" "+words[i+1]] = append(said[name+" "+words[i+1]], v)
			}
		}
	}
	return said
}
