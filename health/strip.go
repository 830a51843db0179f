package health

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// The bars are dashes of one stroke per state (page.css), 4 units wide including the
// gap. Their height shows the state as well as their colour does.
var barMiddle = map[Status]string{Unknown: "19", Pass: "17", Warn: "14", Fail: "10"}

// stripSVG draws the last 24 h, one bar per half hour, as one path per state. The text
// is for screen readers. If there was an outage, it is visible to all readers.
func stripSVG(h *history, now time.Time) (svg template.HTML, outages string) {
	strip := h.strip(now)
	var b strings.Builder
	count, down := h.outages(now)
	label := "no outage in 24 h"
	if count > 0 {
		outages = fmt.Sprintf("%d outages, %s", count, lasting(down))
		if count == 1 {
			outages = "1 outage, " + lasting(down)
		}
		label = outages + " in 24 h"
	}
	fmt.Fprintf(&b, `<svg class="t" viewBox="0 0 %d 20" role="img" aria-label="%s">`, 4*cells, label)
	for _, status := range []Status{Unknown, Pass, Warn, Fail} {
		var d strings.Builder
		for i := 0; i < cells; i++ {
			if strip[i] != status {
				continue
			}
			begin := i
			for i+1 < cells && strip[i+1] == status {
				i++
			}
			fmt.Fprintf(&d, "M%d %sh%d", 4*begin, barMiddle[status], 4*(i+1-begin))
		}
		if d.Len() > 0 {
			fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, status, d.String())
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()), outages
}
