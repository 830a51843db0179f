package alert

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Content is a message in the words of its language. The templates of [Templates] get
// it.
type Content struct {
	// Language is "en" or "es".
	Language string
	// Service is Options.Service.
	Service string
	// Tag is the state in one word: "UNHEALTHY", "DEGRADED", "RECOVERED", "LOST",
	// "FLAPPING", "RESTARTED" or "CLOSED".
	Tag string
	// Level is that of the worst change: Recovery if all news are recoveries.
	Level notify.Level
	// Subject says what changed.
	Subject string
	// News are the alerts that the message is about, worst first. Open are the other
	// open alerts of its thread.
	News, Open []Item
	// Consequences are bad checks that depend on another bad one. Passing are the names
	// of the checks that are well.
	Consequences, Passing []string
	// Notes are sentences for the end of the message, such as the time of the next
	// reminder. Often empty.
	Notes []string
	// Link is Options.StatusURL.
	Link string
	// The labels of the lists and links.
	OpenLabel, ConsequencesLabel, PassingLabel, RunbookLabel, LinkLabel string
}

// Item is one alert in a [Content].
type Item struct {
	// Name is the check and, if it is not the only one, the instance.
	Name string
	// Mark is "NEW", "WORSE", "BETTER" or "CHANGED", or empty.
	Mark string
	// State is the state in words: "FAIL, critical, seen by pod-1".
	State string
	// Times are the start and the duration so far, or the start and the end.
	Times string
	// Output is the last text of the check, without secrets. It may be empty.
	Output string
	// Explanation is a sentence about the state. It is often empty.
	Explanation string
	// Values are the measurements beyond a threshold: "connections 90 (warn at 80)".
	Values []string
	// Runbook is the URL of Check.Runbook, or empty.
	Runbook string
	// Links acknowledge, silence or close the alert. They are empty without
	// Options.LinkSecret and after the end of the alert.
	Links []notify.Link
	// Color is a CSS color for the level.
	Color string
	// Alert is the same information as data.
	Alert notify.Alert
}

// compose writes the message of a plan. A template that fails costs its text, and not the
// alert.
func (a *Alerter) compose(ctx context.Context, p *plan, snap *health.Snapshot, now time.Time) notify.Message {
	c := a.content(p, snap, now)
	m := notify.Message{
		ID: p.id, Subject: c.Subject, Topic: p.topic, Level: c.Level, Source: a.opts.Service, Key: p.thread, Time: now, Link: a.opts.StatusURL,
	}
	for _, it := range append(slices.Clone(c.News), c.Open...) {
		m.Alerts = append(m.Alerts, it.Alert)
	}
	subject := c.Subject
	if err := p.receiver.texts.write(&m, c); err != nil {
		a.log.ErrorContext(ctx, "alert: Templates fail on this message, which is sent in the words of the language instead",
			"receiver", p.receiver.Name, "subject", subject, "error", a.reg.Scrub(err.Error()))
		m.Subject, c.Subject = subject, subject
		_ = standardTexts.write(&m, c) // it fails for no Content
	}
	return m.Scrubbed(a.reg.ScrubLines)
}

// topic is the subject of a new thread. It does not change later.
func (a *Alerter) topic(p *plan, d *document) string {
	w := p.receiver.words
	name := a.name(w, p.items[0].al, len(d.Instances) > 1)
	if n := len(p.items) - 1; n > 0 {
		name += " " + fmt.Sprintf(w.more, n)
	}
	return a.opts.Service + ": " + name
}

// name is the name of the subject of an alert for readers.
func (a *Alerter) name(w *words, al *state, several bool) string {
	switch {
	case al.Name == "":
		return al.Instance
	case al.Instance == "" || !several && al.Instance == a.opts.Instance:
		return al.Name
	}
	return fmt.Sprintf(w.on, al.Name, al.Instance)
}

