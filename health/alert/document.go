package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// document is the state that outlives a process. All instances with the same store
// share it.
type document struct {
	Version   int                  `json:"version"`
	Instances map[string]*instance `json:"instances,omitempty"`
	// Alerts are the open alerts, and the ended alerts whose end is not yet delivered
	// to all receivers, by the key of their subject.
	Alerts    map[string]*state    `json:"alerts,omitempty"`
	Closed    []health.Alert       `json:"closed,omitempty"` // oldest first
	Silences  []Silence            `json:"silences,omitempty"`
	Receivers map[string]*delivery `json:"receivers,omitempty"`
}

// state is one alert.
type state struct {
	ID       string `json:"id"`
	Name     string `json:"name"`               // of the check; empty: the instance itself
	Instance string `json:"instance,omitempty"` // empty: a shared check
	Face     face   `json:"face"`
	Critical bool   `json:"critical,omitempty"`
	// Episode counts the rises to critical. Each rise gets its own key.
	Episode int       `json:"episode,omitempty"`
	Opened  time.Time `json:"opened"` // when the state was confirmed
	Since   time.Time `json:"since"`  // the first bad result
	// Audible is the start of the present time without a silence or a window. It is zero
	// while one of them holds messages back. Heard is the sum of the audible times before,
	// since the last rise to critical. Escalations wait for Heard and the present one.
	Audible time.Time     `json:"audible,omitzero"`
	Heard   time.Duration `json:"heard,omitempty"`
	Ended   time.Time     `json:"ended,omitzero"`
	Ending  string        `json:"ending,omitempty"`
	// Noticed is when the end was confirmed.
	Noticed time.Time `json:"noticed,omitzero"`
	// Gone is when the instance was lost or shut down. Stopped says which of the two.
	Gone      time.Time      `json:"gone,omitzero"`
	Stopped   bool           `json:"stopped,omitempty"`
	AckBy     string         `json:"ackBy,omitempty"`
	AckAt     time.Time      `json:"ackAt,omitzero"`
	Output    string         `json:"output,omitempty"`
	Values    []notify.Value `json:"values,omitempty"`
	Runbook   string         `json:"runbook,omitempty"`
	Reporters []string       `json:"reporters,omitempty"`
	Count     int            `json:"count,omitempty"` // of unclean stops
	// Causes are the checks that the problem follows from, according to DependsOn.
	Causes []string `json:"causes,omitempty"`
	// Told has an entry for each receiver.
	Told map[string]*told `json:"told,omitempty"`
}

// told is what a receiver knows about an alert. Face and the fields below it are the last
// state that the receiver certainly has.
//
//   - untold: Keys is empty.
//   - perhaps told: Keys has entries, and Face is clear. The outcome of an attempt is unknown.
//   - told: Face is not clear.
//
// The end of an alert is due for each receiver that is not untold.
type told struct {
	// Keys are the keys of notify.Alert that the receiver has or may have. They are stored
	// before an attempt. Only a refusal before acceptance and the delivered end remove one.
	Keys []string `json:"keys,omitempty"`
	// Tried is the start of the last attempt, or when keys of another instance were added.
	Tried    time.Time `json:"tried,omitzero"`
	Face     face      `json:"face,omitempty"` // clear: no certain message yet, or one about the end
	Critical bool      `json:"critical,omitempty"`
	Episode  int       `json:"episode,omitempty"`
	At       time.Time `json:"at,omitzero"` // of the last message
	Messages int       `json:"messages,omitempty"`
	Thread   string    `json:"thread,omitempty"`
	// Reminders are counted from Base.
	Base     time.Time `json:"base,omitzero"`
	Reminded int       `json:"reminded,omitempty"`
	// Pending is the time of the first undelivered change, or zero. Urgent is the time
	// since which the change has been urgent, or zero.
	Pending time.Time `json:"pending,omitzero"`
	Urgent  time.Time `json:"urgent,omitzero"`
	// Held is the last time at which a message about a cause stood for this alert too.
	Held time.Time `json:"held,omitzero"`
	// Ending says that the receiver may have the message about the end.
	Ending bool `json:"ending,omitempty"`
	// Rest says that a message about other alerts was accepted, and that this one did not
	// fit or was not accepted with it. It follows at once.
	Rest bool `json:"rest,omitempty"`
	// Failures counts the attempts in a row that did not deliver this alert.
	Failures int `json:"failures,omitempty"`
}

