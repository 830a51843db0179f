package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
	for _, n := range p.items { // also before the delivery, so that the thread is kept
		n.told.Thread = p.thread
	}
}

// delivered records that the receiver accepted a message at now.
func (d *document) delivered(now time.Time, r *rules, p *plan) {
	s := d.receiver(p.receiver.Name)
	s.Sending, s.Attempts, s.FailedAt, s.Wait = time.Time{}, 0, time.Time{}, 0
	s.Sent = append(s.Sent, now)
	if t := s.Threads[p.thread]; t != nil {
		t.Last = now
	}
	for _, c := range p.content {
		al := d.Alerts[c.key]
		if al == nil || al.ID != c.id {
			continue
		}
		t := al.Told[p.receiver.Name]
		if t == nil {
			t = &told{Thread: p.thread}
			al.tell(p.receiver.Name, t)
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
}

// remindTogether is how far a reminder looks ahead.
func remindTogether(e notify.Event, r *rules) time.Duration {
	if e == notify.Reminder {
		return 3 * r.groupInterval
	}
	return 0
}

// failed records a failed delivery, and the pause that the receiver asked for.
func (d *document) failed(now time.Time, p *plan, err error) {
	s := d.receiver(p.receiver.Name)
	s.Sending = time.Time{}
	s.Attempts++
	s.FailedAt, s.Wait = now, 0
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		s.Wait = max(0, min(asked.RetryAfter(), maxAskedWait))
	}
}

// maxAskedWait is the longest pause that a receiver can ask for.
const maxAskedWait = 15 * time.Minute
