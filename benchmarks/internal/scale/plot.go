package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The size of a plot and of its margins.
const (
	width, height             = 640.0, 360.0
	left, right, top, bottom  = 70.0, 150.0, 40.0, 50.0
	plotWidth, plotHeight     = width - left - right, height - top - bottom
	style                     = "text{font:12px system-ui,sans-serif;fill:#333}line{stroke:#ddd}@media(prefers-color-scheme:dark){text{fill:#ddd}line{stroke:#444}}"
	marks                     = 3.0
	labelAbove, labelBelow, t = 8.0, 18.0, 4.0
)

var colours = []string{"#2563eb", "#dc2626", "#16a34a", "#9333ea"}

// plot draws a curve with two logarithmic axes.
func plot(c curve, points map[string][]point) string {
	x, y := axis{low: math.Inf(1)}, axis{low: math.Inf(1)}
	for _, series := range points {
		for _, p := range series {
			x.hold(p.x)
			y.hold(p.y)
		}
	}
	x.round()
	y.round()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img"><title>%s</title><style>%s</style>`,
		width, height, html.EscapeString(c.Title), style)
	fmt.Fprintf(&b, `<text x="%g" y="20">%s</text>`, left, html.EscapeString(c.Title))
	for v := x.low; v <= x.high*1.01; v *= 10 {
		at := left + x.share(v)*plotWidth
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%g" x2="%.1f" y2="%g"/><text x="%.1f" y="%g" text-anchor="middle">%s</text>`,
			at, top, at, top+plotHeight, at, top+plotHeight+labelBelow, power(v))
	}
	for v := y.low; v <= y.high*1.01; v *= 10 {
		at := top + (1-y.share(v))*plotHeight
		fmt.Fprintf(&b, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, at, left+plotWidth, at, left-labelAbove, at+t, power(v))
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">%s</text>`, left+plotWidth/2, height-labelAbove, html.EscapeString(c.X))
	fmt.Fprintf(&b, `<text x="%g" y="%g">%s</text>`, left, top-labelAbove+2, html.EscapeString(c.Y))
	for i, name := range c.Series {
		series := points[name]
		if len(series) == 0 {
			continue
		}
		colour := colours[i%len(colours)]
		var line strings.Builder
		for _, p := range series {
			px, py := left+x.share(p.x)*plotWidth, top+(1-y.share(p.y))*plotHeight
			fmt.Fprintf(&line, "%.1f,%.1f ", px, py)
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="%g" fill="%s"/>`, px, py, marks, colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(line.String()), colour)
		last := series[len(series)-1]
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" style="fill:%s">%s</text>`, left+x.share(last.x)*plotWidth+labelAbove,
			top+(1-y.share(last.y))*plotHeight+t, colour, html.EscapeString(name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// axis is a logarithmic axis between two powers of ten.
type axis struct{ low, high float64 }

func (a *axis) hold(v float64) {
	if v > 0 {
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
}

func (a *axis) round() {
	if a.high == 0 {
		a.low, a.high = 1, 10
	}
	a.low = math.Pow(10, math.Floor(math.Log10(a.low)))
	a.high = math.Pow(10, math.Ceil(math.Log10(a.high)))
	if a.high <= a.low {
		a.high = a.low * 10
	}
}

// share is where a value lies on the axis, from 0 to 1.
func (a *axis) share(v float64) float64 {
	if v <= a.low {
		return 0
	}
	return math.Log10(v/a.low) / math.Log10(a.high/a.low)
}

// power writes a power of ten for readers.
func power(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%gG", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", math.Round(v*1e6)/1e6)
}
