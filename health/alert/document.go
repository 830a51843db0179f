package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// document is everything that outlives a process. One is shared by all replicas
// that have the same store.
type document struct {
	Version   int                  `json:"version"`
	Instances map[string]*instance `json:"instances,omitempty"`
	Incident  *incident            `json:"incident,omitempty"`
	Silences  []Silence            `json:"silences,omitempty"`
	// Sent are the times of the messages of the last hour.
	Sent []time.Time `json:"sent,omitempty"`
	// Closed are the ids of the last incidents that are over, so that a replica
	// that was cut off does not bring one back.
	Closed []string `json:"closed,omitempty"`
	// Lives are the replicas' runs, with Options.TellUncleanStop.
	Lives map[string]*life `json:"lives,omitempty"`
}

// instance is what one replica sees.
type instance struct {
	// Until is when the others stop believing what it said last.
	Until  time.Time               `json:"until"`
	Checks map[string]*observation `json:"checks,omitempty"`
}

// observation is the confirmed state of one check as one replica sees it.
type observation struct {
	Status   health.Status `json:"status"`
	Since    time.Time     `json:"since"`
	Critical bool          `json:"critical,omitempty"`
	Shared   bool          `json:"shared,omitempty"`
	Flapping bool          `json:"flapping,omitempty"`
	// Changes are those of the confirmed state within the last hour. The registry
	// counts raw changes, but forgets them with its process.
	Changes []time.Time `json:"changes,omitempty"`
	Blocked []string    `json:"blocked,omitempty"`
	Output  string      `json:"output,omitempty"`
	Values  []string    `json:"values,omitempty"`
	Runbook string      `json:"runbook,omitempty"`
}

// incident is the story of one trouble, from the first bad check to the last
// good one.
type incident struct {
	ID     string    `json:"id"`
	Opened time.Time `json:"opened"`
	// Told is what people know, by subject. What has recovered stays in it, for
	// the last message.
	Told map[string]told `json:"told,omitempty"`
	// Pending is since when there has been something to tell; zero if nothing.
	Pending time.Time `json:"pending,omitzero"`
	// Base is what reminders are counted from, Reminded how many there were.
	Base     time.Time `json:"base,omitzero"`
	Reminded int       `json:"reminded,omitempty"`
	// Delivered counts messages that were taken, the last of them at LastSent.
	Delivered int       `json:"delivered,omitempty"`
	LastSent  time.Time `json:"lastSent,omitzero"`
	// Attempts counts failures in a row; the next attempt is at RetryAt.
	Attempts int       `json:"attempts,omitempty"`
	RetryAt  time.Time `json:"retryAt,omitzero"`
}

// told is what people were told about one subject.
type told struct {
	Name  string    `json:"name"`
	Face  face      `json:"face"`
	Since time.Time `json:"since"`
}

// face is how a check looks from outside.
type face string

const (
	clear    face = "" // nothing to tell
	warn     face = "warn"
	fail     face = "fail"
	flapping face = "flapping"
)

const documentVersion = 1

func decode(b []byte) (*document, error) {
	d := &document{Version: documentVersion}
	if len(b) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("alert: the stored state cannot be read: %w", err)
	}
	if d.Version != documentVersion {
		return nil, fmt.Errorf("alert: the stored state has version %d, and this program knows version %d", d.Version, documentVersion)
	}
	// JSON's null would be met where nobody expects it.
	maps.DeleteFunc(d.Instances, func(_ string, in *instance) bool { return in == nil })
	maps.DeleteFunc(d.Lives, func(_ string, l *life) bool { return l == nil })
	for _, in := range d.Instances {
		maps.DeleteFunc(in.Checks, func(_ string, o *observation) bool { return o == nil })
	}
	if inc := d.Incident; inc != nil {
		inc.Reminded, inc.Delivered, inc.Attempts = max(inc.Reminded, 0), max(inc.Delivered, 0), max(inc.Attempts, 0)
	}
	return d, nil
}

func (d *document) encode() ([]byte, error) { return json.Marshal(d) }

// clone returns a copy that shares nothing.
func (d *document) clone() *document {
	b, err := d.encode()
	if err != nil {
		return &document{Version: documentVersion}
	}
	c, err := decode(b)
	if err != nil {
		return &document{Version: documentVersion}
	}
	return c
}

// observe records what this replica sees. A snapshot may be narrowed: checks
// that are not in it keep their state as long as they are known.
func (d *document) observe(now time.Time, r *rules, snap *health.Snapshot) {
	in := d.Instances[r.instance]
	if in == nil {
		in = &instance{}
	}
	if in.Checks == nil {
		in.Checks = map[string]*observation{}
	}
	for name := range in.Checks {
		if !slices.Contains(r.known, name) {
			delete(in.Checks, name)
		}
	}
	for i := range snap.Checks {
		c := &snap.Checks[i]
		o := in.Checks[c.Name].next(now, c)
		if o == nil {
			delete(in.Checks, c.Name)
		} else {
			in.Checks[c.Name] = o
		}
	}
	if len(in.Checks) == 0 && d.Incident == nil {
		delete(d.Instances, r.instance) // all is well: the document stays as it is, and is not written
		return
	}
	if d.Instances == nil {
		d.Instances = map[string]*instance{}
	}
	d.Instances[r.instance] = in
	if left := in.Until.Sub(now); left < r.believe*3/4 || left > r.believe {
		in.Until = now.Add(r.believe) // not at every look: each is a write
	}
}

