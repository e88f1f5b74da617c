package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// lacking lists the verbs below a command that have no help, no example or do not check their arguments.
func lacking(cmd *cobra.Command) []string {
	var wrong []string
	for _, verb := range cmd.Commands() {
		if !verb.Hidden {
			switch {
			case verb.Short == "":
				wrong = append(wrong, verb.CommandPath()+" says nothing of itself")
			case !strings.Contains(verb.Example, verb.CommandPath()):
				wrong = append(wrong, verb.CommandPath()+" has no example of itself")
			}
		}
		wrong = append(wrong, lacking(verb)...)
	}
	return wrong
}

func TestEveryVerbHasAnExample(t *testing.T) {
	root := (&app{}).root()
	if wrong := lacking(root); len(wrong) > 0 {
		t.Errorf("%s", strings.Join(wrong, "\n"))
	}
	root.AddCommand(&cobra.Command{Use: "mute"}, &cobra.Command{Use: "vague", Short: "s"})
	if len(lacking(root)) != 2 {
		t.Error("verbs without help are not noticed")
	}
}

// Scripts rely on these words.
func TestTheCommandSurface(t *testing.T) {
	root := (&app{}).root()
	for _, words := range []string{
		"dev --dir --http --executors --cpus", "server --dir --http --cluster --bootstrap --join --token --config",
		"executor --dir --cluster --token --pool --name --gpu-library --gpu-root --mig --gpu-shares --gpu-power-limit --cpus --memory --disk --plugins --config", "executor doctor --config --plugins",
		"run --name --pool --driver --image --vm --cpus --memory --disk --gpus --gpu-memory --nvlink --time --env --input --output --array --label --pay --pot --bid --mode --max-total",
		"submit --wait --name --pool --driver --image --vm --cpus --memory --disk --gpus --gpu-memory --nvlink --time --env --input --output --array --label --pay --pot --bid --mode --max-total",
		"quote --name --pool --time --pay --bid", "queue --mine --all --pool --state --watch", "history --since --mine",
		"rent --detach --name --pool --driver --image --vm --cpus --memory --disk --gpus --time --pay --pot --bid --mode", "cp", "forward", "show", "shell --task", "logs --follow --tail --stdout --stderr", "get", "wait", "events", "receipt", "cancel --signal", "hold", "release", "fund",
		"refunds", "refunds claim", "pot create", "pot show", "pot close", "wallet balance", "wallet history", "wallet send",
		"wallet receive", "wallet restore", "nodes", "nodes show", "nodes remove", "drain --reason --deadline", "undrain", "pools --verbose", "price --history",
		"operator issue", "operator token create --role", "operator tokens", "operator pool set --weight", "operator servers",
		"operator servers remove", "operator secret export", "operator snapshot save", "operator snapshot restore", "version", "completion",
	} {
		var path, flags []string
		for _, w := range append(strings.Fields(words), "--json", "--server", "--token", "--quiet", "--help") {
			if flag, ok := strings.CutPrefix(w, "--"); ok {
				flags = append(flags, flag)
			} else {
				path = append(path, w)
			}
		}
		cmd, rest, err := root.Find(path)
		if err != nil || len(rest) > 0 || cmd == root {
			t.Errorf("there is no verb %q (%v)", strings.Join(path, " "), err)
			continue
		}
		cmd.InitDefaultHelpFlag()
		for _, flag := range flags {
			if cmd.Flag(flag) == nil {
				t.Errorf("%s has no --%s", cmd.CommandPath(), flag)
			}
		}
	}
}

func TestAWrongCommandLineSaysWhatWouldBeRight(t *testing.T) {
	for line, want := range map[string]string{
		"queu":                        "did you mean queue?",
		"submit --pay x -- true":      `--pay x: "x" is not a value: write a whole number`,
		"submit --pay 0 -- true":      "--pay 0: must be more than zero",
		"submit --tiem 5 -- true":     "unknown flag: --tiem; `coinop submit -h` lists them",
		"submit one two":              "behind --",
		"queue --state asleep":        "--state asleep: it may be queued, running, paused, done",
		"receipt":                     "usage: coinop receipt JOB",
		"operator token create":       "--role operator, submit, view, server or executor",
		"fund 1 0":                    "amount 0: it must be more than zero",
		"dev --executors 0":           "--executors 0: dev has 1 to 64",
		"executor":                    "--dir DIR and --cluster HOST:PORT",
		"operator snapshot restore x": "--words @FILE",
	} {
		var said bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &said, err: &said}
		if code := a.run(context.Background(), strings.Fields(line)); code != exitUsage {
			t.Errorf("coinop %s: exit code %d, want %d", line, code, exitUsage)
		}
		if !strings.Contains(said.String(), want) {
			t.Errorf("coinop %s: said %q, want %q", line, said.String(), want)
		}
	}
}

func TestTheHelpSaysWhatStandsBehindEachFlag(t *testing.T) {
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name, _ := pflag.UnquoteUsage(f)
			switch name {
			case "string", "int", "int64", "int32", "strings", "stringArray":
				t.Errorf("%s --%s: the help calls its value %q", cmd.CommandPath(), f.Name, name)
			}
		})
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look((&app{}).root())
}

func TestASecretOnTheCommandLineIsNotPrinted(t *testing.T) {
	const secret = "coinop-operator-0123456789abcdef"
	_, err := (&app{}).secretFile(secret)
	var usage usageError
	if !errors.As(err, &usage) || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "@FILE") {
		t.Errorf("a secret without @: %v", err)
	}
	if _, err := (&app{}).secretFile("@" + secret); err == nil || !strings.Contains(err.Error(), secret) {
		t.Errorf("a file that is not there: %v", err)
	}
}
