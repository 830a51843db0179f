package history

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

//go:embed page.css
var pageStyle string

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}()

// Mount registers the pages under /uptime/: the page itself, its login, the form for an
// [Announcement], json, feed and badge/{check}.svg. A badge shows the uptime, or with ?show=state the state and
// with ?show=latency the 95th percentile of the durations. ?span=24h, 7d, 30d or 90d
// selects the time. Every path works with a slash at its end and without. Links,
// redirects and the cookie are relative, so the pages also work behind a proxy that
// removes a prefix.
func (h *History) Mount(mux *http.ServeMux) {
	for _, end := range []string{"", "/{$}"} {
		mux.HandleFunc("GET /uptime"+end, h.serveUptime)
		mux.HandleFunc("POST /uptime/login"+end, h.serveLogin)
		mux.HandleFunc("POST /uptime/announce"+end, h.serveAnnounce)
		mux.HandleFunc("GET /uptime/json"+end, h.serveJSON)
		mux.HandleFunc("GET /uptime/feed"+end, h.serveFeed)
		mux.HandleFunc("GET /uptime/badge/{check}"+end, h.serveBadge)
	}
}

// askedWithSlash reports whether the client's own path ends with a slash. The path in
// r.URL is not asked, because a handler in front may have changed it.
func askedWithSlash(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return strings.HasSuffix(path, "/")
}

// redirect sends the client to a path relative to its own. http.Redirect would make the
// path absolute, which is wrong behind a proxy that removes a prefix.
func redirect(w http.ResponseWriter, to string, code int) {
	w.Header().Set("Location", to)
	w.WriteHeader(code)
}

func (h *History) serveUptime(w http.ResponseWriter, r *http.Request) {
	if !askedWithSlash(r) { // relative links need the slash
		redirect(w, "uptime/", http.StatusPermanentRedirect)
		return
	}
	h.servePage(w, r, "", http.StatusOK)
}

// Report is the content of the pages as the JSON API returns it.
type Report struct {
	// Title is Options.Title.
	Title string `json:"title"`
	// Time is when the report was made, in UTC.
	Time time.Time `json:"time"`
	// Status is the state of this instance as in /health/. For callers that may not see
	// details, it is the worst state of the public checks.
	Status health.Status `json:"status"`
	// Announcement is nil without a present announcement.
	Announcement *Announcement `json:"announcement,omitempty"`
	// Instances are sorted by name. The list is empty for callers that may not see
	// details.
	Instances []InstanceReport `json:"instances,omitempty"`
	// Checks are those that the caller may see: first those of this instance, in the
	// order in which they were added, then those that only other instances have.
	Checks []CheckReport `json:"checks"`
	// Alerts are the open alerts, worst first, then the closed ones, newest first.
	Alerts []AlertReport `json:"alerts,omitempty"`
}

// InstanceReport is one instance of the service.
type InstanceReport struct {
	// Name is Options.Instance of the instance.
	Name string `json:"name"`
	// Status is the last state that the instance saved.
	Status health.Status `json:"status"`
	// Seen is when the instance last saved its state.
	Seen time.Time `json:"seen"`
	// Lost means that the instance has not saved for 5 minutes, or 3 times SaveEvery. A
	// lost instance is listed for 7 days. An instance that was stopped is not listed.
	Lost bool `json:"lost"`
}

// CheckReport is one check over all instances.
type CheckReport struct {
	// Name is the name of the check.
	Name string `json:"name"`
	// Status is the worst state among the instances that are not lost.
	Status health.Status `json:"status"`
	// Output is empty for callers that may not see details.
	Output string `json:"output,omitempty"`
	// Uptime maps "24h", "7d", "30d" and "90d" to percentages. A span without results
	// is left out.
	Uptime map[string]float64 `json:"uptime"`
	// P50 is the median of the durations of the last 24 hours, in milliseconds. It is 0
	// without results.
	P50 float64 `json:"p50Ms"`
	// P95 is the 95th percentile of these durations, in milliseconds.
	P95 float64 `json:"p95Ms"`
}

