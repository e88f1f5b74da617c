package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
)

func (a *app) completionVerb() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "print a completion script for bash, zsh, fish or powershell",
		Example:   "  source <(coinop completion bash)",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				if err := root.GenBashCompletionV2(a.out, true); err != nil {
					return err
				}
				_, err := io.WriteString(a.out, bashAlone)
				return err
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
		},
	}
}

// bashAlone replaces the one function of cobra's script that needs the package bash-completion, which many machines
// do not have. Bash splits words at = and :, so they are put together again.
const bashAlone = `
__coinop_init_completion()
{
    COMPREPLY=()
    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local i joins=""
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i > 0)) && [[ -n $joins || ${COMP_WORDS[i]} == [=:]* ]]; then
            words[${#words[@]} - 1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
        joins=""
        [[ ${COMP_WORDS[i]} == *[=:] ]] && joins=1
    done
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    prev=${words[cword > 0 ? cword - 1 : 0]}
}
`

func (a *app) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Example: "  coinop version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.show(map[string]string{"version": a.version}, func() { fmt.Fprintln(a.out, a.version) })
		},
	}
}

// completeJobs offers the jobs of this wallet. A completion that can't ask offers nothing.
func (a *app) completeJobs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var numbers []string
	mine, _ := a.jobKeys(cmd.Context())
	for _, k := range mine {
		numbers = append(numbers, strconv.FormatUint(k.job, 10))
	}
	return numbers, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFrom(cmd.Context(), func(ctx context.Context, c *client.Client) (names []string) {
		list, _ := c.Nodes(ctx)
		for _, n := range list.Nodes {
			names = append(names, n.Node)
		}
		return names
	})
}

func (a *app) completePools(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFrom(cmd.Context(), func(ctx context.Context, c *client.Client) (names []string) {
		list, _ := c.Pools(ctx)
		for _, p := range list.Pools {
			names = append(names, p.Pool)
		}
		return names
	})
}

func (a *app) completeServers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFrom(cmd.Context(), func(ctx context.Context, c *client.Client) (ids []string) {
		list, _ := c.ServerList(ctx)
		for _, s := range list.Servers {
			ids = append(ids, s.ID)
		}
		return ids
	})
}

func (a *app) completeFrom(ctx context.Context, list func(context.Context, *client.Client) []string) ([]string, cobra.ShellCompDirective) {
	c, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list(ctx, c), cobra.ShellCompDirectiveNoFileComp
}

func isNotFound(err error) bool {
	var problem *client.Problem
	return errors.As(err, &problem) && (problem.Status == http.StatusNotFound || problem.Status == http.StatusGone)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
