package api

import (
	"slices"
	"strconv"
	"strings"

	"github.com/coinop/coinop/consensus/machine"
)

// signals are Linux's, by number: tasks run there, wherever the client is.
func signals() []string {
	return []string{
		"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
		"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
	}
}

// parseSignal reads a signal's name, with SIG or without, or its number; nothing is zero.
func parseSignal(text string) (int32, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < len(signals()) {
		return int32(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if n := slices.Index(signals(), name); n > 0 {
		return int32(n), nil
	}
	return 0, fail(string(machine.CodeInvalid), "signal: %.20q is not one", text)
}
