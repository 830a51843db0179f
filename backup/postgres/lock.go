package postgres

import (
	"context"
	"encoding/binary"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Lock takes pg_try_advisory_lock on a separate connection. It rejects a connection through
// a pooler that changes the session for each transaction, such as PgBouncer with pool_mode
// = transaction.
func (p *Source) Lock(ctx context.Context, job string) (func() error, error) {
	if err := p.unpooled(ctx); err != nil {
		return nil, err
	}
	return server.SessionLock{
		Prepare: []string{"SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"}, // since version 14
		Take:    "SELECT pg_try_advisory_lock($1)", Give: "SELECT pg_advisory_unlock($1)",
		Key: int64(binary.BigEndian.Uint64(server.RunKey(job))), //nolint:gosec // a key is any 64 bits
	}.Lock(ctx, p.db, p.opts.QueryTimeout)
}
