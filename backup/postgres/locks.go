package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// errLockWait means that pg_dump waited too long for another session.
var errLockWait = errors.New("backup: pg_dump waited too long for a lock")

// lockWatch looks for the sessions that block a client program.
type lockWatch struct {
	end    context.CancelCauseFunc
	done   sync.WaitGroup
	holder string // the last one seen
}

// watchLocks looks for such sessions on a connection of the pool. It ends the returned
// context when the program with that application_name has waited for LockWait. pg_dump
// itself limits its wait only for tables, and not for views and materialized views.
func (p *Source) watchLocks(ctx context.Context, application string) (context.Context, *lockWatch) {
	ctx, end := context.WithCancelCause(ctx)
	w := &lockWatch{end: end}
	every := min(5*time.Second, p.opts.LockWait/3+1)
	w.done.Go(func() {
		var since time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			holder, err := p.lockHolder(ctx, application)
			switch {
			case err != nil: // the next query may succeed
			case holder == "":
				since = time.Time{}
			default:
				w.holder = holder
				if since.IsZero() {
					since = time.Now().Add(-every)
				}
				if time.Since(since) > p.opts.LockWait {
					end(errLockWait)
				}
			}
		}
	})
	return ctx, w
}

// stop ends the watch, and adds the holder to an error about a lock.
func (w *lockWatch) stop(err error) error {
	w.end(context.Canceled)
	w.done.Wait()
	if err != nil && w.holder != "" && (errors.Is(err, errLockWait) || strings.Contains(err.Error(), "timeout")) {
		return fmt.Errorf("%w (%s)", err, w.holder)
	}
	return err
}

// lockHolder returns the sessions that block the session with that application_name.
func (p *Source) lockHolder(ctx context.Context, application string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	holders, err := queryStrings(ctx, p.db, `
		SELECT DISTINCT format('session %s of %s%s, %s for %s s', h.pid, coalesce(h.usename, 'the server'), CASE h.application_name WHEN '' THEN '' ELSE ' (' || h.application_name || ')' END,
			coalesce(h.state, 'at work'), extract(epoch FROM now() - h.state_change)::int)
		FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) b JOIN pg_stat_activity h ON h.pid = b
		WHERE w.application_name = $1 AND w.wait_event_type = 'Lock'`, application)
	if err != nil || len(holders) == 0 {
		return "", err
	}
	return fmt.Sprintf("the lock is held by %s", strings.Join(holders, ", ")), nil
}
