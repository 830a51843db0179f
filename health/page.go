package health

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/internal/durationtext"
)

//go:embed page.css
var pageStyle string

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// pagePolicy allows the one style sheet of the page, by its hash, and inline
// images. There is no script, no form and no frame.
var pagePolicy = func() []string {
	sum := sha256.Sum256([]byte(pageStyle))
	return []string{"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
}()

// pageData is the data of the template.
type pageData struct {
	Title, Headline, Word string
	Status                Status
	Icon                  template.URL
	Style                 template.CSS
	Refresh               bool
	Subtitle              []string
	Rows                  []pageRow
	Footer                []string
	Up, Home              string
}

type pageRow struct {
	Name, Word, For, Output, Outages string
	Status                           Status
	Tags                             []string
	Meta                             []template.HTML
	Values                           []pageValue
	Strip                            template.HTML
}

type pageValue struct{ Text, Limits, Status string }

// words are shorter than sentences and say more than colours.
var words = map[Status]string{Pass: "Healthy", Warn: "Degraded", Fail: "Failing", Unknown: "Not checked"}

// anonymousPage is the page for callers that may not see details.
func anonymousPage(s Status, home string) []byte {
	return renderPage(&pageData{Title: words[s], Word: words[s], Status: s, Home: home})
}

func renderPage(d *pageData) []byte {
	d.Icon, d.Style = favicon(d.Status), template.CSS(pageStyle)
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		// The template is a constant, every test renders it, and a buffer cannot fail.
		// If it fails anyway, the state is still true.
		return []byte(d.Word)
	}
	return b.Bytes()
}

// favicon is a different shape for each state, so that the tab of the browser shows the
// state too.
func favicon(s Status) template.URL {
	shape := map[Status]string{
		Pass:    `<circle cx="8" cy="8" r="8" fill="#18723a"/><path d="m4 8 3 3 5-6" stroke="#fff" stroke-width="2" fill="none"/>`,
		Warn:    `<path d="M8 0 0 16h16z" fill="#f2b84b"/><path d="M8 6v5m0 1v2" stroke="#000" stroke-width="2"/>`,
		Fail:    `<path d="M0 0h16v16H0z" fill="#bf1a1f"/><path d="m4 4 8 8m0-8-8 8" stroke="#fff" stroke-width="2"/>`,
		Unknown: `<circle cx="8" cy="8" r="7" fill="#fff" stroke="#57606a" stroke-width="2"/>`,
	}[s]
	return template.URL("data:image/svg+xml," + url.PathEscape(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">`+shape+`</svg>`))
}

func (r *Registry) servePage(w http.ResponseWriter, req *http.Request, query url.Values, s *Snapshot, code int) {
	now := time.Now()
	status, word := s.shown()
	d := pageData{
		Word: word, Status: status, Headline: pageHeadline(s, now),
		Refresh: query.Get("refresh") == "1", Up: "../", Footer: r.pageFooter(s, now), Home: r.opts.Home,
	}
	if !strings.HasSuffix(req.URL.Path, "/") {
		d.Up = ""
	}
	if name, ok := strings.CutPrefix(req.URL.Path, "/health/"); ok && name != "" { // the page of one check
		d.Up = "../" + d.Up
	}
	service := cmp.Or(s.Service, hostname())
	d.Title = d.Word + " · " + service
	d.Subtitle = append(d.Subtitle, service+pageDescription(s))
	if s.Phase != Serving {
		d.Subtitle = append(d.Subtitle, "Not ready: "+string(s.Phase))
	}
	r.mu.Lock()
	for _, c := range worstFirst(s.Checks) {
		if slot := r.byName[c.Name]; slot != nil { // not removed since the snapshot
			d.Rows = append(d.Rows, newRow(&c, &slot.history, now))
		}
	}
	r.mu.Unlock()
	d.Subtitle = append(d.Subtitle, r.noticeLines()...)
	p := newPayload(formatHTML, renderPage(&d))
	p.write(w, req, code)
}

// shown is the state of the service for readers. A service whose checks have not all
// run yet fails its probes, but the page must not alarm its readers.
func (s *Snapshot) shown() (Status, string) {
	failing := func(c CheckState) bool { return c.Status == Fail }
	if s.Phase == Starting && s.Status == Fail && !slices.ContainsFunc(s.Checks, failing) {
		return Unknown, "Starting"
	}
	return s.Status, words[s.Status]
}

func pageDescription(s *Snapshot) string {
	text := ""
	if s.Description != "" {
		text = ", " + s.Description
	}
	if s.Release != "" {
		text += ", release " + s.Release
	}
	return text
}

// pageHeadline names the problems and since when they exist, worst first.
func pageHeadline(s *Snapshot, now time.Time) string {
	var first *CheckState
	more, healthy := 0, 0
	for _, c := range worstFirst(s.Checks) {
		switch {
		case c.Status == Pass:
			healthy++
		case first == nil:
			first = &c
		default:
			more++
		}
	}
	if first == nil {
		return fmt.Sprintf("all %d checks pass", healthy)
	}
	text := first.Name
	if first.Status != Unknown {
		text += " for " + lasting(now.Sub(first.Since)) + " (since " + clock(first.Since, now) + ")"
	} else {
		text += " has not been checked yet"
	}
	if more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

func clock(t, now time.Time) string {
	t = t.UTC()
	if now.Sub(t) > 20*time.Hour {
		return t.Format("2 Jan 15:04 UTC")
	}
	return t.Format("15:04 UTC")
}

func newRow(c *CheckState, h *history, now time.Time) pageRow {
	row := pageRow{Name: c.Name, Word: words[c.Status], Status: c.Status, Output: c.Output}
	row.Strip, row.Outages = stripSVG(h, now)
	if c.Critical {
		row.Tags = append(row.Tags, "critical")
	}
	if c.Flapping {
		row.Tags = append(row.Tags, "flapping")
	}
	if c.Status != Unknown {
		row.For = "for " + lasting(now.Sub(c.Since))
	}
	note := func(format string, args ...any) {
		row.Meta = append(row.Meta, template.HTML(template.HTMLEscapeString(fmt.Sprintf(format, args...))))
	}
	if c.Status > Pass {
		if len(c.Blocked) > 0 {
			note("follows from %s", strings.Join(c.Blocked, ", "))
		}
		if c.Confirmed != c.Status {
			note("not confirmed yet")
		}
		if c.Failures > 1 {
			note("%d times in a row", c.Failures)
		}
		if c.LastSuccess.IsZero() {
			note("never good since the start")
		} else {
			row.Meta = append(row.Meta, "last good "+timeHTML(c.LastSuccess, now))
		}
	}
	if !c.LastRun.IsZero() {
		note("checked %s in %s", ago(now.Sub(c.LastRun)), roughly(c.Took))
	}
	if c.Runbook != "" {
		row.Meta = append(row.Meta, template.HTML(`<a href="`+template.HTMLEscapeString(c.Runbook)+
			`">Runbook<span class="h"> of `+c.Name+`</span></a>`))
	}
	for _, m := range c.Observed {
		row.Values = append(row.Values, newValue(m))
	}
	return row
}

func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return roughly(d) + " ago"
}

func timeHTML(t, now time.Time) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format("2006-01-02T15:04Z") + `">` + clock(t, now) + `</time>`)
}

