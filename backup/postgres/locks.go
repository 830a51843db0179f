package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// lockWatch looks for the sessions that keep pg_dump waiting.
type lockWatch struct {
	end  context.CancelFunc
	done sync.WaitGroup
	last string
}

// watchLocks starts to look, on a connection of the pool. A look that fails is skipped.
func (p *Source) watchLocks(ctx context.Context) *lockWatch {
	ctx, end := context.WithCancel(ctx)
	w := &lockWatch{end: end}
	every := min(5*time.Second, p.opts.LockWait/3+1)
	w.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			if holder := p.lockHolder(ctx); holder != "" {
				w.last = holder
			}
		}
	})
	return w
}

// stop ends the looking and returns the holder that was seen last.
func (w *lockWatch) stop() string {
	w.end()
	w.done.Wait()
	return w.last
}

// lockHolder returns who keeps a pg_dump of this database waiting, "" for nobody.
func (p *Source) lockHolder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	holders, err := queryStrings(ctx, p.db, `
		SELECT DISTINCT format('session %s of %s%s, %s for %s s', h.pid, coalesce(h.usename, 'the server'), CASE h.application_name WHEN '' THEN '' ELSE ' (' || h.application_name || ')' END,
			coalesce(h.state, 'at work'), extract(epoch FROM now() - h.state_change)::int)
		FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) b JOIN pg_stat_activity h ON h.pid = b
		WHERE w.datname = current_database() AND w.application_name = 'pg_dump' AND w.wait_event_type = 'Lock'`)
	if err != nil || len(holders) == 0 {
		return ""
	}
	return fmt.Sprintf("the lock is held by %s", strings.Join(holders, ", "))
}
