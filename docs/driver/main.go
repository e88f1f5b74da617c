// Command unshare is a driver for coinop: it runs each task as a process in namespaces of its own, by itself and without
// control groups. README.md beside this file explains it.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/coinop/coinop/drivers/plugin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "unshare:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 2 && os.Args[1] == keeperWord {
		return keep()
	}
	dir := flag.String("dir", "", "the driver's folder")
	flag.Parse()
	if !plugin.Asked() || *dir == "" {
		return fmt.Errorf("a driver for coinop; put it into an executor's folder of plugins")
	}
	driver, err := newDriver(*dir)
	if err != nil {
		return err
	}
	return plugin.Serve(plugin.ServeConfig{Driver: driver})
}
