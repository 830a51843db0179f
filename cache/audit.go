package cache

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"
)

// audit compares one in Options.AuditEvery hits with the source, in the background.
func (c *Typed[V]) audit(ctx context.Context, key string, served V, loaded time.Time, load func(context.Context) (V, error)) {
	if c.opts.AuditEvery == 0 || rand.IntN(c.opts.AuditEvery) != 0 {
		return
	}
	w, err := c.want(key, nil)
	if err != nil {
		return
	}
	ticket := c.memory.Begin()
	c.inBackground(func() {
		defer c.memory.End(ticket)
		defer func() { _ = recover() }() // a panic is not a result
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.LoadTimeout)
		defer cancel()
		m := &meta{known: len(w.tags) - 1}
		now, err := load(context.WithValue(ctx, metaKey{}, m))
		m.end()
		if err != nil && !isNotFound(err) {
			return
		}
		want, err1 := c.opts.Codec.Marshal(served)
		got, err2 := c.opts.Codec.Marshal(now)
		stale := err != nil || err1 == nil && err2 == nil && !bytes.Equal(want, got)
		// A write during the comparison explains the difference. Its message may still be
		// on the way, so the key is read again.
		if stale && !c.memory.Valid(ticket, c.hash(key), tagHashes(append(w.tags[:len(w.tags):len(w.tags)], userTags(m.tags)...))) {
			return
		}
		age := time.Since(loaded)
		c.stats.audited.Add(1)
		if stale {
			c.stats.auditedStale.Add(1)
			c.stats.staleAge.Store(int64(age))
		}
		if hook := c.opts.Trace.Audit; hook != nil {
			hook(ctx, AuditEvent{c.name, key, stale, age})
		}
	})
}
