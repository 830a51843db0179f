package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// rules are the parts of Options that affect decisions.
type rules struct {
	instance, boot string
	once           bool // a command that ends after one run
	alone          bool // the store is unreachable
	known          []string
	history        map[string]history
	minStatus      health.Status
	groupWait      time.Duration
	groupInterval  time.Duration
	// slack lets a reminder be sent early, for a command that runs about once an hour.
	slack       time.Duration
	retries     []time.Duration
	sendTimeout time.Duration
	maxPerHour  int
	windows     []Window
	lost        bool
	tellUnclean bool
	unsettled   bool // a check is bad and not yet confirmed bad
	receivers   []*receiver
}

// news is a change of an alert that a receiver does not have yet.
type news struct {
	key    string
	al     *state
	told   *told
	event  notify.Event
	urgent bool
	due    time.Time
}

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

// decide is the pure core. It returns the message that is due for a receiver, or the
// latest time for the next decision. It changes only the bookkeeping of d.
func (d *document) decide(now time.Time, r *rules, to *receiver) (*plan, time.Time) {
	state := d.receiver(to.Name)
	if !state.Sending.IsZero() {
		expires := state.Sending.Add(2*r.sendTimeout + 30*time.Second)
		if now.Before(expires) {
			return nil, expires
		}
		state.Sending = time.Time{} // the process that was sending has died
	}
	var wake time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	var due []news
	var open []news
	for _, k := range slices.Sorted(maps.Keys(d.Alerts)) {
		n, more := d.newsOf(k, now, r, to)
		sooner(more)
		if n.event == "" {
			continue
		}
		open = append(open, n)
		if n.event == notify.Ongoing {
			sooner(n.due)
			continue
		}
		due = append(due, n)
	}
	if len(due) == 0 {
		return nil, wake
	}
	if !to.onDuty(now) {
		return nil, wake // the tick of the loop finds the time
	}
	retryAt := time.Time{}
	if state.Attempts > 0 {
		retryAt = state.FailedAt.Add(to.pause(r, state.Attempts, slices.ContainsFunc(due, func(n news) bool { return n.urgent })))
	}
	var lead *news // the reason why a message is due now
	for i := range due {
		n := &due[i]
		at := n.due
		if retryAt.After(at) && !(n.urgent && n.told.Urgent.After(state.FailedAt)) {
			at = retryAt
		}
		if free, ok := state.room(r.maxPerHour); !ok && !n.urgent {
			if free.After(at) {
				at = free
			}
		}
		if now.Before(at) {
			sooner(at)
			continue
		}
		if lead == nil || n.priority() > lead.priority() {
			lead = n
		}
	}
	if lead == nil {
		return nil, wake
	}
	return d.plan(now, r, to, lead, due, open), time.Time{}
}

