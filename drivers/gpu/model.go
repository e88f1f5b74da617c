package gpu

import "strings"

const slugMax = 63

// Slug writes a model as queues and prices know it: "NVIDIA A100-SXM4-80GB" is a100-sxm4-80gb.
func Slug(model string) string {
	plain := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(model)), "nvidia ")
	var slug strings.Builder
	for _, c := range []byte(plain) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.':
			slug.WriteByte(c)
		case slug.Len() > 0 && !strings.HasSuffix(slug.String(), "-"):
			slug.WriteByte('-')
		}
	}
	return strings.TrimRight(slug.String()[:min(slug.Len(), slugMax)], "-")
}

// Matches says whether a GPU's model is one that was asked for: the whole of it, or a run of its parts between dashes (a100, a100-sxm4, 80gb).
func Matches(model, asked string) bool {
	if asked == "" {
		return true
	}
	wanted := Slug(asked)
	return wanted != "" && strings.Contains("-"+Slug(model)+"-", "-"+wanted+"-")
}
