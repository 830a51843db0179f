package store

import (
	"context"
	"time"
)

// Lease takes or renews a lease for a holder, and reports whether the holder has it. Only one
// of several servers on one database has it. The lease of a dead server expires by the
// database's clock.
func (s *Store) Lease(ctx context.Context, name, holder string, lifetime time.Duration) (held bool, err error) {
	err = s.inTx(ctx, func(tx *Tx) error {
		if _, err := tx.insertNew(ctx, "leases (name, holder, until) VALUES (?, ?, 0)", name, ""); err != nil {
			return err
		}
		var err error
		held, err = tx.changed(ctx, "UPDATE leases SET holder = ?, until = "+now(s.engine)+" + ? WHERE name = ? AND (holder = ? OR until < "+now(s.engine)+")",
			holder, lifetime.Microseconds(), name, holder)
		return err
	})
	return held, err
}

// Release ends a lease.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE leases SET until = 0 WHERE name = ? AND holder = ?", name, holder)
		return err
	})
}
