package alert

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// compose writes the message of a plan: first what is wrong, since when and by
// how much, then what it leads to, last what is well.
func (a *Alerter) compose(p *plan, snap *health.Snapshot, now time.Time, alone bool) (notify.Message, error) {
	v := a.view(p, snap, now, alone)
	m := notify.Message{
		Subject: v.subject(), Text: v.text(), Level: v.level(), Source: a.opts.Service, Key: p.incident.ID,
		Time: now, Link: a.opts.StatusURL,
	}
	var html strings.Builder
	if err := page.Execute(&html, v); err != nil {
		return m, fmt.Errorf("alert: %w", err)
	}
	m.HTML = html.String()
	return m, nil
}

// view is what the texts are made of, in words.
type view struct {
	Kind              kind
	Service, Headline string
	Bad               []line
	Over, Blocked     []string
	Silent, Well      []string
	Gone              []string
	Notes             []string
	Link              string
	tag, names, tail  string
	critical          bool
}

// line is one bad check.
type line struct {
	Name, State, Since, Output, Runbook string
	Values                              []string
}

func (a *Alerter) view(p *plan, snap *health.Snapshot, now time.Time, alone bool) view {
	v := view{Kind: p.kind, Service: a.opts.Service, Link: a.opts.StatusURL, Gone: p.gone}
	clock := func(t time.Time) string {
		t = t.In(a.opts.Location)
		if now.Sub(t) > 20*time.Hour {
			return t.Format("2 Jan 15:04 MST")
		}
		return t.Format("15:04 MST")
	}
	onlyFlapping := true
	var names []string
	for _, s := range p.bad {
		v.critical = v.critical || s.critical && s.face != warn
		onlyFlapping = onlyFlapping && s.face == flapping
		names = append(names, s.name)
		v.Bad = append(v.Bad, describe(s, clock, now))
	}
	names = slices.Compact(names) // one check on two hosts
	for _, t := range p.over {
		text := t.Name
		if !t.Since.IsZero() {
			text += fmt.Sprintf(" (was %s since %s)", t.word(), clock(t.Since))
		}
		v.Over = append(v.Over, text)
	}
	for _, s := range p.blocked {
		v.Blocked = append(v.Blocked, fmt.Sprintf("%s (needs %s)", s.name, strings.Join(s.blocked, ", ")))
	}
	for _, s := range p.silent {
		v.Silent = append(v.Silent, s.name)
	}
	for _, c := range snap.Checks {
		if c.Confirmed == health.Pass && !c.Flapping {
			v.Well = append(v.Well, c.Name)
		}
	}
	age := roughly(now.Sub(p.incident.Opened))
	switch {
	case p.kind == recovery:
		names = nil
		wasFlapping := true
		for _, t := range p.over {
			names = append(names, t.Name)
			wasFlapping = wasFlapping && (t.Face == flapping || t.Face == clear)
		}
		names = slices.Compact(names)
		v.tag, v.tail = "RECOVERED", " after "+age
		if wasFlapping && slices.ContainsFunc(p.over, func(t told) bool { return t.Face == flapping }) {
			v.tag, v.tail = "STABLE", " again, and up"
		}
		v.Headline = fmt.Sprintf("%s is well again. The incident lasted %s.", v.Service, age)
	case onlyFlapping:
		v.tag = "FLAPPING"
		v.Headline = "A check keeps changing between good and bad. Nothing more is sent about it until it has been calm for half an hour."
	case v.critical:
		v.tag = "UNHEALTHY"
	default:
		v.tag = "DEGRADED"
	}
	if v.Headline == "" {
		v.Headline = fmt.Sprintf("%s is %s since %s (%s).", v.Service, strings.ToLower(v.tag), clock(p.incident.Opened), age)
	}
	if p.kind == reminder {
		v.tail = ", for " + age
		v.Headline = "Reminder: " + v.Headline
	}
	v.names = "nothing"
	if len(names) > 0 {
		v.names = names[0]
		if len(names) > 1 {
			v.names += fmt.Sprintf(" (+%d)", len(names)-1)
		}
	}
	if !p.nextAt.IsZero() && p.kind != recovery && !onlyFlapping {
		v.Notes = append(v.Notes, "Next reminder at "+clock(p.nextAt)+" if nothing changes.")
	}
	if !p.muted.IsZero() {
		v.Notes = append(v.Notes, fmt.Sprintf("This is message %d within an hour: muted until %s. See the status page.", a.opts.MaxPerHour, clock(p.muted)))
	}
	if alone {
		v.Notes = append(v.Notes, "The replicas cannot see each other's messages at the moment; this one may be duplicated.")
	}
	return v
}