func (a *Alerter) content(p *plan, snap *health.Snapshot, now time.Time) *Content {
	w := p.receiver.words
	a.mu.Lock()
	several := len(a.local.Instances) > 1
	a.mu.Unlock()
	c := &Content{
		Language: w.code, Service: a.opts.Service, Link: a.opts.StatusURL,
		OpenLabel: w.alsoOpen, ConsequencesLabel: w.consequences, PassingLabel: w.passing, RunbookLabel: w.runbook, LinkLabel: w.status,
	}
	for _, n := range p.items {
		c.News = append(c.News, a.item(n, p, several, now))
	}
	for _, n := range p.others {
		n.event = notify.Ongoing
		c.Open = append(c.Open, a.item(n, p, several, now))
	}
	c.Level = level(p.items)
	c.Tag = w.tag(p.items)
	c.Subject = a.subject(p, c, several, now)
	reported := map[string]bool{}
	for _, n := range append(slices.Clone(p.items), p.others...) {
		reported[n.al.Name] = true
	}
	for _, s := range snap.Checks {
		switch {
		case max(s.Status, s.Confirmed) >= health.Warn && len(s.Blocked) > 0:
			if reported[s.Name] {
				continue
			}
			c.Consequences = append(c.Consequences, fmt.Sprintf(w.needs, s.Name, strings.Join(s.Blocked, ", ")))
		case s.Confirmed == health.Pass && !s.Flapping:
			c.Passing = append(c.Passing, s.Name)
		}
	}
	if at := a.nextReminder(p, now); !at.IsZero() {
		c.Notes = append(c.Notes, fmt.Sprintf(w.nextReminder, w.clock(at, now, a.opts.Location)))
	}
	if !p.muted.IsZero() {
		c.Notes = append(c.Notes, fmt.Sprintf(w.muted, a.opts.MaxPerHour, w.clock(p.muted, now, a.opts.Location)))
	}
	if p.alone {
		c.Notes = append(c.Notes, w.alone)
	}
	return c
}

// level is the level of the worst change. The end of an alert is a recovery only if an
// observer saw the check pass.
func level(items []news) notify.Level {
	l := notify.Recovery
	for _, n := range items {
		switch {
		case n.event == notify.Ended && n.al.Ending == recovered:
		case n.event == notify.Ended:
			if l == notify.Recovery {
				l = notify.Info
			}
		case n.al.Critical:
			return notify.Critical
		default:
			l = notify.Warning
		}
	}
	return l
}

// tag is the state in one word.
func (w *words) tag(items []news) string {
	switch n := items[0]; {
	case n.event == notify.Ended && n.al.Ending == recovered:
		return w.recovered
	case n.event == notify.Ended:
		return w.ended
	case n.al.Face == lost:
		return w.lost
	case n.al.Face == flapping:
		return w.flapping
	case n.al.Face == restarts:
		return w.restarts
	case n.al.Critical:
		return w.unhealthy
	}
	return w.degraded
}

// subject names the changes. A duration belongs to the check before it.
func (a *Alerter) subject(p *plan, c *Content, several bool, now time.Time) string {
	w := p.receiver.words
	first := p.items[0]
	// Alerts with the same change as the first item share its words.
	alike := func(n news) bool {
		return (n.event == notify.Ended) == (first.event == notify.Ended) && (n.event == notify.Opened) == (first.event == notify.Opened)
	}
	name := a.name(w, first.al, several)
	others := 0
	var ended []string
	for _, n := range p.items[1:] {
		switch {
		case alike(n):
			others++
		case n.event == notify.Ended && n.al.Ending == recovered:
			ended = append(ended, a.name(w, n.al, several))
		}
	}
	switch first.event {
	case notify.Ended:
		if first.al.Ending == recovered {
			name += " " + fmt.Sprintf(w.after, w.roughly(first.al.Ended.Sub(first.al.Since)))
		} else {
			name += ", " + w.ending(first.al)
		}
	case notify.Reminder:
		name += ", " + fmt.Sprintf(w.lasting, w.roughly(now.Sub(first.al.Since)))
	case notify.Better:
		if first.told.Critical && !first.al.Critical {
			name += ", " + w.wasCritical
		}
	case notify.Opened:
		if len(p.others) > 0 {
			name = w.isNew + " " + name
		}
	case notify.Worse:
		name = w.worse + " " + name
	}
	if others > 0 {
		name += " " + fmt.Sprintf(w.more, others)
	}
	if len(ended) > 0 {
		name += "; " + w.recovered + ": " + strings.Join(ended[:min(3, len(ended))], ", ")
	}
	if first.event == notify.Ended || first.event == notify.Opened && len(p.others) > 0 {
		var open []string
		for _, n := range p.others {
			if n.al.Ended.IsZero() {
				open = append(open, a.name(w, n.al, several))
			}
		}
		if k := len(open); k > 0 {
			text := strings.Join(open[:min(2, k)], ", ")
			if k > 2 {
				text += " " + fmt.Sprintf(w.more, k-2)
			}
			name += "; " + fmt.Sprintf(w.stillBad, text)
		}
	}
	return fmt.Sprintf("[%s] %s: %s", c.Tag, a.opts.Service, name)
}

func (w *words) ending(al *state) string {
	text := w.endings[al.Ending]
	if al.Ending == closed {
		return fmt.Sprintf(text, al.AckBy)
	}
	return text
}

var colors = map[notify.Level]string{
	notify.Critical: "#b42318", notify.Warning: "#b54708", notify.Recovery: "#067647", notify.Info: "#175cd3",
}

