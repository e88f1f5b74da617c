package cli

import (
	"os"
	"runtime/debug"

	"github.com/coinop/coinop/executor"
)

// gcPercent makes a process collect when what it has allocated is four times what it keeps: a sixth less processor time
// for each submission to a server than at Go's default, and for a command with a wallet no collection just before its end.
const gcPercent = 400

// collectLess trades memory for time; what the environment says goes first.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// spendMemory is collectLess for a server: from half of the machine's memory on it collects as often as it must.
func spendMemory() {
	collectLess()
	if total := executor.MemoryBytes(); os.Getenv("GOMEMLIMIT") == "" && total > 0 {
		debug.SetMemoryLimit(total / 2)
	}
}