// add records an attempt with a key at now. It reports whether the key is new.
func (t *told) add(key string, now time.Time) bool {
	t.Tried = now
	if slices.Contains(t.Keys, key) {
		return false
	}
	t.Keys = append(slices.Clone(t.Keys), key)
	return true
}

// remove records that the receiver does not have a key.
func (t *told) remove(key string) {
	t.Keys = slices.DeleteFunc(slices.Clone(t.Keys), func(k string) bool { return k == key })
}

// episodes counts the keys of one alert. The others are of alerts about the same subject
// that instances opened without the store.
func (t *told) episodes(id string) (n int) {
	for _, k := range t.Keys {
		if strings.HasPrefix(k, id+"-") {
			n++
		}
	}
	return n
}

// delivery is the state of one receiver.
type delivery struct {
	// Sent are the times of the messages of the last hour.
	Sent    []time.Time        `json:"sent,omitempty"`
	Threads map[string]*thread `json:"threads,omitempty"`
	// Attempts counts failures in a row, the last one at FailedAt.
	Attempts int       `json:"attempts,omitempty"`
	FailedAt time.Time `json:"failedAt,omitzero"`
	// Wait is the pause after FailedAt that the receiver asked for.
	Wait time.Duration `json:"wait,omitempty"`
	// Sending is the start of the running delivery, or zero.
	Sending time.Time `json:"sending,omitzero"`
	Sender  string    `json:"sender,omitempty"`
}

// thread is a group of alerts whose first message to a receiver was shared.
type thread struct {
	Topic    string    `json:"topic"`
	Began    time.Time `json:"began"`
	Last     time.Time `json:"last"`
	Critical bool      `json:"critical,omitempty"`
}

// face is the externally visible state of a subject.
type face string

const (
	clear    face = ""
	warn     face = "warn"
	fail     face = "fail"
	flapping face = "flapping"
	lost     face = "lost"
	restarts face = "restarts"
)

// weight orders faces by severity. Flapping covers warn and fail, which say little
// while it lasts.
func (f face) weight() int {
	return slices.Index([]face{clear, warn, fail, flapping, restarts, lost}, f)
}

// The endings, as in health.Alert.
const (
	recovered  = "recovered"
	stopped    = "stopped"
	unreported = "unreported"
	closed     = "closed"
)

const (
	documentVersion = 3
	maxClosed       = 200
	keepClosed      = 90 * 24 * time.Hour
	maxInstances    = 500
	// orphaned is when an end that could be sent is no longer tried: its receiver was
	// removed or is dead.
	orphaned = 7 * 24 * time.Hour
)

func newDocument() *document { return &document{Version: documentVersion} }

func decode(b []byte) (*document, error) {
	d := newDocument()
	if len(b) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("alert: the stored state cannot be read: %w", err)
	}
	if d.Version != documentVersion {
		return nil, fmt.Errorf("alert: the stored state has version %d, and this program knows version %d", d.Version, documentVersion)
	}
	// JSON's null would be a nil pointer.
	maps.DeleteFunc(d.Instances, func(_ string, in *instance) bool { return in == nil })
	for _, in := range d.Instances {
		for _, o := range in.observers() {
			maps.DeleteFunc(o.Checks, func(_ string, o *observation) bool { return o == nil })
		}
	}
	maps.DeleteFunc(d.Alerts, func(_ string, al *state) bool { return al == nil })
	for _, al := range d.Alerts {
		maps.DeleteFunc(al.Told, func(_ string, t *told) bool { return t == nil })
		for _, t := range al.Told {
			t.Reminded, t.Messages, t.Failures = max(t.Reminded, 0), max(t.Messages, 0), max(t.Failures, 0)
		}
	}
	maps.DeleteFunc(d.Receivers, func(_ string, r *delivery) bool { return r == nil })
	for _, r := range d.Receivers {
		r.Attempts = max(r.Attempts, 0)
		maps.DeleteFunc(r.Threads, func(_ string, t *thread) bool { return t == nil })
	}
	return d, nil
}

func (d *document) encode() ([]byte, error) { return json.Marshal(d) }