// AlertReport is one alert. Instance, Output, AckBy and SilencedUntil are empty for callers
// that may not see details.
type AlertReport struct {
	// ID is unique. A check that fails again later gets a new one.
	ID string `json:"id"`
	// Check is the name of the check. It is empty for an alert about an instance itself.
	Check string `json:"check"`
	// Instance is the instance with the problem. It is empty for a shared check.
	Instance string `json:"instance,omitempty"`
	// State is "warn", "fail", "flapping", "lost" or "restarts", as in health.Alert.
	State string `json:"state"`
	// Since is the time of the first bad result.
	Since time.Time `json:"since"`
	// Ended is the time of the first good result. It is zero while the alert is open.
	Ended time.Time `json:"ended,omitzero"`
	// Ending is "recovered", "stopped", "unreported" or "closed", as in health.Alert.
	Ending string `json:"ending,omitempty"`
	// Output is the last output of the bad check.
	Output string `json:"output,omitempty"`
	// AckBy is the person who acknowledged the alert.
	AckBy string `json:"acknowledgedBy,omitempty"`
	// SilencedUntil is the end of a silence, or zero.
	SilencedUntil time.Time `json:"silencedUntil,omitzero"`
	actions       []health.AlertAction
}

// A span is a time that ends now.
type span struct {
	name, text string
	long       time.Duration
}

var spans = []span{{"24h", "24 hours", 24 * time.Hour}, {"7d", "7 days", 7 * 24 * time.Hour}, {"30d", "30 days", 30 * 24 * time.Hour}, {"90d", "90 days", defaultKeep}}

