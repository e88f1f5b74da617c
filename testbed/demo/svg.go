package main

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// The picture's measures, in pixels.
const (
	svgLine   = 17
	svgGlyph  = 8 // a glyph of 13 pixels is 7.8 wide
	svgMargin = 18
	svgTop    = 40 // the window's bar
	svgWide   = 118
)

// fill is a style's colour on the dark ground.
func fill(s style) string {
	switch s {
	case heading:
		return "#e5c07b"
	case command:
		return "#56b6c2"
	case passed:
		return "#98c379"
	case failed:
		return "#e06c75"
	case aside:
		return "#7f848e"
	}
	return "#d7dae0"
}

// svg draws lines as a terminal shows them: long ones are folded, none is cut.
func svg(w io.Writer, lines []line) error {
	var rows []line
	for _, l := range lines {
		rows = append(rows, fold(l, svgWide)...)
	}
	width := svgWide*svgGlyph + 2*svgMargin
	height := svgTop + len(rows)*svgLine + svgMargin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#1e2127"/>`+"\n", width, height)
	for i, c := range []string{"#e06c75", "#e5c07b", "#98c379"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="5" fill="%s"/>`+"\n", svgMargin+i*18, c)
	}
	fmt.Fprintf(&b, `<text x="%d" y="22" text-anchor="middle" font-family="monospace" font-size="12" fill="#7f848e">make demo</text>`+"\n", width/2)
	b.WriteString(`<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" xml:space="preserve">` + "\n")
	for i, l := range rows {
		if l.text == "" {
			continue
		}
		weight := ""
		if l.style == heading {
			weight = ` font-weight="bold"`
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s"%s>%s</text>`+"\n",
			svgMargin, svgTop+(i+1)*svgLine-4, fill(l.style), weight, html.EscapeString(printable(l.text)))
	}
	b.WriteString("</g>\n</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// fold breaks a line at the terminal's width.
func fold(l line, width int) []line {
	var out []line
	text := []rune(strings.ReplaceAll(l.text, "\t", "    "))
	for len(text) > width {
		out = append(out, line{l.style, string(text[:width])})
		text = text[width:]
	}
	return append(out, line{l.style, string(text)})
}

// printable leaves out what XML cannot carry.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
}
