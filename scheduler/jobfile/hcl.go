package jobfile

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// attributes are the settings that are one value each; the others are maps, lists and blocks.
func attributes() []string {
	var out []string
	for _, s := range Settings() {
		if !s.Many && s.Name != "name" {
			out = append(out, strings.ReplaceAll(s.Name, "-", "_"))
		}
	}
	return out
}

func schema(attributes ...string) *hcl.BodySchema {
	s := new(hcl.BodySchema)
	for _, a := range attributes {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a})
	}
	return s
}

// reading is one HCL file on its way to a job.
type reading struct {
	job      Job
	lookup   look
	from     source
	problems Problems
}

func parseHCL(name string, src []byte, lookup look) (Job, error) {
	r := &reading{lookup: lookup, from: newSource(name, src)}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	r.note(diags)
	if file == nil || diags.HasErrors() {
		return Job{}, r.problems
	}
	top := &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "job", LabelNames: []string{"name"}}}}
	content, diags := file.Body.Content(top)
	r.note(diags)
	switch {
	case len(content.Blocks) == 0 && !diags.HasErrors():
		r.add(1, "there is no job in it", `Write job "NAME" { … }, or begin a script with #!.`)
	case len(content.Blocks) > 1:
		r.add(content.Blocks[1].DefRange.Start.Line, "a file holds one job", "Put the other job into a file of its own.")
	case len(content.Blocks) == 1:
		r.block(content.Blocks[0])
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return Job{}, r.problems
	}
	return r.job, nil
}

func (r *reading) add(line int, what, hint string) {
	r.problems = append(r.problems, r.from.problem(line, what, hint))
}

func (r *reading) note(diags hcl.Diagnostics) {
	for _, d := range diags {
		line := 1
		if d.Subject != nil {
			line = d.Subject.Start.Line
		}
		hint := d.Detail
		if d.Summary == "Variables not allowed" {
			hint += " For the shell to see ${NAME}, write $${NAME}."
		}
		r.add(line, d.Summary, hint)
	}
}

func (r *reading) block(b *hcl.Block) {
	r.say(b.DefRange, "name", b.Labels[0])
	s := schema(append(attributes(), "command", "entrypoint", "script", "env", "labels")...)
	s.Blocks = []hcl.BlockHeaderSchema{{Type: "input"}, {Type: "output"}}
	content, diags := b.Body.Content(s)
	r.note(diags)
	for _, name := range attributes() {
		if a, ok := content.Attributes[name]; ok {
			r.attribute(a)
		}
	}
	if a, ok := content.Attributes["command"]; ok {
		r.job.Command = r.words(a)
	}
	if a, ok := content.Attributes["entrypoint"]; ok {
		for _, word := range r.words(a) {
			r.say(a.Range, a.Name, word)
		}
	}
	if a, ok := content.Attributes["script"]; ok {
		if v, ok := r.text(a.Expr); ok {
			r.job.Script = []byte(v)
		}
	}
	r.pairs(content.Attributes["env"], "env")
	r.pairs(content.Attributes["labels"], "label")
	for _, inner := range content.Blocks {
		switch inner.Type {
		case "input":
			r.input(inner)
		case "output":
			r.output(inner)
		}
	}
}

func (r *reading) say(where hcl.Range, name, value string) {
	if err := r.job.Set(name, value, r.lookup); err != nil {
		r.add(where.Start.Line, err.Error(), "")
	}
}

// text is the value of an expression as the user would have written it on a command line.
func (r *reading) text(e hcl.Expression) (string, bool) {
	v, diags := e.Value(nil)
	r.note(diags)
	if diags.HasErrors() {
		return "", false
	}
	s, err := textOf(v)
	if err != nil {
		r.add(e.Range().Start.Line, err.Error(), "")
		return "", false
	}
	return s, true
}

const numberBits = 128

var errText = errors.New("a text or a number is expected here")

func textOf(v cty.Value) (string, error) {
	if v.IsNull() || !v.IsWhollyKnown() || v.IsMarked() || v.Type() != cty.String && v.Type() != cty.Number {
		return "", errText
	}
	// A few digits of exponent would otherwise become a text of gigabytes.
	if v.Type() == cty.Number && v.AsBigFloat().MantExp(nil) > numberBits {
		return "", errors.New("the number is too large")
	}
	s, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", errText
	}
	return s.AsString(), nil
}

func (r *reading) attribute(a *hcl.Attribute) {
	name := strings.ReplaceAll(a.Name, "_", "-")
	if v, diags := a.Expr.Value(nil); isSwitch(name) && !diags.HasErrors() && v.IsKnown() && !v.IsNull() && v.Type() == cty.Bool {
		r.say(a.Range, name, strconv.FormatBool(v.True()))
		return
	}
	if v, ok := r.text(a.Expr); ok {
		r.say(a.Range, name, v)
	}
}

// words reads what is to run.
func (r *reading) words(a *hcl.Attribute) (words []string) {
	items, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		r.add(a.Range.Start.Line, a.Name+" is a list", "Write "+a.Name+` = ["program", "argument"]; for a shell, ["sh", "-c", "…"].`)
		return nil
	}
	for _, item := range items {
		if v, ok := r.text(item); ok {
			words = append(words, v)
		}
	}
	if len(items) == 0 {
		r.add(a.Range.Start.Line, a.Name+" is empty", "")
	}
	return words
}

// pairs reads a map of texts.
func (r *reading) pairs(a *hcl.Attribute, setting string) {
	if a == nil {
		return
	}
	items, diags := hcl.ExprMap(a.Expr)
	if diags.HasErrors() {
		r.add(a.Range.Start.Line, a.Name+" is a map", "Write "+a.Name+` = { NAME = "value" }.`)
		return
	}
	for _, item := range items {
		name := hcl.ExprAsKeyword(item.Key)
		ok := name != ""
		if !ok {
			name, ok = r.text(item.Key)
		}
		value, fine := r.text(item.Value)
		if !ok || !fine {
			continue
		}
		if strings.Contains(name, "=") {
			r.add(item.Key.Range().Start.Line, "a name holds no =", "")
			continue
		}
		r.say(item.Key.Range(), setting, name+"="+value)
	}
}

func (r *reading) input(b *hcl.Block) {
	content, diags := b.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "from", Required: true}, {Name: "to"}}})
	r.note(diags)
	a, ok := content.Attributes["from"]
	if !ok {
		return
	}
	from, ok := r.text(a.Expr)
	to, given := "", false
	if a := content.Attributes["to"]; a != nil {
		if to, given = r.text(a.Expr); !given {
			return
		}
	}
	if !ok {
		return
	}
	if err := r.job.addInput(from, to, given); err != nil {
		r.add(b.DefRange.Start.Line, "input: "+err.Error(), "")
	}
}

func (r *reading) output(b *hcl.Block) {
	content, diags := b.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "path", Required: true}}})
	r.note(diags)
	if a, ok := content.Attributes["path"]; ok {
		if v, ok := r.text(a.Expr); ok {
			r.say(a.Range, "output", v)
		}
	}
}
