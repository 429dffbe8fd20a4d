package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The terminal of the picture, and what a character takes on it.
const (
	columns, height      = 132, 24
	charWidth, lineSpace = 8, 18
)

// palette are the colours that nodejoin's view uses of a terminal's 16, on a dark ground.
var palette = map[int]string{-1: "#d8dee9", 1: "#ef6b73", 2: "#8fce72", 3: "#e5c07b", 4: "#6cb6ff", 6: "#56c8d8", 8: "#7f8896"}

// pictured runs nodejoin on the node at a terminal, and keeps the screen at its end as the picture. What would make the line
// too long for it comes from the environment.
func (d *demo) pictured(b *testbed.Node, token string) (code int, err error) {
	t, farEnd, err := testbed.OpenTerminal(columns, height)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	defer farEnd.Close()
	typed := []string{"nodejoin", "join", d.cp.Endpoint(), "--hold", "30s"}
	command := testbed.OnTerminal(farEnd, typed...)
	command.Env = append(command.Env, "NODEJOIN_TOKEN="+token, "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH="+d.cp.CAHash())
	for _, arg := range testbed.PreflightArgs() {
		command.Env = append(command.Env, strings.Replace(arg, "--ignore-preflight-errors", "NODEJOIN_IGNORE_PREFLIGHT_ERRORS", 1))
	}
	p, err := b.Start(d.ctx, command)
	if err != nil {
		return 0, err
	}
	exit := p.Wait()
	if err := d.sleep(time.Second); err != nil { // for the last words to be drawn
		return 0, err
	}
	d.print("B  ", t.Text())
	return exit.Code, os.WriteFile(d.picture, []byte(drawing(t, strings.Join(typed, " "))), 0o644)
}

// drawing is the screen as SVG, with the line that was typed above it.
func drawing(t *testbed.Terminal, typed string) string {
	rows := make([]strings.Builder, height)
	last := 0
	t.Cells(func(column, line int, char rune, colour int) {
		fill, known := palette[colour]
		if !known {
			fill = palette[-1]
		}
		fmt.Fprintf(&rows[line], `<tspan x="%d" fill="%s">%s</tspan>`, column*charWidth, fill, escaped(string(char)))
		last = max(last, line)
	})
	var text strings.Builder
	fmt.Fprintf(&text, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -20 %d %d" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">`+"\n",
		columns*charWidth+24, (last+3)*lineSpace)
	fmt.Fprintf(&text, `<rect x="-12" y="-20" width="%d" height="%d" rx="8" fill="#1f242d"/>`+"\n", columns*charWidth+24, (last+3)*lineSpace)
	fmt.Fprintf(&text, `<text fill="#ffffff">$ %s</text>`+"\n", escaped(typed))
	for line := range last + 1 {
		fmt.Fprintf(&text, `<text y="%d">%s</text>`+"\n", (line+1)*lineSpace, rows[line].String())
	}
	return text.String() + "</svg>\n"
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // into memory
	return b.String()
}