// clamp moves times in the future to now. A clock that was ahead has written them, and
// they would delay messages until that moment.
func (d *document) clamp(now time.Time) {
	limit := func(times ...*time.Time) {
		for _, t := range times {
			if t.After(now) {
				*t = now
			}
		}
	}
	for _, in := range d.Instances {
		limit(&in.Stopped, &in.Lost)
		for i := range in.Unclean {
			limit(&in.Unclean[i].At)
		}
		for _, o := range in.observers() {
			limit(&o.Seen)
			for _, c := range o.Checks {
				limit(&c.Since, &c.Failed, &c.Good, &c.BlockedAt)
				for i := range c.Changes {
					limit(&c.Changes[i])
				}
			}
		}
	}
	for _, al := range d.Alerts {
		limit(&al.Opened, &al.Since, &al.Audible, &al.Ended, &al.Noticed, &al.Gone, &al.AckAt)
		for _, t := range al.Told {
			limit(&t.At, &t.Tried, &t.Held, &t.Base, &t.Pending, &t.Urgent)
		}
	}
	for _, r := range d.Receivers {
		limit(&r.FailedAt, &r.Sending)
		for i := range r.Sent {
			limit(&r.Sent[i])
		}
		for _, t := range r.Threads {
			limit(&t.Began, &t.Last)
		}
	}
	for i := range d.Silences {
		s := &d.Silences[i]
		if s.Set.After(now) { // keep its length
			s.Until = now.Add(s.Until.Sub(s.Set))
			s.Set = now
		}
	}
	for i := range d.Closed {
		limit(&d.Closed[i].Since, &d.Closed[i].Ended, &d.Closed[i].AckAt, &d.Closed[i].LastNotified)
	}
}

// prune removes entries that are no longer needed at now.
func (d *document) prune(now time.Time) {
	d.Silences = slices.DeleteFunc(d.Silences, func(s Silence) bool { return !now.Before(s.Until) })
	d.Closed = d.Closed[max(0, len(d.Closed)-maxClosed):]
	d.Closed = slices.DeleteFunc(d.Closed, func(a health.Alert) bool { return now.Sub(a.Ended) > keepClosed })
	used := map[string]bool{}
	for _, al := range d.Alerts {
		for name, t := range al.Told {
			used[name+"\x00"+t.Thread] = true
		}
	}
	for name, r := range d.Receivers {
		r.Sent = slices.DeleteFunc(r.Sent, func(t time.Time) bool { return now.Sub(t) >= capWindow })
		maps.DeleteFunc(r.Threads, func(id string, _ *thread) bool { return !used[name+"\x00"+id] })
	}
	for len(d.Instances) > maxInstances {
		d.drop(slices.MinFunc(slices.Collect(maps.Keys(d.Instances)), func(a, b string) int {
			return d.Instances[a].seen().Compare(d.Instances[b].seen())
		}))
	}
}

// receiver returns the state of a receiver, and adds it if it is missing.
func (d *document) receiver(name string) *delivery {
	r := d.Receivers[name]
	if r == nil {
		r = &delivery{}
		if d.Receivers == nil {
			d.Receivers = map[string]*delivery{}
		}
		d.Receivers[name] = r
	}
	if r.Threads == nil {
		r.Threads = map[string]*thread{}
	}
	return r
}

// tell stores the entry of a receiver.
func (al *state) tell(receiver string, t *told) {
	if al.Told == nil {
		al.Told = map[string]*told{}
	}
	al.Told[receiver] = t
}

// reminderAt is the time of the next reminder, or zero.
func (t *told) reminderAt(plan []time.Duration) time.Time {
	switch {
	case len(plan) == 0 || t.Face == clear || t.Base.IsZero():
		return time.Time{}
	case t.Reminded < len(plan):
		return t.Base.Add(plan[t.Reminded])
	}
	last := plan[len(plan)-1]
	return t.Base.Add(last + time.Duration(t.Reminded-len(plan)+1)*last)
}

// room reports whether another message may be sent now. If not, it returns the time at
// which one may be sent.
func (s *delivery) room(maxPerHour int) (time.Time, bool) {
	if len(s.Sent) < maxPerHour {
		return time.Time{}, true
	}
	return s.Sent[len(s.Sent)-maxPerHour].Add(capWindow), false
}