// Report returns the content of the pages. Unless everything is set, it has only the
// public checks, without their outputs.
func (h *History) Report(everything bool) Report {
	snap := h.reg.Snapshot()
	rep := Report{Title: h.opts.Title, Time: snap.Time.UTC(), Status: snap.Status, Announcement: h.announcement(snap.Time)}
	visible := func(check string) bool { return everything || slices.Contains(h.opts.Public, check) }
	h.mu.Lock()
	instances := make([]now, 0, len(h.seen))
	for _, n := range h.seen {
		instances = append(instances, n)
	}
	h.mu.Unlock()
	instances = append(slices.DeleteFunc(instances, func(n now) bool { return n.Instance == h.opts.Instance || snap.Time.Sub(n.heard) > lostFor }), newNow(h.opts.Instance, snap))
	slices.SortFunc(instances, func(a, b now) int { return strings.Compare(a.Instance, b.Instance) })
	names := h.reg.Names()
	for _, n := range instances {
		lost := h.lost(n, snap.Time)
		if everything {
			seen := n.Time
			if seen.After(snap.Time) {
				seen = n.heard
			}
			rep.Instances = append(rep.Instances, InstanceReport{Name: n.Instance, Status: n.Status, Seen: seen.UTC(), Lost: lost})
		}
		for name := range n.Checks {
			if !lost && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if !everything {
		rep.Status = health.Unknown
	}
	for _, name := range names {
		if !visible(name) {
			continue
		}
		c := CheckReport{Name: name, Uptime: map[string]float64{}}
		for _, n := range instances {
			s, ok := n.Checks[name]
			if !ok || h.lost(n, snap.Time) {
				continue
			}
			if s.Status >= c.Status {
				c.Status = s.Status
				if everything && s.Output != "" {
					c.Output = h.reg.Scrub(s.Output)
				}
			}
		}
		for _, span := range spans {
			sum := h.total(name, snap.Time.Add(-span.long), snap.Time)
			if percent, ok := sum.uptime(); ok {
				c.Uptime[span.name] = percent
			}
			if span.name == "24h" {
				c.P50, _ = sum.latency(0.5)
				c.P95, _ = sum.latency(0.95)
			}
		}
		if !everything {
			rep.Status = max(rep.Status, c.Status)
		}
		rep.Checks = append(rep.Checks, c)
	}
	alerts := h.reg.Alerts()
	for _, a := range append(slices.Clone(alerts.Open), alerts.Closed...) {
		if !visible(a.Check) {
			continue
		}
		entry := AlertReport{ID: a.ID, Check: a.Check, State: a.State, Since: a.Since.UTC(), Ended: a.Ended, Ending: a.Ending}
		if everything {
			entry.Instance, entry.Output, entry.actions = a.Instance, h.reg.Scrub(a.Output), a.Actions
			entry.AckBy, entry.SilencedUntil = h.reg.Scrub(a.AckBy), a.SilencedUntil
		}
		rep.Alerts = append(rep.Alerts, entry)
	}
	return rep
}

// may reports what a request may see. ok is false if it may not see anything.
func (h *History) may(r *http.Request) (everything, ok bool) {
	everything = h.authorized(r)
	return everything, everything || len(h.opts.Public) > 0
}

func answer(w http.ResponseWriter, contentType string, code int, body []byte) {
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Content-Security-Policy", pagePolicy)
	head.Set("Vary", "Cookie, Authorization")
	w.WriteHeader(code)
	_, _ = w.Write(body) // if this fails, the client has disconnected
}

func (h *History) serveJSON(w http.ResponseWriter, r *http.Request) {
	everything, ok := h.may(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	body, err := json.Marshal(h.Report(everything))
	if err != nil {
		http.Error(w, "the report cannot be encoded", http.StatusInternalServerError)
		return
	}
	answer(w, "application/json", http.StatusOK, body)
}

// serveFeed serves the alerts as an Atom feed.
func (h *History) serveFeed(w http.ResponseWriter, r *http.Request) {
	everything, ok := h.may(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	type entry struct {
		ID      string `xml:"id"`
		Title   string `xml:"title"`
		Updated string `xml:"updated"`
		Summary string `xml:"summary"`
	}
	rep := h.Report(everything)
	feed := struct {
		XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string   `xml:"id"`
		Title   string   `xml:"title"`
		Updated string   `xml:"updated"`
		Author  string   `xml:"author>name"`
		Entries []entry  `xml:"entry"`
	}{ID: "urn:mainstay:health:" + h.opts.Title, Title: "Alerts of " + h.opts.Title, Updated: rep.Time.Format(time.RFC3339), Author: h.opts.Title}
	if a := rep.Announcement; a != nil {
		at := a.Set.Format(time.RFC3339)
		feed.Entries = append(feed.Entries, entry{ID: "urn:mainstay:announcement:" + at, Title: a.Text, Updated: at})
	}
	for _, a := range rep.Alerts {
		e := entry{ID: "urn:mainstay:alert:" + a.ID, Title: alertTitle(a), Updated: a.Since.Format(time.RFC3339), Summary: a.Output}
		if !a.Ended.IsZero() {
			e.Updated = a.Ended.UTC().Format(time.RFC3339)
		}
		feed.Entries = append(feed.Entries, e)
	}
	body, err := xml.Marshal(feed)
	if err != nil {
		http.Error(w, "the feed cannot be encoded", http.StatusInternalServerError)
		return
	}
	answer(w, "application/atom+xml; charset=utf-8", http.StatusOK, append([]byte(xml.Header), body...))
}

func alertTitle(a AlertReport) string {
	subject := a.Check
	if a.Instance != "" {
		subject = strings.TrimSpace(subject + " on " + a.Instance)
	}
	if a.Ended.IsZero() {
		return subject + ": " + a.State
	}
	return subject + ": " + a.State + ", " + a.Ending
}

func percentText(p float64) string {
	if p >= 99.9995 {
		return "100 %"
	}
	return fmt.Sprintf("%.2f %%", float64(int(p*100))/100) // never rounded up to 100
}

type pageLine struct {
	Name, Word, Note, Subject, When, Output string
	Status                                  string
	Actions                                 []health.AlertAction
}

type pageCheck struct {
	Name, Word, Status string
	Notes              []string
	Uptimes            []struct{ Span, Text string }
	Strip, Graph       template.HTML
}

var words = map[health.Status]string{health.Pass: "Healthy", health.Warn: "Degraded", health.Fail: "Failing", health.Unknown: "Not checked"}

func (h *History) servePage(w http.ResponseWriter, r *http.Request, problem string, code int) {
	everything, _ := h.may(r)
	if !everything && len(h.opts.Public) == 0 && h.key == nil {
		http.NotFound(w, r)
		return
	}
	rep := h.Report(everything)
	d := struct {
		Title, Word, Status, Time, Problem string
		Style                              template.CSS
		Login, Announce                    bool
		Announcement                       *Announcement
		AnnounceHours, MaxAnnouncement     int
		Instances, Open, Closed            []pageLine
		Checks                             []pageCheck
	}{
		Title: rep.Title, Word: words[rep.Status], Status: rep.Status.String(), Problem: problem, Style: template.CSS(pageStyle),
		Time: rep.Time.Format("2006-01-02 15:04 UTC"), Login: !everything && h.key != nil,
		Announce: everything, AnnounceHours: formHours, MaxAnnouncement: maxAnnouncement,
	}
	if everything || len(h.opts.Public) > 0 {
		d.Announcement = rep.Announcement
	}
	for _, i := range rep.Instances {
		line := pageLine{Name: i.Name, Word: words[i.Status], Status: i.Status.String()}
		if i.Lost {
			line.Word, line.Status, line.Note = "Lost", "lost", "last seen "+i.Seen.Format("2006-01-02 15:04 UTC")
		}
		d.Instances = append(d.Instances, line)
	}
	// A reader who comes from an alert looks for the checks that fail.
	slices.SortStableFunc(rep.Checks, func(a, b CheckReport) int { return cmp.Compare(b.Status, a.Status) })
	for _, c := range rep.Checks {
		d.Checks = append(d.Checks, h.pageCheck(c, rep.Time))
	}
	for _, a := range rep.Alerts {
		line := pageLine{Word: a.State, Status: "fail", Subject: a.Check, Output: a.Output, Actions: a.actions, When: "since " + a.Since.Format("2006-01-02 15:04 UTC")}
		if a.Instance != "" {
			line.Subject = strings.TrimSpace(line.Subject + " on " + a.Instance)
		}
		if a.State == "warn" {
			line.Status = "warn"
		}
		if a.AckBy != "" {
			line.Note = "acknowledged by " + a.AckBy
		}
		if a.Ended.IsZero() {
			if !a.SilencedUntil.IsZero() {
				line.Note = strings.TrimPrefix(line.Note+", silenced until "+a.SilencedUntil.UTC().Format("2006-01-02 15:04 UTC"), ", ")
			}
			d.Open = append(d.Open, line)
		} else {
			line.Status, line.Word = "unknown", a.Ending
			line.When = a.State + " from " + a.Since.Format("2006-01-02 15:04") + " to " + a.Ended.UTC().Format("2006-01-02 15:04 UTC")
			d.Closed = append(d.Closed, line)
		}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	answer(w, "text/html; charset=utf-8", code, b.Bytes())
}

func (h *History) pageCheck(c CheckReport, at time.Time) pageCheck {
	p := pageCheck{Name: c.Name, Word: words[c.Status], Status: c.Status.String()}
	if c.Output != "" {
		p.Notes = append(p.Notes, c.Output)
	}
	for _, span := range spans {
		text := "no data"
		if percent, ok := c.Uptime[span.name]; ok {
			text = percentText(percent)
		}
		p.Uptimes = append(p.Uptimes, struct{ Span, Text string }{span.text, text})
	}
	p.Strip = h.strip(c.Name, at)
	p.Graph = h.graph(c, at)
	return p
}

// strip draws the last 90 days, one bar per day. Height and colour show the state.
func (h *History) strip(check string, at time.Time) template.HTML {
	const n = 90
	var days [n]cell
	today := at.Truncate(24 * time.Hour)
	h.each(check, today.AddDate(0, 0, 1-n), at, func(t time.Time, c *cell) {
		if i := n - 1 - int(today.Sub(t.Truncate(24*time.Hour))/(24*time.Hour)); i >= 0 && i < n {
			days[i].add(c)
		}
	})
	paths := map[string]*strings.Builder{"pass": {}, "warn": {}, "fail": {}, "unknown": {}}
	down := 0
	for i := range days {
		percent, ok := days[i].uptime()
		kind, top := "pass", 8
		switch {
		case !ok:
			kind, top = "unknown", 18
		case percent < 99.9:
			kind, top = "fail", 0
			down++
		case days[i].Warned > 0:
			kind, top = "warn", 4
		}
		fmt.Fprintf(paths[kind], "M%d 20V%dh3V20z", 4*i, top)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="s" viewBox="0 0 %d 20" preserveAspectRatio="none" role="img" aria-label="Last 90 days: %d days with an outage">`, 4*n, down)
	for _, kind := range []string{"unknown", "pass", "warn", "fail"} {
		if paths[kind].Len() > 0 {
			fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, kind, paths[kind])
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// graph draws the 95th percentile of the durations of the last 24 hours.
func (h *History) graph(c CheckReport, at time.Time) template.HTML {
	const n = 96
	step := 24 * time.Hour / n
	var slots [n]cell
	from := at.Add(-24 * time.Hour)
	h.each(c.Name, from, at, func(t time.Time, one *cell) {
		if i := int(t.Sub(from) / step); i >= 0 && i < n {
			slots[i].add(one)
		}
	})
	var values [n]float64
	highest := 0.0
	for i := range slots {
		values[i] = -1
		if ms, ok := slots[i].latency(0.95); ok {
			values[i] = ms
			highest = max(highest, ms)
		}
	}
	if highest == 0 {
		return ""
	}
	var d strings.Builder
	pen := "M"
	for i, v := range values {
		if v < 0 {
			pen = "M"
			continue
		}
		fmt.Fprintf(&d, "%s%d %.1f", pen, 4*i, 38-36*v/highest)
		if pen == "M" {
			d.WriteString("h3")
		}
		pen = "L"
	}
	return template.HTML(fmt.Sprintf(`<svg class="g" viewBox="0 0 %d 40" preserveAspectRatio="none" role="img" aria-label="Duration of 95 %% of the runs in the last 24 hours, up to %.3g ms"><path d="%s"/></svg><p><small>p50 %.3g ms, p95 %.3g ms, highest 15 min %.3g ms</small></p>`,
		4*n, highest, d.String(), c.P50, c.P95, highest))
}
