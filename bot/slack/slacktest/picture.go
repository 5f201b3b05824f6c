package slacktest

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Picture draws blocks about as Slack shows them, as an SVG.
func Picture(blocks []Block) string {
	c := &canvas{y: margin + nameHeight}
	for _, b := range blocks {
		c.block(b)
		c.y += gap
	}
	height := c.y + margin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Lato, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="15">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&out, `<rect x="%d" y="%d" width="36" height="36" rx="6" fill="#2f6f4f"/><text x="%d" y="%d" fill="#fff" font-weight="700" font-size="18" text-anchor="middle">G</text>`+"\n", margin, margin, margin+18, margin+24)
	fmt.Fprintf(&out, `<text x="%d" y="%d" font-weight="900" fill="#1d1c1d">GimletD <tspan font-weight="400" font-size="10" fill="#616061">APP</tspan></text>`+"\n", left, margin+13)
	out.WriteString(c.out.String())
	out.WriteString("</svg>\n")
	return out.String()
}

// Measures, in pixels; text is measured by an average width of letters.
const (
	width       = 760
	margin      = 16
	left        = 64
	nameHeight  = 20
	lineHeight  = 22
	gap         = 6
	letter      = 7.4
	codeLetters = 90 // in a line of code
)

type canvas struct {
	out strings.Builder
	y   int
}

var (
	link = regexp.MustCompile(`<([^|>]+)\|([^>]*)>`)
	bold = regexp.MustCompile(`^\*([^*]+)\*$`)
)

func (c *canvas) block(b Block) {
	switch b["type"] {
	case "section":
		if text, ok := b["text"].(map[string]any); ok {
			c.text(fmt.Sprint(text["text"]), left, width-margin-left, 15, "#1d1c1d")
		}
		if fields, ok := b["fields"].([]any); ok {
			c.fields(fields)
		}
	case "context":
		elements, _ := b["elements"].([]any)
		for _, one := range elements {
			e, _ := one.(map[string]any)
			c.text(fmt.Sprint(e["text"]), left, width-margin-left, 12, "#616061")
		}
	case "actions":
		c.buttons(b)
	case "divider":
		fmt.Fprintf(&c.out, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#ddd"/>`+"\n", left, width-margin, c.y+8, c.y+8)
		c.y += 16
	}
}

// text draws mrkdwn: whole lines in bold, links, code.
func (c *canvas) text(text string, x, room, size int, color string) {
	if inner, ok := strings.CutPrefix(text, "```\n"); ok {
		c.code(strings.TrimSuffix(inner, "\n```"))
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		style := ""
		if m := bold.FindStringSubmatch(line); m != nil {
			line, style = m[1], ` font-weight="700"`
		}
		plain := html.UnescapeString(link.ReplaceAllString(line, "$2"))
		if link.MatchString(line) {
			color = "#1264a3"
		}
		for _, part := range wrap(plain, int(float64(room)/(letter*float64(size)/15))) {
			c.y += lineHeight * size / 15
			fmt.Fprintf(&c.out, `<text x="%d" y="%d" font-size="%d" fill="%s"%s>%s</text>`+"\n", x, c.y-5, size, color, style, html.EscapeString(part))
		}
	}
}

func (c *canvas) code(text string) {
	lines := strings.Split(html.UnescapeString(text), "\n")
	fmt.Fprintf(&c.out, `<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="#f8f8f8" stroke="#ddd"/>`+"\n", left, c.y+2, width-margin-left, len(lines)*17+14)
	c.y += 8
	for _, line := range lines {
		c.y += 17
		line = clip(line, codeLetters)
		fmt.Fprintf(&c.out, `<text x="%d" y="%d" font-size="12" font-family="Menlo, Consolas, monospace" fill="#1d1c1d" xml:space="preserve">%s</text>`+"\n", left+10, c.y-3, html.EscapeString(line))
	}
	c.y += 8
}

// fields draws pairs in two columns.
func (c *canvas) fields(fields []any) {
	const columns = 2
	column := (width - margin - left) / columns
	top := c.y
	lowest := top
	for i, one := range fields {
		f, _ := one.(map[string]any)
		if i%columns == 0 {
			top = lowest
		}
		c.y = top
		c.text(fmt.Sprint(f["text"]), left+column*(i%columns), column-margin, 15, "#1d1c1d")
		lowest = max(lowest, c.y+4)
	}
	c.y = lowest
}

func (c *canvas) buttons(b Block) {
	x := left
	for _, e := range buttons([]Block{b}) {
		text := label(e)
		w := int(1.12*letter*float64(utf8.RuneCountInString(text))) + 28 // it is bold
		if x+w > width-margin {
			x = left
			c.y += 40
		}
		fill, stroke, ink := "#fff", "#bbb", "#1d1c1d"
		switch e["style"] {
		case "primary":
			fill, stroke, ink = "#007a5a", "#007a5a", "#fff"
		case "danger":
			fill, stroke, ink = "#e01e5a", "#e01e5a", "#fff"
		}
		fmt.Fprintf(&c.out, `<rect x="%d" y="%d" width="%d" height="32" rx="4" fill="%s" stroke="%s"/><text x="%d" y="%d" font-weight="700" font-size="14" fill="%s" text-anchor="middle">%s</text>`+"\n",
			x, c.y+4, w, fill, stroke, x+w/2, c.y+25, ink, html.EscapeString(text))
		x += w + 8
	}
	c.y += 40
}

func wrap(line string, most int) (lines []string) {
	current := ""
	for word := range strings.FieldsSeq(line) {
		if current != "" && utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > most {
			lines = append(lines, current)
			current = ""
		}
		if current != "" {
			current += " "
		}
		current += word
	}
	return append(lines, current)
}

func clip(line string, most int) string {
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return line
}
