package store

import (
	"context"
	"errors"
)

// Meta returns a value that the server stores about itself.
func (s *Store) Meta(ctx context.Context, name string) (value string, found bool, err error) {
	err = s.queryRow(ctx, []any{&value}, "SELECT value FROM meta WHERE name = ?", name)
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	return value, err == nil, err
}

// SetMeta stores a value.
func (s *Store) SetMeta(ctx context.Context, name, value string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		found, err := tx.changed(ctx, "UPDATE meta SET value = ? WHERE name = ?", value, name)
		if err != nil || found {
			return err
		}
		_, err = tx.exec(ctx, "INSERT INTO meta (name, value) VALUES (?, ?)", name, value)
		return err
	})
}

// MetaOr returns the stored value, and first stores the given one if the name has no value. All
// servers on one database get the same value.
func (s *Store) MetaOr(ctx context.Context, name, value string) (kept string, isNew bool, err error) {
	err = s.inTx(ctx, func(tx *Tx) error {
		var err error
		if isNew, err = tx.insertNew(ctx, "meta (name, value) VALUES (?, ?)", name, value); err != nil {
			return err
		}
		return tx.queryRow(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(&kept)
	})
	return kept, isNew, err
}

// Demo returns the state of a database that a server created: DemoWaits or DemoDone. It returns
// "" if another program filled the database.
func (s *Store) Demo(ctx context.Context) (string, error) {
	value, _, err := s.Meta(ctx, metaDemo)
	return value, err
}

// SetDemo stores that the database has demo data or must not get any.
func (s *Store) SetDemo(ctx context.Context) error { return s.SetMeta(ctx, metaDemo, DemoDone) }