func describe(s subject, clock func(time.Time) string, now time.Time) line {
	l := line{Name: s.name, Output: s.output, Values: s.values, Runbook: s.runbook}
	l.State = map[face]string{warn: "WARN", fail: "FAIL", flapping: "FLAPPING"}[s.face]
	if s.critical {
		l.State += ", critical"
	}
	if len(s.hosts) > 0 {
		l.State += ", seen by " + strings.Join(s.hosts, ", ")
	}
	if s.quiet {
		l.State += ", silenced"
	}
	if !s.since.IsZero() {
		l.Since = fmt.Sprintf("since %s (%s)", clock(s.since), roughly(now.Sub(s.since)))
	}
	return l
}

func (t told) word() string {
	if t.Face == clear {
		return "bad"
	}
	return strings.ToUpper(string(t.Face))
}

func (v *view) subject() string {
	return fmt.Sprintf("[%s] %s: %s%s", v.tag, v.Service, v.names, v.tail)
}

func (v *view) level() notify.Level {
	switch {
	case v.Kind == recovery:
		return notify.Recovery
	case v.critical:
		return notify.Critical
	}
	return notify.Warning
}

func (v *view) text() string {
	var b strings.Builder
	for _, l := range v.Bad {
		fmt.Fprintf(&b, "%s: %s %s\n", l.Name, l.State, l.Since)
		for _, detail := range append([]string{l.Output}, l.Values...) {
			if detail != "" {
				fmt.Fprintf(&b, "    %s\n", detail)
			}
		}
		if l.Runbook != "" {
			fmt.Fprintf(&b, "    runbook: %s\n", l.Runbook)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", v.Headline)
	for _, part := range v.Lists() {
		fmt.Fprintf(&b, "%s: %s\n", part.Title, strings.Join(part.Items, ", "))
	}
	for _, n := range v.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return strings.Trim(b.String(), "\n")
}

type list struct {
	Title string
	Items []string
}

// Lists are the short enumerations below the bad checks.
func (v view) Lists() []list {
	all := []list{
		{"Back to normal", v.Over},
		{"No longer reported", v.Gone},
		{"Consequences", v.Blocked},
		{"Silenced", v.Silent},
		{"Passing", v.Well},
	}
	return slices.DeleteFunc(all, func(l list) bool { return len(l.Items) == 0 })
}

// page is mail: inline styles, no images, readable without either.
var page = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{{.Service}}</title></head>
<body style="font-family:system-ui,sans-serif;font-size:16px;line-height:1.4">
{{range .Bad}}<p style="margin:0 0 1em;padding-left:.75em;border-left:4px solid #b42318"><strong>{{.Name}}</strong>: {{.State}} {{.Since}}
{{- with .Output}}<br>{{.}}{{end}}{{range .Values}}<br>{{.}}{{end}}{{with .Runbook}}<br><a href="{{.}}">Runbook</a>{{end}}</p>
{{end}}<p>{{.Headline}}</p>
{{range .Lists}}<p>{{.Title}}: {{range $i, $item := .Items}}{{if $i}}, {{end}}{{$item}}{{end}}</p>
{{end}}{{range .Notes}}<p>{{.}}</p>
{{end}}{{with .Link}}<p><a href="{{.}}">Status page</a></p>
{{end}}</body></html>
`))

// roughly words a duration as a person would.
func roughly(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d < 36*time.Hour:
		return fmt.Sprintf("%d h", int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Round(24*time.Hour).Hours()/24))
}
