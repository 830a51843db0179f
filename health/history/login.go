package history

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	cookieName = "mainstay_health"
	cookieLife = 12 * time.Hour
	// deviceLife is how long a browser keeps the cookie. After cookieLife it shows only
	// that a person has logged in there before.
	deviceLife = 90 * 24 * time.Hour
	// loginTries is how many passwords are checked per minute, for all browsers together
	// that have logged in before and for all others together. So an attacker's guesses do
	// not lock out the engineer on call.
	loginTries = 10
)

// cookieKey is the key that signs cookies. A new password invalidates all cookies.
func cookieKey(passwordHash []byte) []byte {
	if len(passwordHash) == 0 {
		return nil
	}
	sum := sha256.Sum256(append([]byte("mainstay health page\x00"), passwordHash...))
	return sum[:]
}

// cookie returns a signed value that is valid until the given time. It is not stored,
// so all instances accept it.
func (h *History) cookie(until time.Time) string {
	text := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(text))
	return text + "." + hex.EncodeToString(mac.Sum(nil))
}

// authorized reports whether a request may see all pages and details.
func (h *History) authorized(r *http.Request) bool {
	if h.opts.Authorize != nil && h.opts.Authorize(r) {
		return true
	}
	until, ok := h.signed(r)
	return ok && time.Now().Before(until)
}

// signed returns the end of the request's cookie, which may be past. ok is false without
// a cookie of the present password.
func (h *History) signed(r *http.Request) (until time.Time, ok bool) {
	c, err := r.Cookie(cookieName)
	if err != nil || h.key == nil {
		return time.Time{}, false
	}
	text, _, _ := strings.Cut(c.Value, ".")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	until = time.Unix(seconds, 0)
	return until, subtle.ConstantTimeCompare([]byte(c.Value), []byte(h.cookie(until))) == 1
}

// tries counts passwords.
type tries struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

func (t *tries) allow(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= time.Minute || now.Before(t.since) {
		t.since, t.n = now, 0
	}
	t.n++
	return t.n <= loginTries
}

// serveLogin reads the password from the form and sets the cookie.
func (h *History) serveLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if h.key == nil {
		http.NotFound(w, r)
		return
	}
	if askedWithSlash(r) { // the cookie is for the directory of the client's path
		redirect(w, "../login", http.StatusPermanentRedirect)
		return
	}
	logins := &h.logins
	if until, ok := h.signed(r); ok && time.Since(until) < deviceLife {
		logins = &h.knownLogins
	}
	if !logins.allow(time.Now()) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many tries, wait a minute", http.StatusTooManyRequests)
		return
	}
	given := sha256.Sum256([]byte(r.PostFormValue("password")))
	if subtle.ConstantTimeCompare(given[:], h.opts.PasswordHash) != 1 {
		h.servePage(w, r, "The password is wrong.", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: h.cookie(time.Now().Add(cookieLife)), Expires: time.Now().Add(deviceLife),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
	redirect(w, "./", http.StatusSeeOther)
}
