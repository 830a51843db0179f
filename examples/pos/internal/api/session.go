package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Sessions keeps who is logged in.
type Sessions interface {
	NewSession(ctx context.Context, user store.User, lifetime time.Duration) (token string, err error)
	Session(ctx context.Context, token string) (store.User, bool, error)
	EndSession(ctx context.Context, token string) error
}

const (
	sessionCookie   = "pos_session"
	sessionLifetime = 12 * time.Hour // a long day at the till
)

// caller is who sends a request.
type caller struct {
	user  store.User
	token string
}

type callerKey struct{}

// callerOf returns the caller of a request; nil if nobody is logged in.
func callerOf(r *http.Request) *caller {
	c, _ := r.Context().Value(callerKey{}).(*caller)
	return c
}

// IsAdmin tells whether an administrator sends a request.
func IsAdmin(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && c.user.Role == store.Admin
}

// token is what a request shows as its session: the bearer token of a program, or the
// cookie of a browser.
func token(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, value, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(value)
		}
		return ""
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return c.Value
	}
	return ""
}

// ErrUnavailable means that nobody can say at the moment who is logged in.
var ErrUnavailable = errors.New("sessions are not available")

// identifyPatience bounds the look-up of a session: probes and the status page must be
// answered while the database is away.
const identifyPatience = 3 * time.Second

// identify finds out who sends a request.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := token(r)
		if t == "" || len(t) > 200 || a.Operator(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), identifyPatience)
		user, ok, err := a.Sessions.Session(ctx, t)
		cancel()
		switch {
		case err != nil && strings.HasPrefix(r.URL.Path, "/api/"):
			a.failed(w, r, fmt.Errorf("%w: %w", ErrUnavailable, err))
			return
		case err == nil && ok:
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, &caller{user: user, token: t}))
		}
		next.ServeHTTP(w, r)
	})
}

// signedIn lets only those through who are logged in.
func (a *API) signedIn(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r) == nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="pos"`)
			fail(w, http.StatusUnauthorized, "log in first: POST /api/v1/login/")
			return
		}
		next(w, r)
	})
}

// operators lets those through who look after the service: who has the operations token,
// and administrators.
func (a *API) operators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.Operator(r) && !IsAdmin(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="pos"`)
			fail(w, http.StatusUnauthorized, "the operations token or an admin's session is needed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *API) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if !read(w, r, &in) {
		return
	}
	try := ratelimit.AdmissionFrom(r.Context())
	if in.Username == "" || in.Password == "" {
		try.Pending() // only a wrong password is a guess
		fail(w, http.StatusBadRequest, "username and password are needed")
		return
	}
	if !plain(in.Username, 64) {
		fail(w, http.StatusUnauthorized, "wrong username or password")
		return
	}
	user, ok, err := a.Store.Authenticate(r.Context(), in.Username, in.Password)
	if err != nil {
		try.Pending()
		a.failed(w, r, err)
		return
	}
	if !ok {
		fail(w, http.StatusUnauthorized, "wrong username or password")
		return
	}
	t, err := a.Sessions.NewSession(r.Context(), user, sessionLifetime)
	if err != nil {
		try.Pending()
		a.failed(w, r, err)
		return
	}
	try.Succeed()
	http.SetCookie(w, a.cookie(r, t, int(sessionLifetime/time.Second)))
	answer(w, http.StatusOK, map[string]string{"token": t, "user": user.Name, "role": user.Role})
}

func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.Sessions.EndSession(r.Context(), callerOf(r).token); err != nil {
		a.failed(w, r, fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	}
	http.SetCookie(w, a.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		// The header may be anybody's: who forges it spoils a cookie of his own.
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// plain tells whether a text from outside may go to the database: of a sane length, and
// without what PostgreSQL refuses in a text.
func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
