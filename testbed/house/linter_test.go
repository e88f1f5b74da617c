package house

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var linter = regexp.MustCompile(`^    - [a-z]+\s*(# .+)?$`)

// unreasoned lists the linter's rules that are enabled without a reason on their line.
func unreasoned(config string) (rules int, wrong []string) {
	enabled := false
	for _, line := range strings.Split(config, "\n") {
		if strings.TrimSpace(line) == "enable:" {
			enabled = true
			continue
		}
		m := linter.FindStringSubmatch(line)
		if enabled && m == nil {
			break
		}
		if m == nil {
			continue
		}
		if rules++; m[1] == "" {
			wrong = append(wrong, strings.TrimSpace(line))
		}
	}
	return rules, wrong
}

func TestEachRuleOfTheLinterHasItsReason(t *testing.T) {
	config, err := os.ReadFile(root + "/.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, wrong := unreasoned(string(config))
	if rules < 5 || len(wrong) > 0 {
		t.Errorf("of %d rules these have no reason: %v", rules, wrong)
	}
	if rules, wrong := unreasoned("linters:\n  enable:\n    - good # because\n    - bad\n  settings:\n"); rules != 2 || len(wrong) != 1 {
		t.Error("a rule without a reason is not noticed")
	}
}