// newsOf compares an alert with the state that a receiver has. Without news, it returns
// the time of the next comparison.
func (d *document) newsOf(k string, now time.Time, r *rules, to *receiver) (news, time.Time) {
	al := d.Alerts[k]
	t := al.Told[to.Name]
	known := t != nil && t.Face != clear
	n := news{key: k, al: al, told: t}
	quiet := d.quiet(r, al, now)
	switch {
	case !al.Ended.IsZero():
		if !known {
			return news{}, time.Time{}
		}
		if to.NoRecovery {
			t.Face = clear
			return news{}, time.Time{}
		}
		n.event = notify.Ended
	case !known:
		matches, at := to.matches(d, al, r, now)
		if !matches {
			if t != nil {
				t.Pending, t.Urgent = time.Time{}, time.Time{}
			}
			return news{}, at
		}
		n.event, n.urgent = notify.Opened, al.Critical
	case al.Critical && (!t.Critical || al.Episode != t.Episode):
		n.event, n.urgent = notify.Worse, true
	case al.Face != t.Face && al.Face.weight() > t.Face.weight():
		n.event, n.urgent = notify.Worse, al.Critical && al.Face == lost && !al.Stopped
		if al.Face == flapping || al.Face == lost {
			n.event = notify.Changed
		}
	case al.Face != t.Face && al.Face.weight() < t.Face.weight() && t.Face != fail && t.Face != warn:
		n.event = notify.Changed // an instance is back, but its check is still bad
	case al.Face != t.Face || t.Critical && !al.Critical:
		n.event = notify.Better
	default:
		n.event, n.due = notify.Ongoing, t.reminderAt(to.Reminders)
		if al.AckAt.IsZero() && !n.due.IsZero() {
			if n.due = n.due.Add(-r.slack); !now.Before(n.due) {
				n.event = notify.Reminder
			}
		} else {
			n.due = time.Time{}
		}
	}
	if n.event == notify.Ongoing || n.event == notify.Reminder {
		t.Pending, t.Urgent = time.Time{}, time.Time{}
		if n.event == notify.Reminder && quiet {
			n.event, n.due = notify.Ongoing, time.Time{}
		}
		return n, time.Time{}
	}
	if quiet {
		if !known {
			return news{}, time.Time{}
		}
		t.Pending, t.Urgent = time.Time{}, time.Time{}
		n.event = notify.Ongoing
		return n, time.Time{}
	}
	if t == nil {
		t = &told{}
		al.tell(to.Name, t)
		n.told = t
	}
	if t.Pending.IsZero() {
		t.Pending = now
	}
	if n.urgent && t.Urgent.IsZero() {
		t.Urgent = now
	} else if !n.urgent {
		t.Urgent = time.Time{}
	}
	n.due = d.due(n, r, to)
	return n, time.Time{}
}

// due returns when news may be sent. A change for the worse waits for groupWait, so
// that alerts with one cause share a message. Other news waits four times as long, and
// for groupInterval after the last message of the thread. A rise to critical is not
// delayed further.
func (d *document) due(n news, r *rules, to *receiver) time.Time {
	if n.urgent {
		return n.told.Urgent.Add(r.groupWait)
	}
	wait := r.groupWait
	if r.unsettled || n.event == notify.Better || n.event == notify.Ended {
		wait *= 4
	}
	at := n.told.Pending.Add(wait)
	state := d.receiver(to.Name)
	var last time.Time
	if t := state.Threads[n.told.Thread]; t != nil {
		last = t.Last
	} else {
		for _, t := range state.Threads {
			if t.Last.After(last) {
				last = t.Last
			}
		}
	}
	if next := last.Add(r.groupInterval); !last.IsZero() && next.After(at) {
		return next
	}
	return at
}

// plan collects the content of one message: all news of one thread.
func (d *document) plan(now time.Time, r *rules, to *receiver, lead *news, due, open []news) *plan {
	state := d.receiver(to.Name)
	p := &plan{receiver: to, thread: lead.told.Thread, alone: r.alone}
	if lead.told.Face == clear { // no message yet
		p.thread = d.join(now, r, state, lead)
	}
	if t := state.Threads[p.thread]; t != nil && p.thread != "" {
		p.topic = t.Topic
	} else if p.thread == "" {
		p.thread = newID(now)
	}
	belongs := func(n news) bool {
		if n.told.Face == clear {
			return lead.told.Face == clear // new alerts start or join a thread together
		}
		return n.told.Thread == p.thread
	}
	isNews := map[string]bool{}
	for _, n := range due {
		if belongs(n) {
			p.items = append(p.items, n)
			isNews[n.key] = true
		}
	}
	for _, n := range open {
		if isNews[n.key] || !belongs(n) || n.told.Face == clear {
			continue
		}
		// A reminder includes the reminders that would follow soon.
		if n.event == notify.Ongoing && lead.event == notify.Reminder && !n.due.IsZero() && n.due.Sub(now) <= 3*r.groupInterval {
			n.event = notify.Reminder
			p.items = append(p.items, n)
			continue
		}
		p.others = append(p.others, n)
	}
	worst := func(a, b news) int {
		return cmp.Or(b.rank()-a.rank(), cmp.Compare(a.al.Name, b.al.Name), cmp.Compare(a.key, b.key))
	}
	slices.SortFunc(p.items, worst)
	slices.SortFunc(p.others, worst)
	if len(state.Sent)+1 == r.maxPerHour {
		p.muted = now.Add(capWindow)
		if len(state.Sent) > 0 {
			p.muted = state.Sent[0].Add(capWindow)
		}
	}
	for _, n := range p.items {
		f := n.al.Face
		if n.event == notify.Ended {
			f = clear
		}
		p.content = append(p.content, planned{
			key: n.key, id: n.al.ID, face: f, critical: n.al.Critical, episode: n.al.Episode, messages: n.told.Messages, event: n.event,
		})
	}
	p.id = p.signature()
	return p
}

