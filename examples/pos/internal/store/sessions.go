package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"
)

// Session is a session as its user sees it. It has no token, so a reader cannot use it to log
// in.
type Session struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Address   string    `json:"address"`
	Agent     string    `json:"agent"`
}

// hashToken returns the hash of a session's token, which the database stores.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// sessionID returns the name of a session in lists, a part of its hash.
func sessionID(hash string) string { return hash[:12] }

// StartSession stores a session under a token, until its lifetime ends by the database's clock.
// After Authenticate, the user must still be active and have the password that was compared;
// otherwise the error is ErrNotFound. The lock makes a change of the password wait, so that it ends
// this session too.
func (s *Store) StartSession(ctx context.Context, token string, user User, lifetime time.Duration, address, agent string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		where, args := "u.username = ? AND u.active = 1", []any{hashToken(token), lifetime.Microseconds(), cut(address, 64), cut(agent, 190), user.Name}
		if user.hash != "" {
			where, args = where+" AND u.password_hash = ?", append(args, user.hash)
		}
		started, err := tx.changed(ctx, "INSERT INTO sessions (token_hash, username, created_at, expires_at, address, agent) SELECT ?, u.username, "+now(s.engine)+", "+now(s.engine)+" + ?, ?, ? FROM users u WHERE "+where+tx.forUpdate("u"), args...)
		if err == nil && !started {
			err = ErrNotFound
		}
		return err
	})
}

// Session returns the user of a token, and false if the session has ended or the user is
// disabled.
func (s *Store) Session(ctx context.Context, token string) (User, bool, error) {
	var user User
	err := s.queryRow(ctx, []any{&user.Name, &user.Role, &user.Active},
		"SELECT u.username, u.role, u.active FROM sessions s JOIN users u ON u.username = s.username WHERE s.token_hash = ? AND s.expires_at > "+now(s.engine)+" AND u.active = 1",
		hashToken(token))
	if errors.Is(err, ErrNotFound) {
		return User{}, false, nil
	}
	return user, err == nil, err
}

// EndSession ends a session. Ending a session twice is no error.
func (s *Store) EndSession(ctx context.Context, token string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM sessions WHERE token_hash = ?", hashToken(token))
		return err
	})
}

// EndSessions ends all sessions of a user.
func (s *Store) EndSessions(ctx context.Context, name, by string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, "DELETE FROM sessions WHERE username = ?", name); err != nil {
			return err
		}
		return tx.audit(ctx, by, "end sessions", name, "")
	})
}

// Sessions returns the open sessions of a user.
func (s *Store) Sessions(ctx context.Context, name string) ([]Session, error) {
	list := []Session{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var one Session
		var hash string
		var created, expires int64
		err := rows.Scan(&hash, &created, &expires, &one.Address, &one.Agent)
		if err == nil {
			one.ID, one.CreatedAt, one.ExpiresAt = sessionID(hash), fromMicros(created), fromMicros(expires)
			list = append(list, one)
		}
		return err
	}, "SELECT token_hash, created_at, expires_at, address, agent FROM sessions WHERE username = ? AND expires_at > "+now(s.engine)+" ORDER BY created_at DESC", name)
	return list, err
}

// ForgetSessions removes expired sessions.
func (s *Store) ForgetSessions(ctx context.Context) error {
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM sessions WHERE expires_at < "+now(s.engine))
		return err
	})
}
