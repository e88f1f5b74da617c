package cli

import (
	"os"
	"runtime/debug"

	"github.com/coinop/coinop/executor"
)

// gcPercent makes a server collect when what it has allocated is four times what it keeps: a sixth less processor time
// for each submission than at Go's default.
const gcPercent = 400

// spendMemory sets how a server trades memory for time. From half of the machine's memory on it collects as often as
// it must; what the environment says goes first.
func spendMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if total := executor.MemoryBytes(); os.Getenv("GOMEMLIMIT") == "" && total > 0 {
		debug.SetMemoryLimit(total / 2)
	}
}
