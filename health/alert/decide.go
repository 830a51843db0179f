package alert

import (
	"cmp"
	"maps"
	"slices"
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
		if d.unknown(d.Alerts[k], r) {
			continue
		}
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
	// After a failure, urgent news waits less than other news.
	urgent := slices.ContainsFunc(due, func(n news) bool { return n.urgent })
	asked := state.Wait
	if urgent {
		asked = min(asked, urgentWait)
	}
	if state.Attempts > 0 {
		asked = max(asked, to.pause(r, state.Attempts, urgent))
	}
	retryAt := state.FailedAt.Add(asked) // long ago without a failure
	var lead *news                       // the reason why a message is due now
	early := false                       // it does not wait for retryAt
	for i := range due {
		n := &due[i]
		at := n.due
		risen := n.urgent && n.told.Urgent.After(state.FailedAt)
		isNew := apart(state) && state.Wait == 0 && n.told.Tried.Before(n.told.Pending)
		if retryAt.After(at) && !risen && !isNew {
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
		if lead == nil || before(state, n, lead) {
			lead, early = n, now.Before(retryAt) && !risen
		}
	}
	if lead == nil {
		return nil, wake
	}
	p := d.plan(now, r, to, lead, due, open)
	p.early = early
	return p, time.Time{}
}

// before reports whether the next message is about a and not about b.
func before(to *delivery, a, b *news) bool {
	if apart(to) && !a.told.Tried.Equal(b.told.Tried) {
		return a.told.Tried.Before(b.told.Tried)
	}
	return a.priority() > b.priority()
}

// apart reports whether each message has one alert, the one that was tried the longest ago. A
// receiver may reject one alert for ever, and after two failures that must not stop the others.
func apart(to *delivery) bool { return to.Attempts >= 2 }

// plan collects the content of one message: all news of one thread.
func (d *document) plan(now time.Time, r *rules, to *receiver, lead *news, due, open []news) *plan {
	state := d.receiver(to.Name)
	p := &plan{receiver: to, thread: lead.told.Thread, alone: r.alone}
	fresh := func(n *news) bool { return n.told.Face == clear && n.event != notify.Ended } // no certain message yet
	if fresh(lead) {
		p.thread = d.join(now, r, state, lead)
	}
	thread := p.thread // empty: a new one
	if t := state.Threads[thread]; t != nil && thread != "" {
		p.topic = t.Topic
	} else if thread == "" {
		p.thread = newID(now)
	}
	belongs := func(n news) bool {
		if fresh(&n) {
			return fresh(lead) // new alerts start or join a thread together
		}
		return n.told.Thread == thread
	}
	if apart(state) { // the others follow at once if this one is accepted
		for _, n := range due {
			n.told.Rest = true
		}
		due, open = []news{*lead}, nil
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
	if len(p.items) > notify.MaxAlerts { // the rest follows in a message of its own
		for _, n := range p.items[notify.MaxAlerts:] {
			n.told.Rest = true
		}
		p.items = p.items[:notify.MaxAlerts]
	}
	p.others = p.others[:min(len(p.others), notify.MaxAlerts-len(p.items))]
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
	if t := to.Threads[n.told.Thread]; t != nil && n.told.Messages == 0 && (t.Critical || !n.al.Critical) {
		return n.told.Thread // of an earlier attempt
	}
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