// newValue writes a number and its thresholds: "91 % of 80/90".
func newValue(m Measurement) pageValue {
	if m.Unit == m.Name { // "connections 4 connections"
		m.Unit = ""
	}
	v := pageValue{Text: spaced(m.Name) + " " + withUnit(m.Value, m.Unit)}
	if m.Status > Pass {
		v.Status = m.Status.String()
	}
	if m.Limits.None() {
		return v
	}
	var limits []string
	if m.Limits.Warn != 0 {
		limits = append(limits, "warn "+withUnit(m.Limits.Warn, m.Unit))
	}
	if m.Limits.Fail != 0 {
		limits = append(limits, "fail "+withUnit(m.Limits.Fail, m.Unit))
	}
	v.Limits = strings.Join(limits, ", ")
	return v
}

// spaced turns "responseTime" into "response time".
func spaced(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte(' ')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// withUnit keeps number and unit on one line.
func withUnit(value float64, unit string) string {
	text := fmt.Sprintf("%.3g", value)
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "not a number"
	case unit == "percent":
		unit = "%"
	case unit == "bytes" && value >= 0 && value < 1<<62:
		text, unit, _ = strings.Cut(bytesText(int64(value)), " ")
	case math.Abs(value) >= 1000:
		text = fmt.Sprintf("%.0f", value)
	}
	if unit != "" {
		text += "\u00a0" + unit
	}
	return text
}

func (r *Registry) pageFooter(s *Snapshot, now time.Time) []string {
	oldest := time.Duration(0)
	for _, c := range s.Checks {
		if !c.LastRun.IsZero() {
			oldest = max(oldest, now.Sub(c.LastRun))
		}
	}
	runner := "checks run in the background"
	if !r.running.Load() {
		runner = "checks run when a request arrives"
	}
	about := []string{"host " + hostname(), "up " + roughly(now.Sub(r.born))}
	if rev := revision(); rev != "" {
		about = append(about, "commit "+rev)
	}
	return []string{
		fmt.Sprintf("As of %s; %s; the oldest result is %s old.", now.UTC().Format("2006-01-02 15:04:05 UTC"), runner, roughly(oldest)),
		strings.Join(about, " · "),
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return name
}

// revision is the commit that the binary was built from, if the build recorded it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return cutTo(s.Value, 12)
		}
	}
	return ""
}

// roughly formats a duration in everyday form: "14 min", "3 h 20 min".
func roughly(d time.Duration) string { return durationtext.Roughly(d) }

// lasting formats how long a state has lasted, without milliseconds that would only
// look exact.
func lasting(d time.Duration) string {
	if d < time.Second {
		return "a moment"
	}
	return roughly(d)
}

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

// The bars are dashes of one stroke per state (page.css), 4 units wide including the
// gap. Their height shows the state as well as their colour does.
var barMiddle = map[Status]string{Unknown: "19", Pass: "17", Warn: "14", Fail: "10"}
