package alert

import (
	"maps"
	"slices"
	"time"
)

// clone returns a deep copy. Times lose their monotonic reading, as in JSON,
// because they are compared with times of other processes. Lists that are only
// replaced as a whole are shared.
func (d *document) clone() *document {
	c := &document{
		Version: d.Version, Closed: slices.Clone(d.Closed), Silences: slices.Clone(d.Silences),
		Instances: cloneEach(d.Instances, (*instance).clone),
		Alerts:    cloneEach(d.Alerts, (*state).clone),
		Receivers: cloneEach(d.Receivers, (*delivery).clone),
	}
	for i := range c.Closed {
		a := &c.Closed[i]
		onWallClock(&a.Since, &a.Ended, &a.AckAt, &a.SilencedUntil, &a.LastNotified, &a.NextReminder)
	}
	for i := range c.Silences {
		onWallClock(&c.Silences[i].Until, &c.Silences[i].Set)
	}
	return c
}

func (in *instance) clone() *instance {
	c := *in
	c.Run, c.Once, c.Unclean = in.Run.clone(), in.Once.clone(), slices.Clone(in.Unclean)
	for i := range c.Unclean {
		onWallClock(&c.Unclean[i].At)
	}
	onWallClock(&c.Stopped, &c.Lost)
	return &c
}

func (o *observer) clone() *observer {
	if o == nil {
		return nil
	}
	c := *o
	c.Checks = cloneEach(o.Checks, (*observation).clone)
	onWallClock(&c.Seen)
	return &c
}

func (o *observation) clone() *observation {
	c := *o
	c.Changes = cloneTimes(o.Changes)
	onWallClock(&c.Since, &c.Failed, &c.Good, &c.BlockedAt)
	return &c
}

func (al *state) clone() *state {
	c := *al
	c.Told = cloneEach(al.Told, (*told).clone)
	onWallClock(&c.Opened, &c.Since, &c.Audible, &c.Ended, &c.Noticed, &c.Gone, &c.AckAt)
	return &c
}

func (t *told) clone() *told {
	c := *t
	onWallClock(&c.At, &c.Tried, &c.Held, &c.Base, &c.Pending, &c.Urgent)
	return &c
}

func (s *delivery) clone() *delivery {
	c := *s
	c.Sent, c.Threads = cloneTimes(s.Sent), cloneEach(s.Threads, (*thread).clone)
	onWallClock(&c.FailedAt, &c.Sending)
	return &c
}

func (t *thread) clone() *thread {
	c := *t
	onWallClock(&c.Began, &c.Last)
	return &c
}

func cloneEach[V any](m map[string]*V, clone func(*V) *V) map[string]*V {
	c := maps.Clone(m)
	for k, v := range c {
		c[k] = clone(v)
	}
	return c
}

func cloneTimes(times []time.Time) []time.Time {
	c := slices.Clone(times)
	for i := range c {
		onWallClock(&c[i])
	}
	return c
}

func onWallClock(times ...*time.Time) {
	for _, t := range times {
		*t = t.Round(0)
	}
}
