package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// The roles.
const (
	Admin   = "admin"
	Cashier = "cashier"
)

// User is somebody who may log in.
type User struct {
	Name, Role string
}

// The users that every shop has.
var (
	AdminUser   = User{Name: "admin", Role: Admin}
	CashierUser = User{Name: "cashier", Role: Cashier}
)

// noHash is the password hash of a user who has no password yet; nothing matches it.
const noHash = "!"

// SetPassword gives a user a new password.
func (s *Store) SetPassword(ctx context.Context, user User, password string) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE users SET password_hash = ? WHERE username = ?", string(hash), user.Name)
		return err
	})
}

// GivePassword sets a password unless the user has one already, and reports whether it
// did. Of several servers that start at once, one succeeds.
func (s *Store) GivePassword(ctx context.Context, user User, password string) (given bool, err error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return false, err
	}
	err = s.inTx(ctx, func(tx *Tx) error {
		var err error
		given, err = tx.changed(ctx, "UPDATE users SET password_hash = ? WHERE username = ? AND password_hash = ?", string(hash), user.Name, noHash)
		return err
	})
	return given, err
}

// HasPassword reports whether a user has a password.
func (s *Store) HasPassword(ctx context.Context, user User) (bool, error) {
	var n int
	err := s.queryRow(ctx, []any{&n}, "SELECT count(*) FROM users WHERE username = ? AND password_hash <> ?", user.Name, noHash)
	return n > 0, err
}

// noPassword is compared with where there is no such user, so that the time of an
// answer does not tell which names exist.
var noPassword = sync.OnceValue(func() []byte {
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), bcrypt.DefaultCost)
	if err != nil {
		panic(err) // only for a cost out of range
	}
	return hash
})

// Authenticate returns the user of a name and password; false if they are wrong.
func (s *Store) Authenticate(ctx context.Context, name, password string) (User, bool, error) {
	user := User{Name: name}
	var hash string
	err := s.queryRow(ctx, []any{&user.Role, &hash}, "SELECT role, password_hash FROM users WHERE username = ?", name)
	switch {
	case errors.Is(err, ErrNotFound):
		_ = bcrypt.CompareHashAndPassword(noPassword(), []byte(password))
		return User{}, false, nil
	case err != nil:
		return User{}, false, err
	}
	right := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	return user, right, nil
}

// hashToken is what the database keeps of a session's token: who reads the
// database or a backup of it can log in as nobody.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// NewSession starts a session and returns its token.
func (s *Store) NewSession(ctx context.Context, user User, lifetime time.Duration) (string, error) {
	token := rand.Text() + rand.Text()
	return token, s.KeepSession(ctx, token, user, lifetime)
}

// KeepSession starts a session under a token that was made elsewhere.
func (s *Store) KeepSession(ctx context.Context, token string, user User, lifetime time.Duration) error {
	now := time.Now()
	return s.inTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, "DELETE FROM sessions WHERE expires_at < ?", micros(now)); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "INSERT INTO sessions (token_hash, username, expires_at) VALUES (?, ?, ?)",
			hashToken(token), user.Name, micros(now.Add(lifetime)))
		return err
	})
}

// Session returns the user of a token; false if there is no such session any more.
func (s *Store) Session(ctx context.Context, token string) (User, bool, error) {
	var user User
	err := s.queryRow(ctx, []any{&user.Name, &user.Role},
		"SELECT u.username, u.role FROM sessions s JOIN users u ON u.username = s.username WHERE s.token_hash = ? AND s.expires_at > ?",
		hashToken(token), micros(time.Now()))
	if errors.Is(err, ErrNotFound) {
		return User{}, false, nil
	}
	return user, err == nil, err
}

// EndSession ends a session; one that has ended is no error.
func (s *Store) EndSession(ctx context.Context, token string) error {
	return s.inTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM sessions WHERE token_hash = ?", hashToken(token))
		return err
	})
}