// item words one alert.
func (a *Alerter) item(n news, p *plan, several bool, now time.Time) Item {
	w, al := p.receiver.words, n.al
	clock := func(t time.Time) string { return w.clock(t, now, a.opts.Location) }
	it := Item{Name: a.name(w, al, several), Output: a.reg.Scrub(al.Output), Runbook: al.Runbook}
	for _, v := range al.Values {
		it.Values = append(it.Values, w.value(v))
	}
	it.Mark = map[notify.Event]string{
		notify.Opened: w.isNew, notify.Worse: w.worse, notify.Better: w.better, notify.Changed: w.changed,
	}[n.event]
	status := string(al.Face)
	lvl := level([]news{n})
	it.Times = fmt.Sprintf(w.since, clock(al.Since), w.roughly(now.Sub(al.Since)))
	it.State = w.faces[al.Face]
	if al.Critical {
		it.State += ", " + w.critical
	}
	switch {
	case n.event == notify.Ended && al.Ending == recovered:
		it.State, status = w.recovered, recovered
		it.Times = fmt.Sprintf(w.headRecovered, it.Name, w.roughly(al.Ended.Sub(al.Since)), clock(al.Since), clock(al.Ended))
		it.Output, it.Values = "", nil
		switch {
		case al.Name == "" && al.Face == lost:
			it.Times = fmt.Sprintf(w.backAgain, it.Name, w.roughly(al.Ended.Sub(al.Since)))
		case al.Face == restarts:
			it.Times = w.restartAgain
		}
	case n.event == notify.Ended:
		it.State, status = w.ended, al.Ending
		it.Times = fmt.Sprintf(w.headEnded, it.Name, w.ending(al))
	case al.Face == lost && al.Stopped:
		it.Explanation = fmt.Sprintf(w.stoppedText, clock(al.Gone))
	case al.Face == lost:
		gone := al.Gone
		if gone.IsZero() {
			gone = al.Since
		}
		it.Explanation = fmt.Sprintf(w.lostText, clock(gone))
	case al.Face == restarts:
		it.Explanation = fmt.Sprintf(w.restartText, al.Count)
	}
	if len(al.Causes) > 0 && n.event != notify.Ended && it.Explanation == "" {
		it.Explanation = fmt.Sprintf(w.becauseOf, strings.Join(al.Causes, ", "))
	}
	if len(al.Reporters) > 0 && n.event != notify.Ended && al.Instance == "" && al.Face != lost {
		it.State += ", " + fmt.Sprintf(w.seenBy, strings.Join(al.Reporters, ", "))
	}
	if al.AckBy != "" && n.event != notify.Ended {
		it.State += ", " + fmt.Sprintf(w.ackedBy, al.AckBy)
	}
	it.Color = colors[lvl]
	if n.event != notify.Ended {
		for _, act := range a.actions(al, p.receiver.Name, now) {
			label := map[string]string{actAcknowledge: w.acknowledge, "close": w.closeIt, actSilence: w.silence}[act.Name]
			it.Links = append(it.Links, notify.Link{Name: label, URL: act.URL})
		}
	}
	title := it.Name + ": " + it.State
	if it.Output != "" {
		title += ": " + it.Output
	}
	it.Alert = notify.Alert{
		Key: episodeKey(al.ID, al.Episode), Event: n.event, Level: lvl, Title: a.opts.Service + ": " + title, Check: al.Name, Instance: al.Instance,
		Reporters: al.Reporters, Status: status, Output: al.Output, Values: al.Values, Since: al.Since, Runbook: al.Runbook, Links: it.Links,
	}
	var keys []string // that the receiver has or may have
	if n.told != nil {
		keys = n.told.Keys
	}
	if n.event == notify.Ended {
		it.Alert.Ended = al.Ended
		it.Alert.Key = keys[len(keys)-1]
	}
	for _, k := range keys {
		if k != it.Alert.Key {
			it.Alert.Supersedes = append(it.Alert.Supersedes, k)
		}
	}
	return it
}

// episodeKey identifies an alert from one rise to critical to the next.
func episodeKey(id string, episode int) string { return fmt.Sprintf("%s-%d", id, episode) }

// nextReminder is the time of the next reminder of the thread.
func (a *Alerter) nextReminder(p *plan, now time.Time) (at time.Time) {
	plan := p.receiver.Reminders
	if len(plan) == 0 {
		return at
	}
	for _, n := range p.items {
		if n.event == notify.Ended || !n.al.AckAt.IsZero() {
			continue
		}
		next := now.Add(plan[0])
		if n.event != notify.Opened && n.event != notify.Worse && !n.told.Base.IsZero() {
			next = n.told.reminderAt(plan)
			if n.event == notify.Reminder {
				t := *n.told
				t.Reminded++
				next = t.reminderAt(plan)
			}
		}
		if next.After(now) && (at.IsZero() || next.Before(at)) {
			at = next
		}
	}
	return at
}
