package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// applyConfigFile gives a command's flags the values of a file, where the command line has none: the file's
// names are the flags', with _ or - between words.
func applyConfigFile(cmd *cobra.Command, path string) error {
	if path == "" {
		return nil
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	file, diags := hclparse.NewParser().ParseHCL(src, path)
	if diags.HasErrors() {
		return usageError{diags}
	}
	attributes, diags := file.Body.JustAttributes()
	if diags.HasErrors() {
		return usageError{diags}
	}
	for _, name := range sortedKeys(attributes) {
		at := attributes[name].NameRange
		flag := cmd.Flags().Lookup(strings.ReplaceAll(name, "_", "-"))
		if flag == nil || flag.Name == "config" {
			return usageError{fmt.Errorf("%s: there is no setting %q; `coinop %s -h` lists them", at, name, cmd.Name())}
		}
		value, diags := attributes[name].Expr.Value(nil)
		if diags.HasErrors() {
			return usageError{diags}
		}
		text, err := convert.Convert(value, cty.String)
		if err != nil || text.IsNull() {
			return usageError{fmt.Errorf("%s: %s: write one value, not a list", at, name)}
		}
		if flag.Changed {
			continue
		}
		if err := flag.Value.Set(text.AsString()); err != nil {
			return usageError{fmt.Errorf("%s: %s: %w", at, name, err)}
		}
	}
	return nil
}
