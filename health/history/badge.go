package history

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/health"
)

const (
	red   = "#bf1a1f"
	amber = "#8a5300"
	green = "#18723a"
	grey  = "#57606a"
)

var stateColours = map[health.Status]string{health.Pass: green, health.Warn: amber, health.Fail: red, health.Unknown: grey}

// serveBadge serves one figure of a check as an image. An unknown check, span or figure
// is 404, as is a check that the caller may not see.
func (h *History) serveBadge(w http.ResponseWriter, r *http.Request) {
	everything := h.authorized(r)
	name, ok := strings.CutSuffix(r.PathValue("check"), ".svg")
	query := r.URL.Query()
	rep := h.Report(everything)
	i := slices.IndexFunc(rep.Checks, func(c CheckReport) bool { return c.Name == name })
	wanted := cmp.Or(query.Get("span"), "30d")
	at := slices.IndexFunc(spans, func(s span) bool { return s.name == wanted })
	if !ok || i < 0 || at < 0 {
		http.NotFound(w, r)
		return
	}
	label, text, colour := name+" "+wanted, "no data", grey
	total := h.total(name, rep.Time.Add(-spans[at].long), rep.Time)
	switch query.Get("show") {
	case "", "uptime":
		if percent, ok := total.uptime(); ok {
			text, colour = percentText(percent), percentColour(percent)
		}
	case "state":
		label, text, colour = name, strings.ToLower(words[rep.Checks[i].Status]), stateColours[rep.Checks[i].Status]
	case "latency":
		label = name + " p95 " + wanted
		if ms, ok := total.latency(0.95); ok {
			text, colour = fmt.Sprintf("%.3g ms", ms), green
		}
	default:
		http.NotFound(w, r)
		return
	}
	answer(w, "image/svg+xml", http.StatusOK, badge(label, text, colour))
}

func percentColour(percent float64) string {
	switch {
	case percent < 99:
		return red
	case percent < 99.9:
		return amber
	}
	return green
}

// badge draws a label and a text. The widths suit the font at seven pixels a letter.
func badge(label, text, colour string) []byte {
	left, right := 7*len(label)+12, 7*len(text)+12
	label, text = html.EscapeString(label), html.EscapeString(text)
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s: %s">`+
		`<rect width="%d" height="20" fill="%s"/><rect x="%d" width="%d" height="20" fill="%s"/>`+
		`<g fill="#fff" font-family="Verdana,sans-serif" font-size="11"><text x="6" y="14">%s</text><text x="%d" y="14">%s</text></g></svg>`,
		left+right, label, text, left, "#444c56", left, right, colour, label, left+6, text)
}
