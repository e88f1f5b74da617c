package machine

import (
	"fmt"
	"strings"

	"github.com/coinop/coinop/scheduler"
)

// cards reads what a machine has of GPUs: MODEL:GIB:COUNT[@ISLAND][/SHARES][!REASON], with commas between. Those called a100
// can be cut.
func (a args) cards() (cards []scheduler.Card) {
	a.t.Helper()
	for text := range strings.SplitSeq(a.text("cards", ""), ",") {
		if text == "" {
			continue
		}
		var c scheduler.Card
		text, c.Reason, c.Sick = strings.Cut(text, "!")
		text, shares, shared := strings.Cut(text, "/")
		text, island, joined := strings.Cut(text, "@")
		words := strings.Split(text, ":")
		c.Model, c.Memory, c.Count = words[0], number(a.t, words[1])<<30, int32(number(a.t, words[2]))
		if shared {
			c.Shares = int32(number(a.t, shares))
		}
		if joined {
			c.Island = int32(number(a.t, island))
		}
		if strings.HasPrefix(c.Model, "a100") {
			c.MIG = true
			c.Profiles = []scheduler.Profile{{Name: "7g.80gb", Slices: 7, Memory: 79 << 30, Max: 1}, {Name: "3g.40gb", Slices: 3, Memory: 39 << 30, Max: 2}, {Name: "1g.10gb", Slices: 1, Memory: 9 << 30, Max: 7}}
		}
		cards = append(cards, c)
	}
	return cards
}

// whole is how many GPUs a machine with such cards offers.
func whole(cards []scheduler.Card) (n int64) {
	for _, c := range cards {
		if !c.Sick {
			n += int64(c.Count)
		}
	}
	return n
}

// gpus reads what a job asks for: [KIND:]N.
func (a args) gpus(need *scheduler.Resources) scheduler.GPURequest {
	a.t.Helper()
	text := a.text("gpus", "")
	kind, count, named := strings.Cut(text, ":")
	if !named {
		kind, count = "", text
	}
	g, err := scheduler.ParseGPU(kind)
	if err != nil {
		a.t.Fatal(err)
	}
	if g.Memory = a.number("gpumemory", 0) << 30; text != "" && g.Kind == scheduler.GPUWhole {
		need.GPUs = number(a.t, count)
	}
	g.NVLink = a.has("nvlink")
	return g
}

// kinds reads a pool's price list: NAME:WEIGHT with commas between, in order.
func (a args) kinds(otherwise []scheduler.KindWeight) (kinds []scheduler.KindWeight) {
	a.t.Helper()
	list := a.text("kinds", "")
	if list == "" {
		return otherwise
	}
	for text := range strings.SplitSeq(list, ",") {
		name, weight, _ := strings.Cut(text, ":")
		kinds = append(kinds, scheduler.KindWeight{Name: name, Weight: number(a.t, weight)})
	}
	return kinds
}

// dealt tells which GPUs of a node its runs have.
func dealt(node *scheduler.Node) string {
	if len(node.Cards) == 0 {
		return ""
	}
	var takes []string
	for _, t := range node.Takes {
		takes = append(takes, fmt.Sprintf("%d:%s", t.Run, strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Cards), "[]"), " ", "+")))
	}
	words := fmt.Sprintf(" gpus=%d/%d", node.Free().GPUs, node.Has.GPUs)
	if takes != nil {
		words += " runs=" + strings.Join(takes, ",")
	}
	if n := len(node.Refused); n > 0 {
		words += fmt.Sprintf(" refused=%d", n)
	}
	return words
}