// join returns the thread for a new alert: one that has just begun and is at least as
// severe. A critical alert is then never hidden in the thread of a warning. It returns
// "" for a new thread.
func (d *document) join(now time.Time, r *rules, to *delivery, n *news) string {
	best := ""
	for id, t := range to.Threads {
		if now.Sub(t.Began) > r.groupInterval || n.al.Critical && !t.Critical {
			continue
		}
		if best == "" || t.Began.After(to.Threads[best].Began) {
			best = id
		}
	}
	return best
}

// priority orders messages that are due at the same time.
func (n *news) priority() int {
	switch {
	case n.urgent:
		return 3
	case n.event == notify.Opened || n.event == notify.Worse:
		return 2
	case n.event == notify.Reminder:
		return 0
	}
	return 1
}

// rank orders the items of a message.
func (n news) rank() int {
	rank := n.al.Face.weight()
	if n.al.Critical {
		rank += 10
	}
	switch n.event {
	case notify.Ended:
		return rank - 40
	case notify.Better, notify.Ongoing:
		return rank - 20
	}
	return rank
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
	s.Sending, s.Attempts, s.FailedAt = time.Time{}, 0, time.Time{}
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

// failed records a failed delivery.
func (d *document) failed(now time.Time, p *plan) {
	s := d.receiver(p.receiver.Name)
	s.Sending = time.Time{}
	s.Attempts++
	s.FailedAt = now
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

// matches reports whether the route of the receiver covers an alert. If it covers the
// alert only later, matches returns the time.
func (r *receiver) matches(d *document, al *state, with *rules, now time.Time) (bool, time.Time) {
	if r.MinLevel == notify.Critical && !al.Critical || !matchAny(r.Checks, al.Name) {
		return false, time.Time{}
	}
	hosts := al.Reporters
	if al.Instance != "" {
		hosts = []string{al.Instance}
	}
	if len(r.Instances) > 0 && !slices.ContainsFunc(hosts, func(h string) bool { return matchAny(r.Instances, h) }) {
		return false, time.Time{}
	}
	if r.fallbackOf != "" {
		primary := d.Receivers[r.fallbackOf]
		if primary == nil || primary.Attempts <= len(with.retries) {
			return false, time.Time{}
		}
		return r.primary.matches(d, al, with, now)
	}
	if r.After > 0 {
		at := al.Opened.Add(r.After)
		if al.Rose.After(al.Opened) {
			at = al.Rose.Add(r.After)
		}
		if !al.AckAt.IsZero() {
			return false, time.Time{}
		}
		if now.Before(at) {
			return false, at
		}
	}
	return true, time.Time{}
}

func matchAny(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name) // New has checked the pattern
		return ok
	})
}

// pause is the wait after a number of failures. A critical alert is tried again at
// least once a minute in the first hour, and then every 5 minutes.
func (r *receiver) pause(with *rules, attempts int, urgent bool) time.Duration {
	d := with.retries[min(attempts, len(with.retries))-1]
	if urgent {
		limit := time.Minute
		if attempts > 60 {
			limit = 5 * time.Minute
		}
		d = min(d, limit)
	}
	return d
}
