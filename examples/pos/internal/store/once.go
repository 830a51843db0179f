package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Once makes a change happen once, however often the client sends it. Without a
// Key it happens each time.
type Once struct {
	User string
	Key  string // the client's Idempotency-Key
	Body []byte // what was asked, to notice a key that is used for something else
}

// Outcome is the answer to a change: the status and JSON that its first request got.
type Outcome struct {
	Status   int
	Body     []byte
	Replayed bool // it happened earlier
	// Categories are those of the goods that were sold; nil when it is not known.
	Categories []int64
}

// Conflict says why a change cannot be made now. Nothing has changed.
type Conflict struct{ Detail string }

func (c Conflict) Error() string { return c.Detail }

// Invalid says what is wrong with a change. Nothing has changed.
type Invalid struct{ Detail string }

func (i Invalid) Error() string { return i.Detail }

// ErrKeyReused means that an Idempotency-Key came with another request before.
var ErrKeyReused = errors.New("this Idempotency-Key was used for another request: choose a new one")

// keepKeys is how long an Idempotency-Key is remembered.
const keepKeys = 24 * time.Hour

// once runs change in a transaction, together with the memory of its answer, so
// that both are there or neither. A change that fails is not remembered: the client
// may mend what was wrong and use the key again.
func (s *Store) once(ctx context.Context, o Once, change func(*Tx) (any, error)) (Outcome, error) {
	var outcome Outcome
	err := s.inTx(ctx, func(tx *Tx) error {
		if o.Key != "" {
			seen, err := tx.claim(ctx, o)
			if err != nil || seen != nil {
				if seen != nil {
					outcome = *seen
				}
				return err
			}
		}
		result, err := change(tx)
		if err != nil {
			return err
		}
		body, err := json.Marshal(result)
		if err != nil {
			return err
		}
		outcome = Outcome{Status: http.StatusCreated, Body: body}
		if o.Key == "" {
			return nil
		}
		_, err = tx.exec(ctx, "UPDATE idempotency SET status = ?, response = ? WHERE username = ? AND request_key = ?",
			outcome.Status, body, o.User, o.Key)
		return err
	})
	return outcome, err
}

// claim takes a key for this transaction. A second request with the same key waits
// here, at the primary key, until the first has been committed or rolled back.
func (t *Tx) claim(ctx context.Context, o Once) (*Outcome, error) {
	now := time.Now()
	if _, err := t.exec(ctx, "DELETE FROM idempotency WHERE username = ? AND request_key = ? AND created_at < ?",
		o.User, o.Key, micros(now.Add(-keepKeys))); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(o.Body)
	print := hex.EncodeToString(sum[:])
	fresh, err := t.insertNew(ctx, "idempotency (username, request_key, fingerprint, status, response, created_at) VALUES (?, ?, ?, 0, '', ?)",
		o.User, o.Key, print, micros(now))
	if err != nil || fresh {
		return nil, err
	}
	var first string
	seen := Outcome{Replayed: true}
	err = t.queryRow(ctx, "SELECT fingerprint, status, response FROM idempotency WHERE username = ? AND request_key = ?", o.User, o.Key).
		Scan(&first, &seen.Status, &seen.Body)
	switch {
	case err != nil:
		return nil, err
	case first != print:
		return nil, ErrKeyReused
	}
	return &seen, nil
}

// ForgetKeys removes the Idempotency-Keys that are too old to be repeated.
func (s *Store) ForgetKeys(ctx context.Context) error {
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM idempotency WHERE created_at < ?", micros(time.Now().Add(-keepKeys)))
		return err
	})
}

func notFound(err error, detail string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return Invalid{detail}
	}
	return err
}
