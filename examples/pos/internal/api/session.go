package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/ratelimit"
)

const (
	sessionCookie   = "pos_session"
	deviceCookie    = "pos_device" // identifies a till for its limits, also after a log-out
	deviceLifetime  = 400 * 24 * time.Hour
	sessionLifetime = 12 * time.Hour // a long day at the till
)

// caller is the user and session of a request.
type caller struct {
	user   store.User
	token  string
	cookie bool   // the request comes from one of the shop's own pages
	device string // the till that displays the page
}

// callerOf returns the caller of a request, or nil without a session.
func callerOf(r *http.Request) *caller {
	if rec := recorderOf(r); rec != nil {
		return rec.caller
	}
	return nil
}

// IsAdmin reports whether a request comes from an administrator.
func IsAdmin(r *http.Request) bool {
	c := callerOf(r)
	return c != nil && c.user.Role == store.Admin
}

// token returns the session token of a request: the bearer token of a program, or the cookie of
// a browser.
func token(r *http.Request) (value string, cookie bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, value, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(value), false
		}
		return "", false
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return c.Value, true
	}
	return "", false
}

// device returns the till of a request from its cookie, or "" without a cookie of this server.
func (a *API) device(r *http.Request) string {
	if c, err := r.Cookie(deviceCookie); err == nil && len(c.Value) < 200 && a.Sessions.Signed(deviceCookie, c.Value) {
		return c.Value
	}
	return ""
}

// ErrUnavailable means that sessions cannot be read at the moment.
var ErrUnavailable = errors.New("sessions are not available")

// identify finds the user and session of a request. A page sends the name of the user that it
// shows. If another window has logged in as another user, the page has no session.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, cookie := token(r)
		if t == "" || len(t) > 200 || a.Operator(r) {
			next.ServeHTTP(w, r)
			return
		}
		user, ok, err := a.Sessions.User(r.Context(), t)
		switch {
		case err != nil && strings.HasPrefix(r.URL.Path, "/api/"):
			a.failed(w, r, fmt.Errorf("%w: %w", ErrUnavailable, err))
			return
		case err == nil && ok && (!cookie || shows(r, user)):
			recorderOf(r).caller = &caller{user: user, token: t, cookie: cookie, device: cmp.Or(a.device(r), t)}
		}
		next.ServeHTTP(w, r)
	})
}

// shows reports whether the header X-Pos-User, if the request has one, names the user.
func shows(r *http.Request, user store.User) bool {
	named, err := url.PathUnescape(r.Header.Get("X-Pos-User"))
	return err == nil && (named == "" || named == user.Name)
}

// signedIn refuses requests without a session.
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

// managers accepts only requests of managers.
func (a *API) managers(next http.HandlerFunc) http.Handler {
	return a.signedIn(func(w http.ResponseWriter, r *http.Request) {
		if !IsAdmin(r) {
			fail(w, http.StatusForbidden, "only a manager may do this")
			return
		}
		next(w, r)
	})
}

// operators accepts requests with the operations token and requests of administrators.
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
	if !plain(in.Username, 64) || !plain(in.Password, maxPassword) {
		fail(w, http.StatusUnauthorized, "wrong username or password")
		return
	}
	release, ok := a.hashing.enter(r.Context())
	if !ok {
		try.Pending()
		w.Header().Set("Retry-After", "2")
		fail(w, http.StatusServiceUnavailable, "too many log-ins at once; try again")
		return
	}
	user, ok, err := a.Store.Authenticate(r.Context(), in.Username, in.Password)
	release()
	if err != nil {
		try.Pending()
		a.failed(w, r, err)
		return
	}
	if !ok {
		fail(w, http.StatusUnauthorized, "wrong username or password")
		return
	}
	t, err := a.Sessions.Start(r.Context(), user, sessionLifetime, a.address(r), r.UserAgent())
	switch {
	case errors.Is(err, store.ErrNotFound): // the password was changed meanwhile
		fail(w, http.StatusUnauthorized, "wrong username or password")
		return
	case err != nil:
		try.Pending()
		a.failed(w, r, err)
		return
	}
	try.Succeed()
	recorderOf(r).caller = &caller{user: user, token: t}
	http.SetCookie(w, a.cookie(r, sessionCookie, t, sessionLifetime))
	if a.device(r) == "" {
		http.SetCookie(w, a.cookie(r, deviceCookie, a.Sessions.Sign(deviceCookie, rand.Text()), deviceLifetime))
	}
	answer(w, http.StatusOK, map[string]string{"token": t, "user": user.Name, "role": user.Role})
}

func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.Sessions.End(r.Context(), callerOf(r).token); err != nil {
		a.failed(w, r, fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	}
	http.SetCookie(w, a.cookie(r, sessionCookie, "", -time.Second))
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) cookie(r *http.Request, name, value string, lifetime time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		// A client can forge this header, but it then affects only its own cookie.
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// whoami returns the user of a session, and the settings that pages need.
func (a *API) whoami(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r)
	answer(w, http.StatusOK, map[string]any{
		"user": c.user.Name, "role": c.user.Role, "topup_limit": a.topUpLimit(c), "large_topup": a.Settings.TopUpLimit / 4,
		"timezone": a.Settings.Timezone.String(),
	})
}

// gate limits the number of passwords that are compared at once. Each comparison uses a core
// for some time.
type gate chan struct{}

func (g gate) enter(ctx context.Context) (release func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	select {
	case g <- struct{}{}:
		return func() { <-g }, true
	case <-ctx.Done():
		return nil, false
	}
}

// words returns a text that people read, with single blanks and composed characters, and whether
// it has only characters that they see.
func words(s string, most int) (text string, ok bool) {
	text = strings.Join(strings.Fields(norm.NFC.String(s)), " ")
	hidden := func(r rune) bool {
		return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || r == '\u2800'
	}
	return text, text != "" && plain(text, most) && !strings.ContainsFunc(text, hidden)
}

// plain reports whether the database can store a text from a client: the length is within the
// limit, and PostgreSQL accepts its characters.
func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
