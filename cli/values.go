package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// namedValue says in the help what is to be written behind a flag.
type namedValue struct {
	pflag.Value
	name string
}

func (v namedValue) Type() string { return v.name }

// nameValues gives each flag of the tree that takes a text or a number its word in the help.
func nameValues(cmd *cobra.Command) { nameWith(cmd, valueNames()) }

func nameWith(cmd *cobra.Command, words map[string]string) {
	name := func(f *pflag.Flag) {
		switch f.Value.Type() {
		case "string", "int", "int32", "int64":
			if word := words[f.Name]; word != "" {
				f.Value = namedValue{f.Value, word}
			}
		}
	}
	cmd.Flags().VisitAll(name)
	cmd.PersistentFlags().VisitAll(name)
	for _, sub := range cmd.Commands() {
		nameWith(sub, words)
	}
}

func valueNames() map[string]string {
	const address, span, size = "HOST:PORT", "TIME", "SIZE"
	return map[string]string{
		"server": "LIST", "token": "@FILE", "words": "@FILE", "config": "FILE", "out": "FILE", "dir": "DIR",
		"http": address, "cluster": address, "advertise": address, "join": address + ",...", "hosts": "NAME,...", "mint-url": "URL",
		"https-cert": "FILE", "https-key": "FILE",
		"name": "NAME", "pool": "NAME", "user": "NAME", "unit": "NAME", "role": "ROLE", "state": "STATE", "pot": "@FILE|FUNDID", "signal": "NAME|N",
		"note": "TEXT", "memo": "TEXT", "reason": "TEXT", "log": "LEVEL", "admission": "open|trusted",
		"ttl": span, "since": span, "deadline": span, "time-default": span, "time-max": span, "kill-delay": span, "pause-grace": span,
		"floor": "N", "default-bid": "N", "submit-fee": "N", "cpus": "N", "executors": "N", "limit": "N", "tail": "N", "task": "N",
		"memory": size, "disk": size,
	}
}