// next returns the observation after o, which may be nil, or nil if there is
// nothing to remember of a check that is well.
func (o *observation) next(now time.Time, c *health.CheckState) *observation {
	n := &observation{
		Status: c.Confirmed, Since: c.ConfirmedSince, Critical: c.Critical, Shared: c.Shared, Flapping: c.Flapping,
		Blocked: c.Blocked, Runbook: c.Runbook,
	}
	if c.Confirmed >= health.Warn {
		n.Output, n.Values = c.Output, values(c.Observed)
	}
	if o != nil {
		n.Changes = slices.DeleteFunc(o.Changes, func(t time.Time) bool { return now.Sub(t) > flapWindow })
		if n.Status == health.Unknown {
			n.Status, n.Since, n.Output, n.Values = o.Status, o.Since, o.Output, o.Values // a restart is no news
		}
		if n.Status != o.Status {
			n.Changes = append(n.Changes, now)
		} else if n.Since.After(o.Since) || n.Since.IsZero() {
			n.Since = o.Since // the registry has restarted, the trouble has not
		}
		if n.Status == o.Status && n.Status >= health.Warn && sameButNumbers(o.Output, n.Output) {
			n.Output, n.Values = o.Output, o.Values // a latency that trembles is no reason to write
		}
	} else if n.Status >= health.Warn {
		n.Changes = []time.Time{now}
	}
	if k := len(n.Changes); k > 0 {
		calm := now.Sub(n.Changes[k-1]) >= flapCalm
		n.Flapping = n.Flapping || !calm && (k >= flapChanges || o != nil && o.Flapping)
		n.Changes = n.Changes[max(0, k-flapChanges):]
	}
	if n.Status < health.Warn && !n.Flapping && len(n.Changes) == 0 {
		return nil
	}
	return n
}

// sameButNumbers tells whether two texts differ in digits only.
func sameButNumbers(a, b string) bool {
	digits := func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}
	return strings.Map(digits, a) == strings.Map(digits, b)
}

// values words the measurements that are beyond a threshold.
func values(observed []health.Measurement) []string {
	var out []string
	for _, m := range observed {
		if m.Status < health.Warn {
			continue
		}
		text := m.Name
		if m.Component != "" {
			text += " of " + m.Component
		}
		text += fmt.Sprintf(" %.4g %s", m.Value, m.Unit)
		var limits []string
		if m.Limits.Warn != 0 {
			limits = append(limits, fmt.Sprintf("warn at %.4g", m.Limits.Warn))
		}
		if m.Limits.Fail != 0 {
			limits = append(limits, fmt.Sprintf("fail at %.4g", m.Limits.Fail))
		}
		if len(limits) > 0 {
			text += " (" + strings.Join(limits, ", ") + ")"
		}
		if out = append(out, text); len(out) == 5 {
			break
		}
	}
	return out
}

// prune forgets what no longer matters at now.
func (d *document) prune(now time.Time) {
	for name, in := range d.Instances {
		if now.After(in.Until) {
			delete(d.Instances, name)
		}
	}
	d.Silences = slices.DeleteFunc(d.Silences, func(s Silence) bool { return !now.Before(s.Until) })
	d.Sent = slices.DeleteFunc(d.Sent, func(t time.Time) bool { return now.Sub(t) >= capWindow })
	d.Closed = d.Closed[max(0, len(d.Closed)-10):]
}

// isolate prepares d for decisions without the others: what they said about
// themselves stays as it was, and about what all share this replica goes by its
// own eyes.
func (d *document) isolate(now time.Time, r *rules) {
	for name, in := range d.Instances {
		if name == r.instance {
			continue
		}
		in.Until = now.Add(r.believe)
		maps.DeleteFunc(in.Checks, func(_ string, o *observation) bool { return o.Shared })
	}
}

// absorb takes over what this replica did while the store was out of reach.
func (d *document) absorb(local *document) {
	for _, id := range local.Closed {
		if !slices.Contains(d.Closed, id) {
			d.Closed = append(d.Closed, id)
		}
	}
	if d.Incident != nil && slices.Contains(d.Closed, d.Incident.ID) {
		d.Incident = nil
	}
	if mine := local.Incident; mine != nil && !slices.Contains(d.Closed, mine.ID) {
		if d.Incident == nil || mine.LastSent.After(d.Incident.LastSent) {
			d.Incident = mine
		}
	}
	for _, t := range local.Sent {
		if !slices.ContainsFunc(d.Sent, t.Equal) {
			d.Sent = append(d.Sent, t)
		}
	}
	slices.SortFunc(d.Sent, time.Time.Compare)
	for _, s := range local.Silences {
		if !slices.Contains(d.Silences, s) {
			d.Silences = append(d.Silences, s)
		}
	}
}
