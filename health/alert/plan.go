package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// plan is a message to be sent now.
type plan struct {
	receiver *receiver
	thread   string
	topic    string // empty: a new thread, to be named
	items    []news // with news, worst first
	others   []news // without news, in the same thread
	muted    time.Time
	alone    bool
	early    bool // about new alerts, during the pause after a failure
	id       string
	content  []planned // the states that the message carries
}

// planned is the state of an alert in a delivery.
type planned struct {
	key, id  string
	face     face
	critical bool
	episode  int
	messages int // before this one
	event    notify.Event
	sent     string // the key in notify.Alert
	added    bool   // no earlier attempt had this key
}

// signature stays the same while a message has the same news. A repeated delivery then
// goes only to recipients that do not have it.
func (p *plan) signature() string {
	var b strings.Builder
	fmt.Fprint(&b, p.receiver.Name, " ", p.thread)
	for _, c := range p.content {
		fmt.Fprint(&b, " ", c.id, c.face, c.event, c.episode, ".", c.messages)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// begin records that this process sends a message.
func (d *document) begin(now time.Time, r *rules, p *plan) {
	s := d.receiver(p.receiver.Name)
	s.Sending, s.Sender = now, r.boot
	if s.Threads[p.thread] == nil {
		t := &thread{Topic: p.topic, Began: now, Last: now}
		for _, c := range p.content {
			t.Critical = t.Critical || c.critical
		}
		s.Threads[p.thread] = t
	}
	for i, n := range p.items { // also before the delivery, so that the thread is kept
		c := &p.content[i]
		n.told.Thread = p.thread
		if n.event == notify.Ended {
			c.sent = n.told.Keys[len(n.told.Keys)-1]
			c.added = !n.told.Ending
			n.told.Tried, n.told.Ending = now, true
			continue
		}
		c.sent = episodeKey(c.id, c.episode)
		c.added = n.told.add(c.sent, now)
	}
}

// finish records the outcome of a message.
func (d *document) finish(r *rules, o outcome) {
	s := d.receiver(o.plan.receiver.Name)
	s.Sending = time.Time{}
	progress := false
	for i, c := range o.plan.content {
		if o.err == nil || slices.Contains(o.accepted, c.sent) {
			progress = true
			d.accepted(o.at, r, o.plan, &o.plan.content[i])
		}
	}
	if progress {
		s.Attempts, s.FailedAt, s.Wait = 0, time.Time{}, 0
		s.Sent = append(s.Sent, o.at)
		if t := s.Threads[o.plan.thread]; t != nil {
			t.Last = o.at
		}
	}
	if o.err == nil {
		return
	}
	if !progress && !o.plan.early {
		s.Attempts++
	}
	if progress || !o.plan.early || o.wait > 0 {
		s.FailedAt, s.Wait = o.at, o.wait
	}
	for _, c := range o.plan.content {
		al := d.Alerts[c.key]
		if al == nil || al.ID != c.id || slices.Contains(o.accepted, c.sent) {
			continue
		}
		t := al.Told[o.plan.receiver.Name]
		if t == nil {
			continue
		}
		t.Rest = progress
		t.Failures++
		switch certain := c.added && slices.Contains(o.refused, c.sent); {
		case certain && c.event == notify.Ended:
			t.Ending = false
		case certain:
			t.remove(c.sent)
		}
	}
}

// accepted records that the receiver of a plan has one of its alerts.
func (d *document) accepted(now time.Time, r *rules, p *plan, c *planned) {
	al := d.Alerts[c.key]
	if al == nil || al.ID != c.id {
		return
	}
	t := al.Told[p.receiver.Name]
	if t == nil {
		t = &told{Thread: p.thread}
		al.tell(p.receiver.Name, t)
	}
	t.Keys, t.Ending, t.Rest, t.Failures = nil, false, false, 0 // the message superseded or ended the other keys
	if c.face != clear {
		t.Keys = []string{c.sent}
	}
	t.Face, t.Critical, t.Episode, t.At = c.face, c.critical, c.episode, now
	t.Messages++
	t.Pending, t.Urgent = time.Time{}, time.Time{}
	if c.event == notify.Opened || c.event == notify.Worse || t.Base.IsZero() {
		t.Base, t.Reminded = now, 0
	}
	for tries := 0; ; tries++ {
		at := t.reminderAt(p.receiver.Reminders)
		if at.IsZero() || at.Add(-r.slack).After(now.Add(remindTogether(c.event, r))) {
			break
		}
		t.Reminded++ // also the reminders that were skipped during a standstill
		if tries == 1000 {
			t.Base, t.Reminded = now, 0 // reminders of many years: a clock was wrong
			break
		}
	}
}

// remindTogether is how far a reminder looks ahead.
func remindTogether(e notify.Event, r *rules) time.Duration {
	if e == notify.Reminder {
		return 3 * r.groupInterval
	}
	return 0
}

const (
	// maxAskedWait is the longest pause that a receiver can ask for.
	maxAskedWait = 15 * time.Minute
	// urgentWait is the longest one before news of a rise to critical. After a longer one
	// the fallback begins at once.
	urgentWait = time.Minute
)
