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
	// loginTries is how many wrong passwords are checked per minute, for all callers
	// together.
	loginTries = 10
)

// cookieKey is the key that signs cookies. A new password invalidates all cookies.
func cookieKey(password string) []byte {
	sum := sha256.Sum256([]byte("mainstay health page\x00" + password))
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
	c, err := r.Cookie(cookieName)
	if err != nil || h.opts.Password == "" {
		return false
	}
	text, _, ok := strings.Cut(c.Value, ".")
	until, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || time.Now().Unix() >= until {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(c.Value), []byte(h.cookie(time.Unix(until, 0)))) == 1
}

// tries counts wrong passwords.
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
	if h.opts.Password == "" {
		http.NotFound(w, r)
		return
	}
	if !h.logins.allow(time.Now()) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many tries, wait a minute", http.StatusTooManyRequests)
		return
	}
	given, want := cookieKey(r.PostFormValue("password")), h.key
	if subtle.ConstantTimeCompare(given, want) != 1 {
		h.servePage(w, r, "The password is wrong.", http.StatusForbidden)
		return
	}
	until := time.Now().Add(cookieLife)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: h.cookie(until), Path: strings.TrimSuffix(r.URL.Path, "login"), Expires: until,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
	http.Redirect(w, r, "./", http.StatusSeeOther)
}
