package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// The roles.
const (
	Admin   = "admin" // the manager
	Cashier = "cashier"
)

// User is a person who may log in.
type User struct {
	Name   string `json:"username"`
	Role   string `json:"role"`
	Active bool   `json:"active"`

	hash string // of the password, after Authenticate
}

// The users of every shop.
var (
	AdminUser   = User{Name: "admin", Role: Admin, Active: true}
	CashierUser = User{Name: "cashier", Role: Cashier, Active: true}
)

// SettingsUser is the author of changes in the audit log that the operator's settings make.
const SettingsUser = "settings"

// noHash is the password hash of a user without a password. It matches no password.
const noHash = "!"

func hashPassword(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return string(hash), err
}

// Users returns all users by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	list := []User{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var u User
		err := rows.Scan(&u.Name, &u.Role, &u.Active)
		list = append(list, u)
		return err
	}, "SELECT username, role, active FROM users ORDER BY username")
	return list, err
}

// User returns the user with a name, or ErrNotFound.
func (s *Store) User(ctx context.Context, name string) (u User, err error) {
	err = s.queryRow(ctx, []any{&u.Name, &u.Role, &u.Active}, "SELECT username, role, active FROM users WHERE username = ?", name)
	return u, err
}

// CreateUser adds a user. A name that exists already is a Conflict.
func (s *Store) CreateUser(ctx context.Context, user User, password, by string) error {
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx *Tx) error {
		isNew, err := tx.insertNew(ctx, "users (username, role, password_hash) VALUES (?, ?, ?)", user.Name, user.Role, hash)
		switch {
		case err != nil:
			return err
		case !isNew:
			return Conflict{Code: "exists", Detail: "there is a user with that name already"}
		}
		return tx.audit(ctx, by, "create user", user.Name, "role "+user.Role)
	})
}

// UserChange has the new values of a user. A nil value stays unchanged.
type UserChange struct {
	Role, Password *string
	Active         *bool
}

// ChangeUser changes a user and ends all of the user's sessions, in one transaction. It refuses
// a change that leaves no active manager.
func (s *Store) ChangeUser(ctx context.Context, name string, change UserChange, by string) (user User, err error) {
	var hash string
	if change.Password != nil {
		if hash, err = hashPassword(*change.Password); err != nil {
			return user, err
		}
	}
	err = s.inTx(ctx, func(tx *Tx) error {
		// The query locks all managers, so that two managers cannot disable each other.
		managers := 0
		var found bool
		err := tx.query(ctx, func(rows *sql.Rows) error {
			var u User
			if err := rows.Scan(&u.Name, &u.Role, &u.Active); err != nil {
				return err
			}
			if u.Role == Admin && u.Active {
				managers++
			}
			if u.Name == name {
				found, user = true, u
			}
			return nil
		}, "SELECT u.username, u.role, u.active FROM users u WHERE u.role = ? OR u.username = ? ORDER BY u.username"+tx.forUpdate("u"), Admin, name)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNotFound
		}
		was, detail := user, ""
		if change.Role != nil {
			user.Role, detail = *change.Role, detail+"role "+*change.Role+" "
		}
		if change.Active != nil {
			user.Active = *change.Active
			detail += map[bool]string{true: "enabled ", false: "disabled "}[user.Active]
		}
		if was.Role == Admin && was.Active && managers == 1 && (user.Role != Admin || !user.Active) {
			return Conflict{Code: "manager", Detail: "this is the last active manager"}
		}
		active := 0
		if user.Active {
			active = 1
		}
		if _, err := tx.exec(ctx, "UPDATE users SET role = ?, active = ? WHERE username = ?", user.Role, active, name); err != nil {
			return err
		}
		if change.Password != nil {
			detail += "password"
			if _, err := tx.exec(ctx, "UPDATE users SET password_hash = ? WHERE username = ?", hash, name); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, "DELETE FROM sessions WHERE username = ?", name); err != nil {
			return err
		}
		return tx.audit(ctx, by, "change user", name, detail)
	})
	return user, err
}

// ApplyPassword sets the password that the settings name, and ends the user's sessions, when the
// setting is new. A setting that was applied before does not undo a later change by a manager.
func (s *Store) ApplyPassword(ctx context.Context, user User, setting string) error {
	name := "password_setting/" + user.Name
	applied, _, err := s.Meta(ctx, name)
	if err != nil || bcrypt.CompareHashAndPassword([]byte(applied), []byte(setting)) == nil {
		return err
	}
	if err := s.SetPassword(ctx, user, setting); err != nil {
		return err
	}
	hash, err := hashPassword(setting)
	if err != nil {
		return err
	}
	return s.SetMeta(ctx, name, hash)
}

// SetPassword sets the password of a user and ends the user's sessions.
func (s *Store) SetPassword(ctx context.Context, user User, password string) error {
	_, err := s.ChangeUser(ctx, user.Name, UserChange{Password: &password}, SettingsUser)
	return err
}

// GivePassword sets a password unless the user has one already, and reports whether it did.
// When several servers start at once, only one succeeds.
func (s *Store) GivePassword(ctx context.Context, user User, password string) (given bool, err error) {
	hash, err := hashPassword(password)
	if err != nil {
		return false, err
	}
	err = s.inTx(ctx, func(tx *Tx) error {
		var err error
		given, err = tx.changed(ctx, "UPDATE users SET password_hash = ? WHERE username = ? AND password_hash = ?", hash, user.Name, noHash)
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

// noPassword is compared if the user does not exist, so that the response time does not reveal
// which names exist.
var noPassword = sync.OnceValue(func() string {
	hash, err := hashPassword(rand.Text())
	if err != nil {
		panic(err) // only for a cost out of range
	}
	return hash
})

// Authenticate returns the user with a name and password. The returned name is the stored one.
// It returns false if name or password is wrong, or the user is disabled.
func (s *Store) Authenticate(ctx context.Context, name, password string) (User, bool, error) {
	var user User
	err := s.queryRow(ctx, []any{&user.Name, &user.Role, &user.Active, &user.hash}, "SELECT username, role, active, password_hash FROM users WHERE username = ?", name)
	switch {
	case errors.Is(err, ErrNotFound):
		_ = bcrypt.CompareHashAndPassword([]byte(noPassword()), []byte(password))
		return User{}, false, nil
	case err != nil:
		return User{}, false, err
	}
	right := bcrypt.CompareHashAndPassword([]byte(user.hash), []byte(password)) == nil
	return user, right && user.Active, nil
}
