// Command coinop is a coin-operated batch scheduler: servers, executors and the command line in one binary.
package main

import (
	"os"

	"github.com/coinop/coinop/cli"
)

// version is set by the linker.
var version = "unknown"

func main() {
	os.Exit(cli.Main(version, os.Args[1:]))
}
