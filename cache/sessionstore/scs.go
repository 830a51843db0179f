package sessionstore

import (
	"context"
	"fmt"
	"time"
)

// SCS is a Store for github.com/alexedwards/scs. It implements both its Store and its
// CtxStore. scs manages the data, the tokens and the ends of the sessions. It does not know
// users.
type SCS struct {
	store  *Store
	userOf func(data []byte) (string, error)
}

// SCS returns the store for scs. userOf returns the user of a session from its data in the
// encoding of scs, so that EndAll of the user ends it. "" means that the session has no
// user yet. userOf may be nil: then no session has a user.
//
//	sessions := scs.New()
//	sessions.Store = store.SCS(func(data []byte) (string, error) {
//		_, values, err := sessions.Codec.Decode(data)
//		user, _ := values["user"].(string)
//		return user, err
//	})
func (s *Store) SCS(userOf func(data []byte) (string, error)) *SCS { return &SCS{s, userOf} }

// FindCtx returns the data of a session, and false if there is none.
func (s *SCS) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	session, _, err := s.store.read(ctx, token)
	if session == nil || err != nil {
		return nil, false, err
	}
	return session.Data, true, nil
}

// CommitCtx stores a session until expiry. A session that EndAll has ended stays ended: a
// request that is still running does not restore it.
func (s *SCS) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	life := time.Until(expiry)
	if life < time.Millisecond {
		return s.DeleteCtx(ctx, token)
	}
	if !plausible(token) {
		return fmt.Errorf("sessionstore: a token of %d bytes; it must have 1 to 256", len(token))
	}
	user := ""
	if s.userOf != nil {
		var err error
		if user, err = s.userOf(data); err != nil {
			return fmt.Errorf("sessionstore: whose session it is: %w", err)
		}
	}
	before, _, err := s.store.stored(ctx, token)
	if err != nil {
		return err
	}
	// Also if the session stays valid: the state must live as long as the session.
	state, err := s.store.state(ctx, user, life)
	if err != nil {
		return err
	}
	if before != nil && before.User == user {
		state = before.state
	}
	return s.store.put(ctx, &Session{User: user, Data: data, Ends: expiry, token: token, state: state}, life)
}

// DeleteCtx ends a session.
func (s *SCS) DeleteCtx(ctx context.Context, token string) error { return s.store.End(ctx, token) }

// Find is FindCtx without a context.
func (s *SCS) Find(token string) (data []byte, found bool, err error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (s *SCS) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx without a context.
func (s *SCS) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
