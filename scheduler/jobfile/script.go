package jobfile

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/google/shlex"
)

const directive = "#COINOP"

// parseScript reads the #COINOP lines above the first command; what comes later is the script's own
// business, such as a script that writes scripts.
func parseScript(name string, src []byte, lookup look) (Job, error) {
	from := newSource(name, src)
	var j Job
	var problems Problems
	for i, line := range from.lines {
		line = strings.TrimRight(line, " \t\r")
		if line != "" && line[0] != '#' {
			break
		}
		word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		switch {
		case word == directive:
			for _, f := range j.directive(line[len(directive):], lookup) {
				problems = append(problems, from.problem(i+1, f.what, f.hint))
			}
		case misspelt(word, line):
			problems = append(problems, from.problem(i+1, word+" is not read", "Did you mean "+directive+"?"))
		}
	}
	if len(problems) > 0 {
		return Job{}, problems
	}
	j.Script = bytes.Clone(src)
	return j, nil
}

// misspelt spots a comment that was meant for us.
func misspelt(word, line string) bool {
	return strings.Contains(line, " --") && len(word) > 4 && levenshtein.Distance(strings.ToUpper(word), directive, nil) <= 2
}

type fault struct{ what, hint string }

// directive reads the flags of one line.
func (j *Job) directive(line string, lookup look) []fault {
	words, err := shlex.Split(line)
	if err != nil {
		return []fault{{"the line ends inside a quotation", ""}}
	}
	if len(words) == 0 {
		return []fault{{"nothing is said", "Write " + directive + " --name VALUE."}}
	}
	var faults []fault
	for len(words) > 0 {
		flag, value, given := strings.Cut(words[0], "=")
		words = words[1:]
		name, ok := strings.CutPrefix(flag, "--")
		if !ok {
			return append(faults, fault{"unexpected " + strings.ToValidUTF8(flag, "�"), "Write " + directive + " --name VALUE."})
		}
		switch {
		case !given && isSwitch(name):
			value = "true"
		case !given:
			if len(words) == 0 {
				value = ""
			} else {
				value, words = words[0], words[1:]
			}
		}
		err := j.Set(name, value, lookup)
		switch {
		case errors.Is(err, ErrUnknown):
			faults = append(faults, fault{"unknown flag --" + name, didYouMean("--", name, names())})
		case err != nil:
			faults = append(faults, fault{err.Error(), ""})
		}
	}
	return faults
}

// isSwitch says whether a setting is said without a value.
func isSwitch(name string) bool {
	return slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Name == name && s.Value == "" })
}
